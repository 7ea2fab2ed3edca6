"""`python -m experiments.digits`."""

from experiments.common.command import main
from experiments.digits.settings import EXPERIMENT

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
