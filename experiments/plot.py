"""Redraw the figures and tables of every experiment from its stored rows: `make figures`.

For each file `rows-VARIANT.jsonl` a figure and a table of each group of methods: `VARIANT-GROUP.svg`, `VARIANT.md`; and
a table of its answers as their methods train, if they were: `as-trained-VARIANT.md`.
"""

from pathlib import Path

from experiments.common import as_trained, curves, figures, rows, tables
from experiments.common.curves import Curves
from experiments.common.settings import BASELINE, GROUPS, ROOT, experiments


def redraw(path: Path, title: str, found: Curves, suffix: str = "") -> list[Path]:
    """The figures and the tables of one file of rows, beside it, with a suffix to their names; what was written."""
    variant = path.stem.removeprefix("rows-")
    parts = [f"# {title}, {variant}", "", f"Made of `{path.name}` by `make figures`.", ""]
    written: list[Path] = []
    for group, methods in GROUPS.items():
        chosen = curves.of(found, methods)
        if not chosen.keys() - {BASELINE} and (written or not chosen):
            continue  # IBO alone is drawn once
        written.append(path.with_name(f"{variant}-{group}{suffix}.svg"))
        figures.save(figures.comparison(chosen, f"{title}, {variant}"), written[-1])
        parts += [f"## {', '.join(chosen)}", "", tables.markdown(chosen)]
    if written:
        written.append(path.with_name(f"{variant}{suffix}.md"))
        written[-1].write_text("\n".join(parts).rstrip() + "\n")
    return written


def main() -> None:
    for experiment in experiments():
        for path in rows.files(ROOT / experiment.name, "rows-*.jsonl"):
            for written in redraw(path, experiment.title, curves.load(path)):
                print(rows.relative(written))
            if rows.read(results := as_trained.results_file(path)):
                results.with_suffix(".md").write_text(as_trained.table(path, experiment.title))
                print(rows.relative(results.with_suffix(".md")))


if __name__ == "__main__":
    main()
