"""The figures of a run of a gradient-based tuner."""

import pytest

from ibo_jax.study.descent_report import losses


def run_of(*validation):
    return [{"number": i, "cost_seconds": 1.0, "train_loss": 0.9 * v if v else v, "validation_loss": v, "score": v}
            for i, v in enumerate(validation)]  # fmt: skip


@pytest.mark.parametrize(
    ("validation", "scale"),
    [
        ((0.04, 0.03, 0.02), "linear"),  # small, yet of one order
        ((2.0, 1.0, 0.3), "linear"),
        ((2.0, 0.3, 0.01), "log"),
        ((0.04, 0.01, 0.001), "log"),
        ((2.0, 0.1, -1.0), "linear"),  # a log scale has no place for it
        ((None, None), "linear"),
        ((), "linear"),
    ],
)
def test_losses_are_on_a_log_scale_if_they_span_more_than_one_order(validation, scale):
    assert losses(run_of(*validation)).axes[0].get_yscale() == scale
