"""Redraw the figures of this folder from the rows that are stored here: `make figures`."""

from pathlib import Path

from experiments.common import stn_figures

if __name__ == "__main__":
    title = "AlexNet-like network on CIFAR-10, 15 hyperparameters"
    stn_figures.main(Path(__file__).parent, {"cifar10": (stn_figures.course, title)})
