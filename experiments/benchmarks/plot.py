"""Redraw the benchmark figures from the rows that are stored here: `make figures`."""

import argparse
from pathlib import Path

from experiments.benchmarks import parallel, regret, suggestion_time
from experiments.common import rows

HERE = Path(__file__).parent


def main() -> None:
    """A figure for each problem that has finished searches."""
    for problem, budget in regret.BUDGETS.items():
        path = HERE / f"regret-{problem}.svg"
        if curves := regret.load(HERE / "regret.jsonl", problem):
            regret.figure(curves, problem, budget, path)
            print(rows.relative(path))
        path = HERE / f"parallel-{problem}.svg"
        if by_workers := parallel.load(HERE / "parallel.jsonl", problem):
            parallel.figure(by_workers, problem, budget, path)
            print(rows.relative(path))
    path = HERE / "suggestion-time.svg"
    suggestion_time.figure(suggestion_time.load(HERE / "suggestion_time.jsonl"), path)
    print(rows.relative(path))


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # none but --help
    main()
