"""The command; rows are appended to `rows-SCALE.jsonl`, and what is there is not run again."""

import argparse
from pathlib import Path

from experiments.bilevel_vs_search import plot
from experiments.bilevel_vs_search.runs import run
from experiments.bilevel_vs_search.settings import METHODS, SCALES
from experiments.common import rows
from experiments.common.settings import folder_of
from ibo_jax.problems import catalogue
from ibo_jax.study.cache import enable_compilation_cache


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m experiments.bilevel_vs_search", description=__doc__)
    parser.add_argument("--scale", choices=list(SCALES), default="cpu")
    parser.add_argument("--seeds", type=int, metavar="N", help="default: the scale's")
    parser.add_argument("--methods", nargs="+", metavar="NAME", default=METHODS, choices=METHODS)
    parser.add_argument("--seconds", type=float, metavar="S", help="time for each run; default: the scale's")
    parser.add_argument("--out", type=Path, help="folder of rows and figures; default: here, for smoke under runs/")
    chosen = parser.parse_args(arguments)
    scale = SCALES[chosen.scale]
    seeds = scale.seeds if chosen.seeds is None else chosen.seeds
    seconds = scale.seconds if chosen.seconds is None else chosen.seconds
    folder = chosen.out or folder_of("bilevel_vs_search", chosen.scale)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"rows-{chosen.scale}.jsonl"
    if other := {row["budget"] for row in rows.read(path)} - {seconds}:
        parser.error(f"expected rows of {seconds:g} s in {path}, found those of {other}; state that or another --out")
    enable_compilation_cache()
    problem = catalogue.problem(scale.problem, scale=scale.size)
    for seed in range(seeds):
        for method in chosen.methods:
            if any(row["method"] == method and row["seed"] == seed for row in rows.read(path)):
                continue
            row = {"problem": problem.name, "method": method, "seed": seed, "budget": seconds}
            row |= run(problem, method, seed, seconds)
            rows.append(path, row | {"machine": rows.machine()})
            told = {name: row.get(name) for name in ("state", "message", "updates", "test_loss", "retrained_test_loss")}
            print(method, seed, {name: value for name, value in told.items() if value is not None}, flush=True)
    plot.draw(folder)


if __name__ == "__main__":
    main()
