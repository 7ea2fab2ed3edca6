"""A self-tuning network beside searches that take equally long, and trainings that replay what it has learnt.

What is equal is the time of training, without compilation and suggestions. An epoch of the self-tuning network and a
training of the search are timed in turn, in processor seconds, and a search gets as many trainings as the self-tuning
network pays for, rounded up. Hyperband and IBO, whose trainings are shorter or longer, get the counted work of these
trainings. Every answer is a training's epoch of lowest validation loss, judged there on test data.
"""

import math
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

import ibo_jax
from experiments.common import rows
from ibo_jax.bilevel import Tuner, updates
from ibo_jax.bilevel.judge import judge
from ibo_jax.bilevel.replay import Replayed, constant, replay
from ibo_jax.bilevel.self_tuning import schedule
from ibo_jax.outcomes import Outcome
from ibo_jax.problems.base import Problem

METHODS = ("grid", "random", "ei", "hyperband", "ibo")
STARTS = (0.05, 0.3, 0.5, 0.7, 0.9)  # of one dropout rate, as published
AT_MOST = {"hyperband": 3}  # trainings allowed in the work of one that is not stopped
Row = dict[str, Any]


def learn(problem: Problem, tuner: Tuner, seed: int, epochs: int) -> tuple[Row, dict[str, np.ndarray]]:
    """A self-tuning network's row, and its schedule (epoch, step) by name; no schedule if it diverged in its first
    epoch."""
    assert problem.learning is not None
    judged, test = judge(problem.learning), (float("nan"), float("nan"))
    losses, values, paths = [], [], []
    for state, measures in updates(jax.random.key(seed), tuner, epochs):
        if not measures.finite:
            break
        losses.append(float(measures.score))
        values.append(tuner.hyperparameters(state))
        paths.append(state.path)
        if losses[-1] == min(losses):
            reached = judged(tuner.params(state), values[-1], "test")
            test = (reached.loss, reached.error)
    series = {name: [float(f"{value[name]:.4g}") for value in values] for name in problem.space.names}
    row = {"method": "stn", "seed": seed, "epochs": len(losses), "values": series} | _answer(losses, *test)
    return row, schedule(problem.space, paths) if paths else {}


def replayed(problem: Problem, name: str, values: dict[str, np.ndarray], seed: int) -> Row:
    """The row of an ordinary training that follows a schedule."""
    found: Replayed = replay(problem, values, seed=seed)
    return {"method": name, "seed": seed} | _answer(list(found.valid_loss), found.test_loss, found.test_error)


def search(problem: Problem, method: str, seed: int, evaluations: int, steps: int) -> Row:
    """The row of a search. Of the trainings that the work of `evaluations` plain ones pays for, that of lowest
    validation loss is trained plainly once more and judged."""
    guess = math.log(problem.learning.data.num_classes)  # type: ignore[union-attr]

    def evaluate(*arguments: Any, **options: Any) -> Outcome:
        outcome = problem.evaluate(*arguments, **options)
        return outcome._replace(error=min(outcome.history["loss"]) if outcome.state == "ok" else guess)

    judged = replace(problem, evaluate=evaluate, guess=guess, report=None)
    if method != "ibo":  # Bayesian optimisation by expected improvement trains plainly here
        judged = judged.seen("presample", "off")
    most = AT_MOST.get(method, 1) * evaluations
    found = ibo_jax.tune(judged, method, evaluations=most, seed=seed, cost="work", progress=False)
    plain = problem.evaluate(seed, problem.space.decode([0.3] * problem.space.dimension), problem.fidelity.plain)
    paid = _paid(found.rows, evaluations * plain.cost_work)
    best = min((row for row in paid if row["error"] is not None), key=lambda row: row["error"])
    row = replayed(problem, method, constant(best["hyperparameters"], problem.epochs, steps), seed)  # type: ignore[arg-type]
    return row | {"evaluations": len(paid), "searched_loss": best["error"], "found": best["hyperparameters"]}


def _paid(trials: list[Row], work: float) -> list[Row]:
    """As many of the first trials as the work pays for."""
    spent = np.cumsum([trial["cost_work"] or 0.0 for trial in trials])
    return trials[: int(np.searchsorted(spent, work * (1 + 1e-9), side="right"))]


