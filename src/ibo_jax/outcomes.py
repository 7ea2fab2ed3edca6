"""What one evaluation of a problem returned, and the states it can end in."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

__all__ = ["FINAL_STATES", "OBSERVED_STATES", "Outcome", "Report", "State"]

State = Literal["ok", "diverged", "pruned", "infeasible", "crashed", "preempted"]
OBSERVED_STATES = ("ok", "diverged")  # only these teach the surrogate an error
FINAL_STATES = ("ok", "diverged", "pruned", "infeasible", "crashed")  # a preempted slot is tried again


class Outcome(NamedTuple):
    """One evaluation. A diverged training has the error of guessing and keeps its cost.

    Attributes:
        state: how it ended.
        error: the value to minimise (validation error after the last epoch, a fraction), NaN if there is none.
        cost_seconds: seconds of initialisation and training, compilation excluded.
        cost_work: floating-point operations of a forward pass times the number of passes, the same on every machine.
            The body of a loop inside a network, such as over time in an LSTM, counts once, so compare work only
            within one network.
        compile_seconds: seconds spent in compilation.
        importance_share: share of the steps that were importance-sampled.
        presample_ratio: B / b, examples scored per example trained on; None if nothing is trained.
        history: per-epoch series by name (`error`, `loss`, `train_loss`, `tau`, `importance_share`, `seconds`).
        message: the reason, if the state is not ok.
    """

    state: State
    error: float
    cost_seconds: float = 0.0
    cost_work: float = 0.0
    compile_seconds: float = 0.0
    importance_share: float = 0.0
    presample_ratio: float | None = None
    history: Mapping[str, Sequence[float]] = MappingProxyType({})
    message: str = ""


class Report(NamedTuple):
    """The final answer retrained on training and validation data, judged once on the test set.

    Attributes:
        test_error: a fraction, as `Outcome.error`.
        test_loss: mean cross-entropy in nats, not finite if the training diverged.
        seconds: seconds of initialisation and training, compilation excluded.
        params: parameters of the trained network as NumPy arrays, for inputs as it sees them: (inputs - mean) / scale
            of the `Dataset`; None if there is no network.
    """

    test_error: float
    test_loss: float
    seconds: float
    params: Any = None
