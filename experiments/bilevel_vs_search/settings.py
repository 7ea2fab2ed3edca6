"""The problem, the budgets and the methods."""

from typing import NamedTuple

from ibo_jax import bilevel

SEARCHES = ("ibo", "es", "fabolas", "random", "tpe", "hyperband")
METHODS = (*bilevel.NAMES, *SEARCHES)


class Scale(NamedTuple):
    """`problem` of the catalogue at the scale `size`, and seconds of each run."""

    problem: str
    size: str
    seconds: float
    seeds: int = 3


SCALES = {"smoke": Scale("digits-l2", "smoke", 15.0, 1), "cpu": Scale("mnist-l2", "cpu", 120.0)}
