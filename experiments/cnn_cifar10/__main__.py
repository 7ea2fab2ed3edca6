"""`python -m experiments.cnn_cifar10`."""

from experiments.cnn_cifar10.settings import EXPERIMENT
from experiments.common.command import main

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
