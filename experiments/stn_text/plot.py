"""Redraw the figures of this folder from the rows that are stored here: `make figures`."""

from pathlib import Path

from experiments.common import stn_figures

if __name__ == "__main__":
    parts = {
        "search": (stn_figures.answers, "LSTM on a part of tiny Shakespeare, equal seconds"),
        "starts": (
            stn_figures.starts,
            "One dropout rate of an LSTM on tiny Shakespeare, learnt from five starts",
        ),
    }
    stn_figures.main(Path(__file__).parent, parts)
