"""The figures and tables of a file of rows, `rows-VARIANT.jsonl`, beside it: `VARIANT-GROUP.svg` of each group of
methods and `VARIANT.md`; and those of its answers as their methods train, where they were retrained so:
`VARIANT-GROUP-as-trained.svg`, `VARIANT-as-trained.md`."""

from collections.abc import Sequence
from pathlib import Path

from experiments.common import as_trained, curves, figures, rows, tables, time_to_target
from experiments.common.curves import Cost, Curves
from experiments.common.settings import BASELINE, GROUPS


def draw(path: Path, title: str) -> list[Path]:
    """Everything that the rows show; what was written."""
    found, results_path = rows.read(path), as_trained.results_file(path)
    cost = curves.cost(found)
    written = write(path, title, curves.load(found), cost)
    if results := rows.read(results_path):
        retrained, methods = as_trained.retrained(found, results), as_trained.whole(found, results)
        last = as_trained.last_errors(retrained)
        head = [f"Last answers, retrained (`{results_path.name}`):", "", *tables.comparison(last)]
        whole = curves.of(retrained, methods if BASELINE in methods else ())
        written += write(path, f"{title}, answers as their methods train", whole, cost, "-as-trained", head)
    return written


def write(
    path: Path, title: str, found: Curves, cost: Cost = "training", suffix: str = "", head: Sequence[str] = ()
) -> list[Path]:
    """Figures and tables of curves, named by the file of rows and a suffix; `head` are lines above the tables."""
    variant = path.stem.removeprefix("rows-")
    parts = [f"# {title}, {variant}", "", f"Made of `{path.name}` by `make figures`.", "", *head]
    written: list[Path] = []
    for group, methods in GROUPS.items():
        chosen = curves.of(found, methods)
        if not chosen.keys() - {BASELINE} and (written or not chosen):
            continue  # IBO alone is drawn once
        written.append(path.with_name(f"{variant}-{group}{suffix}.svg"))
        figures.save(figures.comparison(chosen, f"{title}, {variant}", cost), written[-1])
        parts += [f"## {', '.join(chosen)}", "", tables.markdown(chosen, cost)]
    if cost == "training":
        parts += time_to_target.markdown(found)
    if found or head:
        written.append(path.with_name(f"{variant}{suffix}.md"))
        written[-1].write_text("\n".join(parts).rstrip() + "\n")
    return written
