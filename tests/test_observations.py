"""Padded buffers: every row is kept as it grows, what was handed out stays as it was."""

import numpy as np
import pytest

from ibo_jax.observations import Observations, append, capacity_for, empty


def seen(count: int) -> Observations:
    observations = empty(2)
    for row in range(count):
        x = np.array([row, row + 0.5])
        observations = append(
            observations, x, row / 100, -row, 2.0 * row, 3.0 * row, pending=row % 4 == 1, failed=row % 4 == 2
        )
    return observations


@pytest.mark.parametrize("count", [0, 1, 31, 32, 33, 70])
def test_rows_are_kept_in_order_at_the_smallest_capacity_that_holds_them(count):
    observations, row = seen(count), np.arange(count)
    assert observations.size == count
    assert {len(field) for field in observations} == {capacity_for(count)} == {32 * max(1, -(-count // 32))}
    expected = [
        np.stack([row, row + 0.5], axis=1),
        row / 100,
        -row,
        2 * row,
        3 * row,
        row >= 0,
        row % 4 == 1,
        row % 4 == 2,
    ]
    for field, values in zip(observations, expected, strict=True):
        np.testing.assert_array_equal(field[:count], values)
    assert not observations.mask[count:].any()
    np.testing.assert_array_equal(np.flatnonzero(observations.evaluated), row[(row % 4 == 0) | (row % 4 == 3)])


def test_appending_changes_nothing_that_was_there():
    before = seen(3)
    copy = Observations(*(field.copy() for field in before))
    append(before, np.ones(2), 1.0, 9.0)
    for field, kept in zip(before, copy, strict=True):
        np.testing.assert_array_equal(field, kept)


def test_no_two_fields_share_a_buffer():
    observations = empty(2)
    for number, field in enumerate(observations):
        field[:] = number
    assert [field.flat[0] for field in observations] == [0, 1, 2, 3, 4, True, True, True]
    observations.mask[:] = False
    assert observations.pending.all()
