"""Redraw the benchmark figures from the rows that are stored here: `make figures`."""

from experiments.benchmarks import regret, rows


def main() -> None:
    """A figure for each problem that has finished searches."""
    for problem, budget in regret.BUDGETS.items():
        path = rows.HERE / f"regret-{problem}.svg"
        if curves := regret.load(rows.HERE / "regret.jsonl", problem):
            regret.figure(curves, problem, budget, path)
            print(path.relative_to(rows.HERE.parent.parent))


if __name__ == "__main__":
    main()
