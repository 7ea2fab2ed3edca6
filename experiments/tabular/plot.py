"""Redraw what this experiment has beside the figures of every experiment: the answers as their methods train them."""

from pathlib import Path

from experiments.common import curves, figures, rows, tables
from experiments.common.settings import GROUPS
from experiments.tabular import as_trained

HERE = Path(__file__).parent


def draw(folder: Path) -> list[Path]:
    """A figure and a table of each file of rows."""
    written: list[Path] = []
    for path in rows.files(folder, "rows-*.jsonl"):
        variant, found = path.stem.removeprefix("rows-"), rows.read(path)
        trained = as_trained.curves(found, curves.load(path))
        parts = [f"# Recorded trainings, {variant}: answers as their methods train them", "",
                 f"Made of `{path.name}` by `make figures`.", ""]  # fmt: skip
        for group, methods in GROUPS.items():
            if len(chosen := curves.of(trained, methods)) > 1:
                written.append(path.with_name(f"{variant}-{group}-as-trained.svg"))
                figures.save(figures.comparison(chosen, f"Recorded trainings, {variant}, as trained"), written[-1])
                parts += [f"## {', '.join(chosen)}", "", tables.markdown(chosen)]
        if written:
            written.append(path.with_name(f"{variant}-as-trained.md"))
            written[-1].write_text("\n".join(parts).rstrip() + "\n")
    return written


def main() -> None:
    for path in draw(HERE):
        print(path.relative_to(HERE.parent.parent))


if __name__ == "__main__":
    main()
