"""Redraw the figures and tables of every experiment from its stored rows: `make figures`."""

import argparse

from experiments.common import pages, rows
from experiments.common.settings import ROOT, experiments


def main() -> None:
    for experiment in experiments():
        for path in rows.files(ROOT / experiment.name, "rows-*.jsonl"):
            for file in pages.draw(path, experiment.title):
                print(rows.relative(file))


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()  # none but --help
    main()
