"""A GAN pair: dense networks for examples of any shape."""

import math

import flax.linen as nn
import jax.numpy as jnp

from imbal_jax.models.layers import initializer, leaky_relu, scaled


class Generator(nn.Module):
    latent: int
    classes: int
    width: float = 1.0
    form: str = "gemm"
    init_kernel: str = "he_normal"
    shape: tuple[int, ...] = (28, 28, 1)  # the library gives that of the data

    @nn.compact
    def __call__(self, z, label, *, train: bool = False):
        dense = lambda size: nn.Dense(size, kernel_init=initializer(self.init_kernel))  # noqa: E731
        hidden = leaky_relu(dense(scaled(64, self.width))(jnp.concatenate([z, label], axis=1)))
        return nn.sigmoid(dense(math.prod(self.shape))(hidden)).reshape(-1, *self.shape)


class Discriminator(nn.Module):
    classes: int
    width: float = 1.0
    form: str = "gemm"
    init_kernel: str = "he_normal"

    @nn.compact
    def __call__(self, x, label, *, train: bool = False):
        dense = lambda size: nn.Dense(size, kernel_init=initializer(self.init_kernel))  # noqa: E731
        hidden = dense(scaled(64, self.width))(jnp.concatenate([x.reshape(x.shape[0], -1), label], axis=1))
        return dense(1)(leaky_relu(hidden))[:, 0]
