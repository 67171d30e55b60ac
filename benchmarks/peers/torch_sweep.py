"""Seeds of the classifier with and without over-sampling, one after the other, in PyTorch."""

from collections.abc import Iterator

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.peers import sweep
from benchmarks.peers.torch_s0 import best_device, classifier_network


def train(plan: sweep.Plan, data: sweep.Data, seed: int, rows: np.ndarray) -> np.ndarray:
    """Trains one classifier; its answers on the test set."""
    torch.manual_seed(seed)
    here = best_device()
    model = classifier_network().to(here, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, fused=True)
    x, y = _images(data.train_x[rows]), torch.from_numpy(data.train_y[rows])
    for _ in range(plan.epochs):
        for images, labels in _batches(plan, x, y):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(model(images.to(here)), labels.to(here)).backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        parts = [model(part.to(here)).argmax(1).cpu() for part in _images(data.test_x).split(1000)]
    return torch.cat(parts).numpy()


def _images(x: np.ndarray) -> torch.Tensor:
    """uint8 [N, 28, 28, 1] -> float [N, 1, 28, 28] in [0, 1]."""
    return torch.from_numpy(x.astype(np.float32) / 255).permute(0, 3, 1, 2)


def _batches(plan: sweep.Plan, x: torch.Tensor, y: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """An epoch in random order."""
    if plan.form == "loader":
        yield from DataLoader(TensorDataset(x, y), batch_size=plan.batch, shuffle=True)
    else:
        for index in torch.randperm(len(x)).split(plan.batch):
            yield x[index], y[index]


def device() -> str:
    """The GPU's name, or CPU."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


if __name__ == "__main__":
    sweep.main(train, device)
