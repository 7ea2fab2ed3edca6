"""`python -m experiments.hpolib_naval`."""

from experiments.common.command import main
from experiments.hpolib_naval.settings import EXPERIMENT

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
