"""The train step of the small Fashion-MNIST classifier (two 5x5 convolutions) in PyTorch."""

from functools import partial

import torch
from torch import nn

from benchmarks.harness import Steps
from benchmarks.peers.torch_s0 import CLASSES, train_steps


def classifier(form: str, batch: int) -> Steps:
    """Train steps with Adam on images [batch, 1, 28, 28] that lie ready as tensors."""
    network = nn.Sequential(
        nn.Conv2d(1, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 128), nn.ReLU(), nn.Linear(128, CLASSES),
    )  # fmt: skip
    return train_steps(network, partial(torch.optim.Adam, lr=1e-3), form, batch)
