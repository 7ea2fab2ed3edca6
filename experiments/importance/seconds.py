"""Training loss and test error of uniform and importance-sampled training after equal seconds of training.

The clock counts steps at measured prices. For each optimiser and ratio, the seconds of a uniform step and of an
importance step are measured beforehand, in turn, each as the median of many, and a training stops when its steps add
up to the budget. So a comparison hardly depends on what else the machine does, repeats exactly, and contains neither
compilation nor evaluation; the seconds that its steps really took are in the row. Every `STEPS` steps the learning rate
is set from the schedule at the share of the budget spent, so both kinds of training have the same rate at the same
second.
"""

import itertools
import statistics
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.common import rows
from experiments.importance import programs
from experiments.importance.programs import STEPS
from experiments.importance.settings import CASES, GROUPS, SCHEDULES, Group, Scale
from ibo_jax import importance
from ibo_jax.training.steps import Sampling, State

CHECKPOINTS = 6  # evaluations of a training, at equal distances
PRICING = {"smoke": 0.1, "cpu": 30.0, "paper": 60.0}  # seconds of steps per optimiser from which prices are taken
LEAST_ROUNDS, PATIENCE = 5, 5  # up to PATIENCE times these seconds while the prices are DISTURBED:
DISTURBED = 1.1  # without disturbance, the switch adds less than 4 % to a uniform step
NEVER, ALWAYS = 0.0, 1e30  # tau at the start of a priced piece; with a rate of zero it stays low, or high long enough
OVERHEAD, COMPILATION = 1.25, 8.0  # evaluation and reading; seconds per program: for the estimate only


class Cell(NamedTuple):
    """One training; ratio 1 is uniform."""

    network: str
    optimizer: str
    schedule: str
    ratio: int
    switch: importance.Switch
    seed: int
    seconds: float


class Price(NamedTuple):
    """Seconds of a step of each kind."""

    uniform: float
    importance: float


def plan(scale: Scale, networks: list[str]) -> list[Cell]:
    """All trainings of a scale, the most important first; those that are compared follow one another."""
    cells = (cell for group in GROUPS[scale] if group.network in networks for cell in _cells(group))
    return list(dict.fromkeys(cells))


def _cells(group: Group) -> list[Cell]:
    return [
        Cell(group.network, optimizer, schedule, ratio, switch, seed, group.seconds)
        for optimizer, schedule, seed in itertools.product(group.optimizers, group.schedules, range(group.seeds))
        for ratio, switch in ((1, "published"), *itertools.product(group.ratios, group.switches))
    ]


def sampling_of(scale: Scale, network: str, ratio: int, switch: importance.Switch) -> Sampling:
    """Batch and presample of a case at a ratio."""
    size = CASES[scale][network].batch_size
    return Sampling(size, ratio * size, switch)


def measure_prices(scale: Scale, network: str, optimizer: str, ratios: list[int]) -> dict[str, Price]:
    """Seconds of a step by ratio: medians of many, with all pieces run in turn. Prints a warning if they make no
    sense."""
    examples, enough = programs.data(scale, network).training, PRICING[scale]
    taken: dict[tuple[int, float], list[float]] = {(ratio, NEVER): [] for ratio in ratios}
    taken |= {(ratio, ALWAYS): [] for ratio in ratios if ratio > 1}
    total, round_ = 0.0, 0
    while round_ <= LEAST_ROUNDS or total < enough or (_disturbed(taken) and total < PATIENCE * enough):
        for (ratio, tau), seconds in taken.items():
            made = programs.programs(scale, network, optimizer, sampling_of(scale, network, ratio, "published"))
            state = jax.block_until_ready(made.start(np.uint32(0))._replace(tau=np.float32(tau)))
            number = np.uint32(round_)  # other images every time, because those of the last are in the cache
            began = _clocks()
            _, info = jax.block_until_ready(made.run(np.uint32(0), number, np.float32(0), state, examples))
            seconds.append(_since(began) / STEPS)
            if float(info.importance_share) != float(tau == ALWAYS):
                raise RuntimeError(f"expected steps of one kind only, got a share of {float(info.importance_share)}")
            total += STEPS * seconds[-1]
        round_ += 1
    price = {kind: statistics.median(seconds) for kind, seconds in taken.items()}
    for ratio in ratios[1:]:
        print(f"{network}, {optimizer}, ratio {ratio}: a uniform step {1e3 * price[ratio, NEVER]:.3f} ms (alone "
              f"{1e3 * price[1, NEVER]:.3f}), an importance step {1e3 * price[ratio, ALWAYS]:.3f} ms, "
              f"x {price[ratio, ALWAYS] / price[1, NEVER]:.2f}", flush=True)  # fmt: skip
    if _disturbed(taken):
        print("these prices are disturbed by other work: better delete their row and run again when it is over")
    return {str(ratio): Price(price[ratio, NEVER], price.get((ratio, ALWAYS), 0.0)) for ratio in ratios}


