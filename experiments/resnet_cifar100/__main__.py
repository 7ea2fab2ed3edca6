"""`python -m experiments.resnet_cifar100`."""

from experiments.common.command import main
from experiments.resnet_cifar100.settings import EXPERIMENT

if __name__ == "__main__":
    raise SystemExit(main(EXPERIMENT))
