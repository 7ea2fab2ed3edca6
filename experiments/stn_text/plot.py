"""Redraw the figures of this folder from the rows that are stored here: `make figures`."""

from pathlib import Path

from experiments.common import stn_figures

if __name__ == "__main__":
    title = "LSTM on a part of tiny Shakespeare, equal seconds"
    stn_figures.main(Path(__file__).parent, {"text": (stn_figures.answers, title)})
