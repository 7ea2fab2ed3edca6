"""Seconds per epoch of the MLP or the CNN in PyTorch, eager or compiled. Runs in the peers' environment.

    python torch_training.py mlp 64 10000 5 eager

Prints a JSON list with one entry per epoch, without the first ones (warming up, compiling). The data are in memory as a
tensor of bytes, and a batch is an index into it: a data loader would only cost time.
"""

import json
import sys
import time

import torch
from torch import nn

WARM_UP = 2


def network(name):
    """The layers of `ibo_jax.training.networks`, on images (example, channel, row, column)."""
    if name == "mlp":
        return nn.Sequential(
            nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
        )
    blocks = [
        layer
        for channels in (3, 32, 32)
        for layer in (nn.Conv2d(channels, 32, 5, padding="same"), nn.MaxPool2d(3), nn.ReLU())
    ]
    return nn.Sequential(*blocks, nn.Flatten(), nn.LazyLinear(128), nn.ReLU(), nn.Linear(128, 10))


def main():
    name, batch, examples, epochs, mode = sys.argv[1], *map(int, sys.argv[2:5]), sys.argv[5]
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images = torch.randint(0, 256, (examples, *((1, 28, 28) if name == "mlp" else (3, 32, 32))), dtype=torch.uint8)
    labels = torch.randint(0, 10, (examples,))
    model = network(name)
    model(images[:1].float())  # gives lazy layers their shapes
    optimiser = torch.optim.RMSprop(model.parameters(), 1e-6)
    loss_of = nn.CrossEntropyLoss()

    def objective(index):
        return loss_of(model((images[index].float() - 128) / 74), labels[index])

    if mode == "compiled":
        objective = torch.compile(objective)
    seconds = []
    for _ in range(WARM_UP + epochs):
        began = time.perf_counter()
        for index in torch.randint(0, examples, (examples // batch, batch)):
            optimiser.zero_grad()
            objective(index).backward()
            optimiser.step()
        seconds.append(time.perf_counter() - began)
    print(json.dumps(seconds[WARM_UP:]))


if __name__ == "__main__":
    main()
