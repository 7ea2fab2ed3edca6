"""Regret against elapsed time with 1, 2 and 4 workers, on a simulated clock: an evaluation lasts as long as it costs.

    python -m experiments.benchmarks.parallel branin --workers 1 2 4 --seeds 20

As in `tune(..., parallel=q)`, workers choose one after another, each knowing what the others evaluate. All numbers of
workers spend the same cost in total, from the same initial points. Appends one row per choice to `parallel.jsonl`,
skips what is finished there, prints a table and draws `parallel-PROBLEM.svg` (with `-METHOD` if that is not ibo). With
one worker it measures the same as `regret.py`.
"""

import argparse
import heapq
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np

from experiments.benchmarks.regret import BUDGETS, axes_of_regret, draw, judged
from experiments.common import rows
from ibo_jax import methods
from ibo_jax.methods.initial import initial_design
from ibo_jax.problems.synthetic import SYNTHETIC, cost, value
from ibo_jax.study.convert import Evaluation, observations

HERE = Path(__file__).parent
METHOD = "ibo"
FRACTIONS = (0.25, 0.5, 0.75, 1.0)  # of the budget divided by the number of workers: the time if all of them work
Curves = dict[int, dict[int, np.ndarray]]  # by workers and seed: clock and regret, one row per choice


def run(problem: str, method: str, seed: int, budget: float, workers: int) -> Iterator[dict[str, Any]]:
    """One search to the end of the budget, yielding a row whenever a worker chooses, and a last one when all are
    done."""
    benchmark = SYNTHETIC[problem]
    key_design, key_search = jax.random.split(jax.random.key(seed))
    dimension, design = benchmark.space.dimension, methods.METHODS[method].design
    initial = initial_design(key_design, benchmark.initial, dimension, benchmark.fidelity, design)
    evaluations = [_evaluated(problem, x, float(s)) for x, s in zip(*initial, strict=True)]
    running: list[tuple[float, int]] = []  # when it ends, and which evaluation it is
    clock, spent, state, suggest = 0.0, 0.0, None, methods.make(method, benchmark.fidelity)

    def wait() -> float:
        ends, index = heapq.heappop(running)
        evaluations[index] = _evaluated(problem, evaluations[index].x, evaluations[index].fidelity)
        return ends

    for step in itertools.count():
        seen = observations(evaluations, dimension)
        suggestion, state = suggest(jax.random.fold_in(key_search, step), seen, state)
        price = float(cost(problem, suggestion.fidelity))
        last = spent + price > budget
        while last and running:
            clock = wait()
        if last and seen.pending.any():
            continue  # what the others have found counts too
        yield {"step": step, "clock": round(clock, 6), "cost": round(spent, 6), **judged(problem, suggestion),
               "last": last}  # fmt: skip
        if last:
            return
        heapq.heappush(running, (clock + price, len(evaluations)))
        evaluations.append(Evaluation(suggestion.x, suggestion.fidelity, pending=True))
        spent += price
        if len(running) == workers:
            clock = wait()


def _evaluated(problem: str, x: np.ndarray, s: float) -> Evaluation:
    return Evaluation(x, s, float(value(problem, x, s)), float(cost(problem, s)))


def load(path: Path, problem: str, method: str = METHOD) -> Curves:
    """Finished searches of a problem with a method."""
    found: dict[tuple[int, int], dict[int, dict[str, Any]]] = {}
    for row in rows.read(path):
        if row.get("problem") == problem and row["method"] == method:
            found.setdefault((row["workers"], row["seed"]), {})[row["step"]] = row
    curves: Curves = {}
    for (workers, seed), by_step in sorted(found.items()):
        ordered = [by_step[step] for step in sorted(by_step)]
        if ordered[-1]["last"]:
            points = [(row["clock"], row["regret_recommendation"]) for row in ordered]
            curves.setdefault(workers, {})[seed] = np.array(points)
    return curves


def at(curve: np.ndarray, clock: float) -> float:
    """Regret of what is believed at a time."""
    return float(curve[np.searchsorted(curve[:, 0], clock + 1e-9, side="right") - 1, 1])


def table(curves: Curves, budget: float) -> str:
    """Medians and quartiles of the regret at shares of the time that all workers take."""
    lines = ["| workers (seeds) | time of the whole | " + " | ".join(f"{f:g} of it" for f in FRACTIONS) + " |",
             "|---|---|" + "---|" * len(FRACTIONS)]  # fmt: skip
    for workers, runs in curves.items():
        whole = float(np.median([curve[-1, 0] for curve in runs.values()]))
        samples = [[at(curve, f * curve[-1, 0]) for curve in runs.values()] for f in FRACTIONS]
        cells = ["{1:.3g} [{0:.3g}, {2:.3g}]".format(*np.quantile(sample, (0.25, 0.5, 0.75))) for sample in samples]
        lines.append(f"| {workers} ({len(runs)}) | {whole:.3g} of {budget:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figure(curves: Curves, problem: str, budget: float, path: Path) -> None:
    """Median regret with quartiles against elapsed time."""
    with axes_of_regret(problem, "elapsed time, in units of cost", path) as axes:
        for (workers, runs), colour in zip(
            curves.items(), plt.get_cmap("viridis")(np.linspace(0.8, 0, 3)), strict=False
        ):
            grid = np.linspace(0.0, min(budget, max(curve[-1, 0] for curve in runs.values())), 200)
            sample = np.array([[at(curve, clock) for clock in grid] for curve in runs.values()])
            draw(axes, grid, sample, colour, f"{workers} worker{'s' * (workers > 1)} ({len(runs)} seeds)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problem", choices=sorted(BUDGETS))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--method", default=METHOD, choices=methods.NAMES)
    parser.add_argument("--rows", type=Path, default=HERE / "parallel.jsonl")
    chosen = parser.parse_args()
    budget, finished = BUDGETS[chosen.problem], load(chosen.rows, chosen.problem, chosen.method)
    cells = itertools.product(range(chosen.seeds), chosen.workers)
    missing = [(seed, workers) for seed, workers in cells if seed not in finished.get(workers, {})]
    if missing:
        rows.append(chosen.rows, {"machine": rows.machine(), "problem": None})
    for seed, workers in missing:
        for row in run(chosen.problem, chosen.method, seed, budget, workers):
            named = {"problem": chosen.problem, "method": chosen.method, "workers": workers, "seed": seed}
            rows.append(chosen.rows, named | row)
        print(f"{chosen.problem}, {workers} workers, seed {seed}: regret {row['regret_recommendation']:.3g} "
              f"after {row['clock']:.3g}", flush=True)  # fmt: skip
    print(table(curves := load(chosen.rows, chosen.problem, chosen.method), budget))
    other = "" if chosen.method == METHOD else f"-{chosen.method}"
    figure(curves, chosen.problem + other, budget, chosen.rows.with_name(f"parallel-{chosen.problem}{other}.svg"))


if __name__ == "__main__":
    main()
