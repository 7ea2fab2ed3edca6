"""Redraw the figures and tables of every experiment from its stored rows: `make figures`.

For each file `rows-VARIANT.jsonl` a figure of each group of methods and a table: `VARIANT-GROUP.svg`, `VARIANT.md`; and
the same of its answers as their methods train, if they were: `VARIANT-GROUP-as-trained.svg`, `VARIANT-as-trained.md`.
"""

from collections.abc import Sequence
from pathlib import Path

from experiments.common import as_trained, curves, figures, rows, tables, time_to_target
from experiments.common.curves import Curves
from experiments.common.settings import BASELINE, GROUPS, ROOT, experiments


def redraw(path: Path, title: str, found: Curves, suffix: str = "", head: Sequence[str] = ()) -> list[Path]:
    """The figures and the tables of one file of rows, beside it, with a suffix to their names; what was written.
    `head` are lines above the tables."""
    variant = path.stem.removeprefix("rows-")
    parts = [f"# {title}, {variant}", "", f"Made of `{path.name}` by `make figures`.", "", *head]
    written: list[Path] = []
    for group, methods in GROUPS.items():
        chosen = curves.of(found, methods)
        if not chosen.keys() - {BASELINE} and (written or not chosen):
            continue  # IBO alone is drawn once
        written.append(path.with_name(f"{variant}-{group}{suffix}.svg"))
        figures.save(figures.comparison(chosen, f"{title}, {variant}"), written[-1])
        parts += [f"## {', '.join(chosen)}", "", tables.markdown(chosen)]
    if found or head:
        written.append(path.with_name(f"{variant}{suffix}.md"))
        written[-1].write_text("\n".join([*parts, *time_to_target.markdown(found)]).rstrip() + "\n")
    return written


def main() -> None:
    for experiment in experiments():
        for path in rows.files(ROOT / experiment.name, "rows-*.jsonl"):
            written = redraw(path, experiment.title, curves.load(path))
            if retrained := as_trained.errors(path) if rows.read(as_trained.results_file(path)) else {}:
                title, whole = f"{experiment.title}, answers as their methods train", as_trained.whole_curves(path)
                said = f"Last answers, retrained (`{as_trained.results_file(path).name}`):"
                written += redraw(path, title, whole, "-as-trained", [said, "", *tables.comparison(retrained)])
            for file in written:
                print(rows.relative(file))


if __name__ == "__main__":
    main()
