"""The train step of the retinopathy DCGAN in PyTorch."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.harness import Steps
from benchmarks.peers import torch_s0 as common

LATENT, SHAPE, GRADES, D_STEPS = 100, (3, 128, 128), 5, 2


def dcgan(form: str, batch: int) -> Steps:
    """Two steps of the discriminator, on a real batch and on a generated one apart, then one of the generator.

    The images [batch, 3, 128, 128] lie ready as tensors.
    """
    layout, device = common.memory_layout(form), common.best_device()
    generator = _generator().to(device, memory_format=layout)
    discriminator = _discriminator().to(device, memory_format=layout)
    d_optimizer = torch.optim.Adam(discriminator.parameters(), 1e-3, (0.5, 0.999), fused=True)
    g_optimizer = torch.optim.Adam(generator.parameters(), 1e-4, (0.5, 0.999), fused=True)
    zeros, ones = torch.zeros(batch, 1, device=device), torch.ones(batch, 1, device=device)

    def fake() -> torch.Tensor:
        return generator(torch.randn(batch, LATENT, device=device))

    def d_loss_of(x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            images = fake()
        real = F.binary_cross_entropy_with_logits(discriminator(2 * x - 1), ones)
        return 0.5 * (real + F.binary_cross_entropy_with_logits(discriminator(images), zeros))

    def g_loss_of() -> torch.Tensor:
        return F.binary_cross_entropy_with_logits(discriminator(fake()), ones)

    d_loss_of, g_loss_of = common.compiled(form, d_loss_of), common.compiled(form, g_loss_of)

    def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        for _ in range(D_STEPS):
            d_optimizer.zero_grad(set_to_none=True)
            d_loss = d_loss_of(x)
            d_loss.backward()
            d_optimizer.step()
        g_optimizer.zero_grad(set_to_none=True)
        discriminator.requires_grad_(False)  # the generator's step needs no gradient of the discriminator's weights
        g_loss = g_loss_of()
        g_loss.backward()
        discriminator.requires_grad_(True)
        g_optimizer.step()
        return d_loss.detach() + g_loss.detach()

    return common.steps(step, common.batches(batch, layout, device, SHAPE, GRADES), device)


def _generator() -> nn.Module:
    hidden: list[nn.Module] = [nn.LeakyReLU(0.2), nn.Dropout(0.5)]
    for channels in (256, 128, 128):
        hidden += [nn.ConvTranspose2d(channels, 128, 4, 2, 1), nn.LeakyReLU(0.2), nn.Dropout(0.5)]
    return nn.Sequential(
        nn.Linear(LATENT, 16 * 16 * 256), nn.Unflatten(1, (256, 16, 16)), *hidden,
        nn.Conv2d(128, 3, 3, padding=1), nn.Tanh(),
    )  # fmt: skip


def _discriminator() -> nn.Module:
    hidden: list[nn.Module] = []
    for channels, filters, stride in ((3, 16, 1), (16, 8, 2), (8, 16, 2), (16, 8, 2)):
        hidden += [nn.Conv2d(channels, filters, 3, stride, 1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*hidden, nn.Flatten(), nn.Dropout(0.2), nn.Linear(2048, 1))