def prices(problem: Problem, tuner: Tuner) -> Row:
    """Seconds of an epoch of the tuner and of a whole training, in turn; medians of three."""
    state, key = tuner.init(jax.random.key(0)), jax.random.key(0)
    middle = problem.space.decode([0.3] * problem.space.dimension)
    plain = problem.fidelity.plain
    timed: dict[str, list[float]] = {"epoch": [], "training": []}
    for repeat in range(4):
        began = time.process_time()
        # from the same state each time, and past the warm-up
        jax.block_until_ready(tuner.update(key, state._replace(epoch=state.epoch + 10_000)))
        between = time.process_time()
        problem.evaluate(0, middle, plain)
        if repeat:  # the first compiles
            timed["epoch"].append(between - began)
            timed["training"].append(time.process_time() - between)
    return {name: statistics.median(values) for name, values in timed.items()}


def compare(
    problem: Problem,
    tuner: Tuner,
    seeds: range,
    epochs: int,
    path: Path,
    note: Row,
    methods: tuple[str, ...] = METHODS,
) -> None:
    """Add the missing rows of the self-tuning network, of the searches and of the replays."""
    there = [row for row in rows.read(path) if note.items() <= row.items()]
    done = {(row["method"], row["seed"]) for row in there if "method" in row}
    price = next((row["prices"] for row in there if "prices" in row), None)
    if price is None:
        price = prices(problem, tuner)
        rows.append(path, note | {"prices": price, "machine": rows.machine(), "stn_epochs": epochs})
    evaluations = math.ceil(epochs * price["epoch"] / price["training"])
    print(f"{note}: {price}, so {evaluations} trainings for {epochs} epochs", flush=True)
    steps = _steps(problem)
    for seed in seeds:
        if ("stn", seed) not in done:
            add(path, note, learn_and_replay(problem, tuner, seed, epochs, ("schedule", "final")))
        for method in methods:
            if (method, seed) not in done:
                add(path, note, [search(problem, method, seed, evaluations, steps)])


def search_longer(longer: Problem, problem: Problem, seeds: range, epochs: int, path: Path, note: Row) -> None:
    """Add the missing rows of random search with trainings of `epochs`, as many as the same seconds pay for."""
    there = [row for row in rows.read(path) if note.items() <= row.items()]
    price = next(row["prices"] for row in there if "prices" in row)
    done = {row["seed"] for row in there if row.get("method") == "random-long"}
    evaluations = math.ceil(epochs * price["epoch"] / (price["training"] * epochs / problem.epochs))  # type: ignore[operator]
    for seed in seeds:
        if seed not in done:
            found = search(longer, "random", seed, evaluations, _steps(longer))
            add(path, note, [found | {"method": "random-long"}])


def replay_each(problem: Problem, tuners: dict[float, Tuner], seeds: range, epochs: int, path: Path, note: Row) -> None:
    """Add the missing rows of a self-tuning network from each start, and of all its replays."""
    there = [row for row in rows.read(path) if note.items() <= row.items()]
    done = {(row["start"], row["seed"]) for row in there if row.get("method") == "stn"}
    if not done:
        rows.append(path, note | {"machine": rows.machine()})
    for seed in seeds:
        for start, tuned in tuners.items():
            if (start, seed) not in done:
                found = learn_and_replay(problem, tuned, seed, epochs, ("schedule", "final", "start"))
                add(path, note | {"start": start}, found)


def learn_and_replay(problem: Problem, tuner: Tuner, seed: int, epochs: int, names: tuple[str, ...]) -> list[Row]:
    """A self-tuning network, and ordinary trainings of the same length: with its "schedule", with its "final" values
    held, with its "start" held. There is nothing to replay if it diverged in its first epoch."""
    row, learnt = learn(problem, tuner, seed, epochs)
    if not learnt:
        return [row]
    ends = {"schedule": learnt, "final": _held(learnt, (-1, -1)), "start": _held(learnt, (0, 0))}
    return [row, *(replayed(problem, name, ends[name], seed) for name in names)]


def _steps(problem: Problem) -> int:
    """Steps of an epoch."""
    assert problem.learning is not None
    return len(problem.learning.data.train_labels) // problem.learning.task.batch_size({})


def _held(learnt: dict[str, np.ndarray], at: tuple[int, int]) -> dict[str, np.ndarray]:
    return {name: np.full_like(values, values[at]) for name, values in learnt.items()}


def add(path: Path, note: Row, found: list[Row]) -> None:
    """Store rows and print them."""
    for row in reversed(found):  # the first row marks the others as done, so it comes last
        rows.append(path, note | row)
        print({name: row[name] for name in ("method", "seed", "valid_loss", "test_loss", "test_error")}, flush=True)


def _answer(losses: list[float], test_loss: float, test_error: float) -> Row:
    series = [float(f"{loss:.5g}") for loss in losses]
    return {"valid_loss": min(series, default=None), "test_loss": test_loss, "test_error": test_error, "series": series}
