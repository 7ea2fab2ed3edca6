"""`python -m experiments.fcn_mnist`."""

from experiments.common.command import main
from experiments.fcn_mnist.settings import EXPERIMENT

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
