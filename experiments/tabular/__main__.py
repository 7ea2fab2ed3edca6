"""`python -m experiments.tabular`."""

from experiments.common.command import main
from experiments.tabular.settings import EXPERIMENT

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
