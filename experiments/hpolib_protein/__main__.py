"""`python -m experiments.hpolib_protein`."""

from experiments.common.command import main
from experiments.hpolib_protein.settings import EXPERIMENT

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
