"""What an experiment is: a problem, budgets at three scales, and methods in the order in which they are shown."""

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from ibo_jax.problems.base import Problem

BASELINE = "ibo"
PAPER = ("ibo", "es", "es-is", "fabolas", "fabolas-is", "mtbo")
OTHERS = ("ei", "random", "grid", "tpe", "gp", "hyperband", "bohb")
METHODS = (*PAPER, *OTHERS)
TOOLS = ("smac-gp", "vizier-gp")  # of `experiments.benchmarks.peers`; no experiment runs them by default
GROUPS = {"published": PAPER, "others": (BASELINE, *OTHERS), "tools": (BASELINE, *TOOLS)}  # each has its own figure

ROOT = Path(__file__).parents[1]
RUNS = Path("runs") / "experiments"
MakeProblem = Callable[[str, str, int], Problem]
NO_METHOD: Mapping[str, int] = MappingProxyType({})


class Budget(NamedTuple):
    """What runs at one scale.

    Attributes:
        evaluations: number for one search, including the initial design.
        seeds: number of searches per method.
        minutes: what a search of IBO takes with retraining; printed until a measured time is known.
        own: evaluations of methods that have another number.
    """

    evaluations: int
    seeds: int
    minutes: float
    own: Mapping[str, int] = NO_METHOD


class Experiment(NamedTuple):
    """Settings of one folder.

    Attributes:
        name: the folder.
        title: title of its figures.
        problem: `problem(scale, protocol, seed)`, made in the process that runs the cell.
        budgets: budget for each scale.
        methods: the default ones.
    """

    name: str
    title: str
    problem: MakeProblem
    budgets: Mapping[str, Budget]
    methods: tuple[str, ...] = METHODS


class Cell(NamedTuple):
    """One search: everything that determines its rows."""

    experiment: str
    scale: str
    protocol: str
    cost: str
    method: str
    seed: int
    evaluations: int | None
    seconds: float | None = None

    @property
    def variant(self) -> str:
        """Names the file of rows."""
        return variant(self.scale, self.protocol, self.cost)


def variant(scale: str, protocol: str = "default", cost: str = "seconds") -> str:
    """The scale, and the protocol and cost where they are not the default.

    Examples:
        >>> variant("cpu"), variant("cpu", "paper", "work")
        ('cpu', 'cpu-protocol-paper-work')
    """
    other = {f"-protocol-{protocol}": protocol != "default", f"-{cost}": cost != "seconds"}
    return scale + "".join(part for part, differs in other.items() if differs)


def catalogued(name: str, *, split_by_seed: bool = False) -> MakeProblem:
    """A problem of `ibo_jax.problems.catalogue`; the digits take another split of the data for each seed."""

    def make(scale: str, protocol: str, seed: int) -> Problem:
        from ibo_jax.problems import catalogue

        return catalogue.problem(name, scale=scale, protocol=protocol, split=seed if split_by_seed else 0)

    return make


def registered() -> tuple[str, ...]:
    """The methods that this version of the library knows."""
    from ibo_jax.methods import NAMES, OPTUNA_NAMES

    return (*NAMES, *OPTUNA_NAMES)


def experiment(name: str) -> Experiment:
    """The settings in a folder, by its name."""
    return importlib.import_module(f"experiments.{name}.settings").EXPERIMENT


def experiments() -> list[Experiment]:
    """The settings of every folder that has searches."""
    names = [path.parent.name for path in sorted(ROOT.glob("*/settings.py"))]
    modules = (importlib.import_module(f"experiments.{name}.settings") for name in names)
    return [module.EXPERIMENT for module in modules if hasattr(module, "EXPERIMENT")]


def folder_of(name: str, scale: str) -> Path:
    """Where the rows of an experiment are: beside its settings, those of scale `smoke` under `runs/`."""
    return (RUNS if scale == "smoke" else ROOT) / name


def rows_file(name: str, variant: str) -> Path:
    """The file of rows of a variant of an experiment."""
    return folder_of(name, variant.partition("-")[0]) / f"rows-{variant}.jsonl"
