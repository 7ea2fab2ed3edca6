"""What every method by name owes: points of the cube at known fidelities, fixed by the key, and an honest answer."""

import jax
import numpy as np
import pytest

from ibo_jax.methods import NAMES, Suggestion, make
from ibo_jax.observations import Observations, append, empty
from ibo_jax.problems.synthetic import value
from ibo_jax.space import PRESAMPLE_RATIO, Fidelity

S = Fidelity("s", 0.0, 1.0)


@pytest.fixture(scope="module")
def seen() -> Observations:
    rng, observations = np.random.default_rng(0), empty(1)
    for x, s in zip(rng.random((8, 1)), rng.random(8), strict=True):
        observations = append(observations, x, s, float(value("forrester", x, s)), float(np.log(0.2 + s)))
    return append(observations, np.array([0.5]), 1.0, np.nan, np.nan, pending=True)


@pytest.mark.parametrize("name", NAMES)
def test_suggests_inside_the_space_as_the_key_decides(seen, name):
    method = make(name, S)
    (one, state), (same, _), (other, _) = (method(jax.random.key(seed), seen, None) for seed in (1, 1, 2))
    jax.tree.map(np.testing.assert_array_equal, one, same)
    first, second = ((*found.x, np.nan_to_num(found.predicted_sd)) for found in (one, other))
    assert first != second  # x can be the same corner
    for suggestion in (one, other, method(jax.random.key(3), seen, state)[0]):
        assert isinstance(suggestion, Suggestion)
        assert suggestion.x.shape == (1,)
        assert 0.0 <= suggestion.x[0] <= 1.0
        assert 0.0 <= suggestion.fidelity <= 1.0
        assert suggestion.incumbent in seen.x[:8]
        assert suggestion.recommendation_objective <= suggestion.incumbent_objective + 1e-9
        assert suggestion.warning == ""


@pytest.mark.parametrize(("name", "axis", "s"), [("random", S, 1.0), ("random", PRESAMPLE_RATIO, 0.0), ("ei", S, 1.0),
                                                 ("es", S, 1.0), ("es", PRESAMPLE_RATIO, 0.0),
                                                 ("random", Fidelity("epochs", 1, 50, integer=True), 1.0)])  # fmt: skip
def test_some_evaluate_at_one_fidelity(seen, name, axis, s):
    """Where the axis is the presample ratio that is plain training, elsewhere the target."""
    assert make(name, axis)(jax.random.key(4), seen, None)[0].fidelity == s


def test_random_search_covers_the_cube_evenly_and_answers_with_the_observed_best(seen):
    method = make("random", S)
    drawn = np.array([method(jax.random.key(seed), seen, None)[0].x[0] for seed in range(400)])
    counts = np.histogram(drawn, bins=4, range=(0.0, 1.0))[0]
    assert np.all(np.abs(counts - 100) < 4.5 * np.sqrt(75))
    suggestion, _ = method(jax.random.key(0), seen, None)
    assert suggestion.incumbent_objective == seen.objective[:8].min()
    np.testing.assert_array_equal(suggestion.incumbent, seen.x[np.argmin(seen.objective[:8])])


@pytest.mark.parametrize(("name", "protocol"), [("grid", "default"), ("ibo", "strict")])
def test_unknown_names_are_told_with_those_that_exist(name, protocol):
    with pytest.raises(ValueError, match=r"expected a (method|protocol) among .*; choose one of them"):
        make(name, S, protocol=protocol)
