"""What can be tuned: a search space, a fidelity axis and a function that evaluates a point of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from ibo_jax.outcomes import Outcome, Report
from ibo_jax.space import PRESAMPLE_RATIO, Fidelity, SearchSpace
from ibo_jax.types import Axis, Hyperparameters, Importance

if TYPE_CHECKING:
    from ibo_jax.training.datasets import Dataset
    from ibo_jax.training.trainer import Task

__all__ = ["Learning", "Problem"]

Evaluate = Callable[..., Outcome]  # (seed, hyperparameters, fidelity), and on_epoch if the problem has epochs
FinalReport = Callable[[int, Hyperparameters], Report]
View = Callable[[Axis, Importance], "Problem"]


class Learning(NamedTuple):
    """What is trained, how, and on what data: for tuners that look inside (`ibo_jax.bilevel`)."""

    task: "Task"
    data: "Dataset"


@dataclass(frozen=True, repr=False)
class Problem:
    """A space and an `evaluate(seed, hyperparameters, fidelity) -> Outcome`; nothing else is needed to tune.

    Attributes:
        name: used on the command line and in the study's folder.
        space: the hyperparameters x.
        evaluate: trains (or computes) once; `seed` fixes all of its randomness. It may raise: the study records it.
        fidelity: the axis searched beside x, by default the presample ratio r = B / b in 1..6.
        transform: scale on which the error is modelled, "log" for positive errors, "identity" for any value.
        floor: smallest error that is distinguished from zero (half an example), used by the log.
        guess: error of guessing, assigned to a diverged evaluation; NaN if unknown (the point then counts as unknown).
        report: retrains the answer plainly and judges it on the test set, if there is one.
        report_as_trained: the same, trained like an evaluation at the target fidelity; None if that is plain too, or a
            share whose target scores all examples. Called in addition to `report`.
        view: the same problem with subsets or tasks as its fidelity, `view(axis, importance)`, see `seen`; it has its
            own `evaluate` and `report_as_trained`.
        optimum: the known best value at the target fidelity, for synthetic problems.
        description: a line for people, shown by `ibo-jax problems`.
        evaluations: default total of evaluations.
        initial: default size of the initial design.
        epochs: length of a training whose progress can be followed, else None. If set, `evaluate` accepts
            `on_epoch: Callable[[int, float], bool] | None = None`, calls it after each epoch with the number of epochs
            done and the error, and stops with a "pruned" outcome when it returns true.
        learning: the training behind `evaluate`, if there is one to look into.
        setup: what else distinguishes it from problems of the same name (scale, split, number of examples), as JSON; a
            study continues only with the same setup. Names of what every study stores ("seed", "method") are refused.
    """

    name: str
    space: SearchSpace
    evaluate: Evaluate
    fidelity: Fidelity = PRESAMPLE_RATIO
    transform: Literal["log", "identity"] = "log"
    floor: float = 1e-6
    guess: float = field(default=float("nan"))
    report: FinalReport | None = None
    report_as_trained: FinalReport | None = None
    view: View | None = None
    optimum: float | None = None
    description: str = ""
    evaluations: int = 30
    initial: int = 5
    epochs: int | None = None
    learning: Learning | None = None
    setup: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Without the data that its functions hold."""
        return f"Problem({self.name!r}, {self.space})"

    def seen(self, axis: Axis, importance: Importance) -> "Problem":
        """The problem with the fidelity that a method uses; everything else stays as it was set.

        With presamples off, that is the single fidelity of plain training.

        Raises:
            ValueError: a method wants subsets or tasks, and the problem has no `view`.
        """
        if axis == "presample":
            plain = self.fidelity.plain
            if importance != "off" or plain is None:
                return self
            return replace(self, fidelity=self.fidelity._replace(low=plain, high=plain), report_as_trained=None)
        if self.view is None:
            raise ValueError(
                f"expected a problem that can train on a part of its data, got {self.name!r}, which has no such view; "
                "make it with training_problem, or choose a method that does not need one"
            )
        other = self.view(axis, importance)
        changed = ("evaluate", "fidelity", "report_as_trained")
        return replace(self, **{name: getattr(other, name) for name in changed})
