"""The conditional GAN of the MNIST source: label given to the generator as one-hot, to the discriminator as channels."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from imbal_jax.models.layers import Conv, ConvTranspose, initializer, leaky_relu, scaled
from imbal_jax.ops.conv import Form


class Generator(nn.Module):
    """Latent and one-hot label -> dense 7*7*(latent + K) -> two transposed convolutions -> 7x7 convolution, sigmoid.

    Attributes:
        latent: length of the latent vector (128 in the source).
        classes: K.
        width: multiplies the 128 filters of the transposed convolutions (1.0 is the source's network).
        form: how convolutions are computed.
        init_kernel: initial kernels, see `layers.initializer`.
    """

    latent: int = 128
    classes: int = 10
    width: float = 1.0
    form: Form = "gemm"
    init_kernel: str = "lecun_normal"

    @nn.compact
    def __call__(self, z: jax.Array, label: jax.Array, *, train: bool = False) -> jax.Array:
        """[B, latent], one-hot [B, K] -> images [B, 28, 28, 1] in (0, 1); nothing differs in training."""
        channels, init = self.latent + self.classes, initializer(self.init_kernel)
        x = leaky_relu(nn.Dense(7 * 7 * channels, kernel_init=init)(jnp.concatenate([z, label], axis=-1)))
        x = x.reshape(-1, 7, 7, channels)
        for _ in range(2):
            x = leaky_relu(ConvTranspose(scaled(128, self.width), (4, 4), strides=2, form=self.form, kernel_init=init)(x))
        return nn.sigmoid(Conv(1, (7, 7), form=self.form, kernel_init=init)(x))


class Discriminator(nn.Module):
    """Image with K label channels -> conv 64 and 128, 3x3, stride 2 -> global max pool -> one logit.

    Attributes: as in `Generator`; `width` multiplies 64 and 128.
    """

    classes: int = 10
    width: float = 1.0
    form: Form = "gemm"
    init_kernel: str = "lecun_normal"

    @nn.compact
    def __call__(self, x: jax.Array, label: jax.Array, *, train: bool = False) -> jax.Array:
        """[B, 28, 28, 1], one-hot [B, K] -> logits [B]: above zero is 'real'; nothing differs in training."""
        init = initializer(self.init_kernel)
        tiled = jnp.broadcast_to(label[:, None, None, :], (*x.shape[:3], self.classes)).astype(x.dtype)
        x = jnp.concatenate([x, tiled], axis=-1)
        for features in (64, 128):
            x = leaky_relu(Conv(scaled(features, self.width), (3, 3), strides=2, form=self.form, kernel_init=init)(x))
        return nn.Dense(1, kernel_init=init)(jnp.max(x, axis=(1, 2)))[:, 0]