def _disturbed(taken: dict[tuple[int, float], list[float]]) -> bool:
    uniform = [statistics.median(seconds) for (_, tau), seconds in taken.items() if tau == NEVER]
    return max(uniform) > DISTURBED * min(uniform)


def train(scale: Scale, cell: Cell, price: Price) -> dict[str, Any]:
    """The row of one training: series at the checkpoints, and what the steps really took."""
    known = programs.data(scale, cell.network)
    sampling = sampling_of(scale, cell.network, cell.ratio, cell.switch)
    made = programs.programs(scale, cell.network, cell.optimizer, sampling)
    first, schedule = programs.rate_of(scale, cell.network, cell.optimizer), SCHEDULES[cell.schedule]
    stream, state = np.uint32(cell.seed), jax.block_until_ready(made.start(np.uint32(cell.seed)))
    series: dict[str, list[float]] = {name: [] for name in ("at", "train_loss", "test_error", "tau", "share")}
    left = [cell.seconds * (place + 1) / CHECKPOINTS for place in range(CHECKPOINTS)]
    spent = measured = 0.0
    drawn, first_drawn = 0, None
    for number in itertools.count():
        while left and spent >= left[0]:  # slow steps can pass two checkpoints at once
            _judge(series, made, state, known, spent, drawn / (number * STEPS))
            left.pop(0)
        if not left:
            break
        rate = np.float32(first * schedule(spent / cell.seconds))
        began = _clocks()
        state, info = jax.block_until_ready(made.run(stream, np.uint32(number), rate, state, known.training))
        measured += _since(began)
        by_importance = round(float(info.importance_share) * STEPS)
        spent += by_importance * price.importance + (STEPS - by_importance) * price.uniform
        drawn += by_importance
        if by_importance and first_drawn is None:
            first_drawn = number * STEPS
    return {"steps": number * STEPS, "share": drawn / (number * STEPS), "first_importance_step": first_drawn,
            "measured_seconds": round(measured, 3), "series": series}  # fmt: skip


def _judge(series: dict[str, list[float]], made: programs.Programs, state: State, known: programs.Data, spent: float,
           share: float) -> None:  # fmt: skip
    wrong, _ = made.evaluate(state.params, known.test)
    _, loss = made.evaluate(state.params, known.judging)
    values = (spent, float(loss), float(wrong) / len(known.test.labels), float(state.tau), share)
    for name, value in zip(series, values, strict=True):
        series[name].append(float(f"{value:.6g}"))


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(began: tuple[float, float]) -> float:
    """Seconds since then; on a CPU without those in which other processes had the core."""
    wall, own = (now - then for now, then in zip(_clocks(), began, strict=True))
    return min(wall, own) if jax.default_backend() == "cpu" else wall


def run(scale: Scale, path: Path, networks: list[str], limit: int) -> None:
    """Every training of the scale that has no row yet, the first `limit` of them."""
    stored = rows.read(path)
    finished = {Cell(*(row[name] for name in Cell._fields)) for row in stored if "series" in row}
    prices = {(row["network"], row["optimizer"]): row["prices"] for row in stored if "prices" in row}
    cells = plan(scale, networks)
    missing = [cell for cell in cells if cell not in finished][:limit]
    new = {(*cell[:2], cell.ratio, cell.switch) for cell in missing}
    estimate = OVERHEAD * sum(cell.seconds for cell in missing) + COMPILATION * len(new)
    estimate += PRICING[scale] * len({cell[:2] for cell in missing} - prices.keys())
    print(f"seconds: {len(missing)} trainings, about {estimate / 60:.0f} minutes on an idle core", flush=True)
    if missing:
        rows.append(path, {"machine": rows.machine(), "device": jax.devices()[0].device_kind})
    for count, cell in enumerate(missing, 1):
        if cell[:2] not in prices:
            ratios = sorted({other.ratio for other in cells if other[:2] == cell[:2]})
            found = measure_prices(scale, cell.network, cell.optimizer, ratios)
            prices[cell[:2]] = {ratio: list(price) for ratio, price in found.items()}
            rows.append(path, {"network": cell.network, "optimizer": cell.optimizer, "prices": prices[cell[:2]]})
        row = cell._asdict() | train(scale, cell, Price(*prices[cell[:2]][str(cell.ratio)]))
        rows.append(path, row)
        print(f"{count}/{len(missing)} {_line(row)}", flush=True)


def _line(row: dict[str, Any]) -> str:
    kind = "uniform" if row["ratio"] == 1 else f"ratio {row['ratio']}, {row['switch']}"
    loss, error = (row["series"][name][-1] for name in ("train_loss", "test_error"))
    return (f"{row['network']} {row['optimizer']} {row['schedule']} {kind}, seed {row['seed']}: {row['steps']} steps, "
            f"share {row['share']:.2f}, training loss {loss:.4g}, test error {error:.4f} "
            f"({row['measured_seconds']:.1f} s)")  # fmt: skip
