"""A self-tuning language model of characters.

    IBO_JAX_TEXT=tinyshakespeare.txt python -m experiments.stn_text {search,starts} --scale cpu

search: an LSTM on a part of any text, with three dropout rates and two activation regularisers (whose weights have no
upper bound for the self-tuning network, as published), against random search given the same seconds; ordinary trainings
that replay its schedule or hold its last values; random search again, with fewer trainings, each as long as the
self-tuning network's.

starts: the output's dropout alone, as in the published study, learnt from 0.05, 0.3, 0.5, 0.7 and 0.9; ordinary
trainings that replay each schedule, hold its last value, or hold its first one.

Rows are appended to `rows-SCALE.jsonl`; what is there is not run again. `plot.py` draws the figures.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from experiments.common import self_tuning
from experiments.common.settings import folder_of
from ibo_jax.bilevel.self_tuning import tuner
from ibo_jax.problems.text import text_problem
from ibo_jax.space import Float
from ibo_jax.study.cache import enable_compilation_cache

SIZES: dict[str, dict[str, Any]] = {
    "smoke": {"characters": 2000, "length": 16, "units": 8, "epochs": 2, "batch_size": 16},
    "cpu": {"characters": 16_000, "length": 32, "units": 48, "epochs": 25, "batch_size": 16, "learning_rate": 3.0},
}
EPOCHS = {"smoke": 3, "cpu": 60}
UNITS = {"smoke": 8, "cpu": 128}  # of `starts`: more, so that much dropout is needed
START = 0.05
# As published except the rate, which was chosen on seed 100; published: 0.01, for some ten thousand steps.
SETTINGS: dict[str, Any] = {
    "warm_up": 3,
    "rate": 0.03,
    "scale": 1.0,
    "entropy": None,
    "half_lines": ("activity", "change"),
}


def search(text: Path, scale: str, seeds: range, path: Path) -> None:
    """Five hyperparameters; all methods have the same seconds."""
    made, epochs = text_problem(text, **SIZES[scale]), EPOCHS[scale]
    note = {"part": "search", "text": text.stem}
    tuned = tuner(made, start=dict.fromkeys(made.space.names, START), **SETTINGS)
    self_tuning.compare(made, tuned, seeds, epochs, path, note, ("random",))
    longer = text_problem(text, **SIZES[scale] | {"epochs": epochs})
    self_tuning.search_longer(longer, made, seeds, epochs, path, note)


def starts(text: Path, scale: str, seeds: range, path: Path) -> None:
    """One hyperparameter and its replays."""
    rate = {"dropout_output": Float(0.0, 0.95)}
    made = text_problem(text, **SIZES[scale] | {"units": UNITS[scale], "space": rate})
    settings = SETTINGS | {"half_lines": ()}
    tuners = {start: tuner(made, start=dict.fromkeys(rate, start), **settings) for start in self_tuning.STARTS}
    self_tuning.replay_each(made, tuners, seeds, EPOCHS[scale], path, {"part": "starts", "text": text.stem})


def main(arguments: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        "python -m experiments.stn_text", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("search", "starts"))
    parser.add_argument("--text", type=Path, default=os.environ.get("IBO_JAX_TEXT"), help="default: $IBO_JAX_TEXT")
    parser.add_argument("--scale", choices=SIZES, default="cpu")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="folder of the rows; default: here, for smoke under runs/")
    chosen = parser.parse_args(arguments)
    if chosen.text is None:
        parser.error("expected a text file, got none; name one by --text or in IBO_JAX_TEXT")
    enable_compilation_cache()
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    run, out = {"search": search, "starts": starts}[chosen.part], chosen.out or folder_of("stn_text", chosen.scale)
    run(chosen.text, chosen.scale, seeds, out / f"rows-{chosen.scale}.jsonl")


if __name__ == "__main__":
    main()
