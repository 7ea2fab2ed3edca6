"""Redraw the figures of this folder from the rows that are stored here: `make figures`."""

from pathlib import Path

from experiments.common import stn_figures

if __name__ == "__main__":
    stn_figures.main(
        Path(__file__).parent,
        {
            "search": (stn_figures.answers, "LeNet on MNIST, equal seconds"),
            "starts": (stn_figures.starts, "One dropout rate on MNIST, learnt from five starts"),
        },
    )
