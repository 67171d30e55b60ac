"""The classifier's and the conditional GAN's train step in PyTorch."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.harness import Steps

LATENT, CLASSES = 128, 10


def classifier(form: str, batch: int) -> Steps:
    """Train steps of the classifier on images [batch, 1, 28, 28] that lie ready as tensors."""
    return train_steps(classifier_network(), partial(torch.optim.SGD, lr=0.01), form, batch)


def train_steps(model: nn.Module, optimizer_of: Callable, form: str, batch: int) -> Steps:
    """Train steps of a model of such images whose output is logits."""
    layout, device = memory_layout(form), best_device()
    model = model.to(device, memory_format=layout)
    optimizer = optimizer_of(model.parameters(), fused=True)
    loss_of = compiled(form, lambda x, y: F.cross_entropy(model(x), y))

    def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        return loss

    return steps(step, batches(batch, layout, device), device)


def classifier_network() -> nn.Module:
    """The classifier's layers; its output is logits."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25),
        nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, CLASSES),
    )  # fmt: skip


def cgan(form: str, batch: int) -> Steps:
    """Train steps (discriminator on one batch [fake; real], then generator on fresh noise) of the conditional GAN."""
    layout, device = memory_layout(form), best_device()
    generator = _generator().to(device, memory_format=layout)
    discriminator = _discriminator().to(device, memory_format=layout)
    d_optimizer = torch.optim.Adam(discriminator.parameters(), 3e-4, fused=True)
    g_optimizer = torch.optim.Adam(generator.parameters(), 3e-4, fused=True)
    truth = torch.cat([torch.zeros(batch, 1), torch.ones(batch, 1)]).to(device)

    def fake(one_hot: torch.Tensor) -> torch.Tensor:
        return generator(torch.cat([torch.randn(batch, LATENT, device=device), one_hot], 1))

    def judge(images: torch.Tensor, one_hot: torch.Tensor) -> torch.Tensor:
        planes = one_hot[:, :, None, None].expand(-1, -1, 28, 28)
        return discriminator(torch.cat([images, planes], 1).contiguous(memory_format=layout))

    def d_loss_of(x: torch.Tensor, one_hot: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            images = fake(one_hot)
        logits = judge(torch.cat([images, x]), torch.cat([one_hot, one_hot]))
        return F.binary_cross_entropy_with_logits(logits, truth)

    def g_loss_of(one_hot: torch.Tensor) -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(judge(fake(one_hot), one_hot), truth[batch:])

    d_loss_of, g_loss_of = compiled(form, d_loss_of), compiled(form, g_loss_of)

    def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        one_hot = F.one_hot(y, CLASSES).float()
        d_optimizer.zero_grad(set_to_none=True)
        d_loss = d_loss_of(x, one_hot)
        d_loss.backward()
        d_optimizer.step()
        g_optimizer.zero_grad(set_to_none=True)
        discriminator.requires_grad_(False)  # the generator's step needs no gradient of the discriminator's weights
        g_loss = g_loss_of(one_hot)
        g_loss.backward()
        discriminator.requires_grad_(True)
        g_optimizer.step()
        return d_loss.detach() + g_loss.detach()

    return steps(step, batches(batch, layout, device), device)


def _generator() -> nn.Module:
    width = LATENT + CLASSES
    return nn.Sequential(
        nn.Linear(width, 7 * 7 * width), nn.LeakyReLU(0.2), nn.Unflatten(1, (width, 7, 7)),
        nn.ConvTranspose2d(width, 128, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.ConvTranspose2d(128, 128, 4, 2, 1), nn.LeakyReLU(0.2),
        nn.Conv2d(128, 1, 7, padding=3), nn.Sigmoid(),
    )  # fmt: skip


def _discriminator() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1 + CLASSES, 64, 3, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(64, 128, 3, 2, 1), nn.LeakyReLU(0.2),
        nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(128, 1),
    )  # fmt: skip


def compiled(form: str, f: Callable) -> Callable:
    """The function as the form 'compile' has it."""
    return torch.compile(f) if form == "compile" else f


def memory_layout(form: str) -> torch.memory_format:
    """Channels last, but for the form 'eager_nchw'."""
    return torch.contiguous_format if form == "eager_nchw" else torch.channels_last


def best_device() -> torch.device:
    """The GPU where there is one."""
    torch.set_float32_matmul_precision("high")  # TF32 on a GPU, as JAX and TensorFlow use there by default
    torch.backends.cudnn.benchmark = True
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def batches(
    batch: int,
    layout: torch.memory_format,
    device: torch.device,
    shape: tuple[int, ...] = (1, 28, 28),
    classes: int = CLASSES,
    count: int = 8,
) -> list[tuple]:
    """Random images in [0, 1] and labels, on the device before the clock starts: input costs the peer nothing."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (count, batch, *shape), np.uint8).astype(np.float32) / 255
    labels = draw.integers(0, classes, (count, batch), np.int64)
    return [
        (torch.from_numpy(x).to(device).contiguous(memory_format=layout), torch.from_numpy(y).to(device))
        for x, y in zip(images, labels, strict=True)
    ]


def steps(step: Callable, ready: list[tuple], device: torch.device) -> Steps:
    """The step on one batch after the other."""

    def run(n: int) -> None:
        for i in range(n):
            loss = step(*ready[i % len(ready)])
        loss.item()  # waits for the device

    return Steps(run, torch.cuda.get_device_name() if device.type == "cuda" else "CPU")
