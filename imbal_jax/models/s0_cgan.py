"""The conditional GAN of the MNIST source: label given to the generator as one-hot, to the discriminator as channels."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from imbal_jax.models.layers import Conv, ConvTranspose, initializer, leaky_relu, scaled
from imbal_jax.ops.conv import Form


class Generator(nn.Module):
    """Latent and one-hot label -> dense 7*7*(latent + K) -> two transposed convolutions -> 7x7 convolution, sigmoid.

    For images of another size than 28x28 the first map has a quarter of it, rounded up, and the excess is cut off.

    Attributes:
        latent: length of the latent vector (128 in the source).
        classes: K.
        width: multiplies the 128 filters of the transposed convolutions (1.0 is the source's network).
        form: how convolutions are computed.
        init_kernel: initial kernels, see `layers.initializer`.
        shape: of an image, [H, W, C].
    """

    latent: int = 128
    classes: int = 10
    width: float = 1.0
    form: Form = "gemm"
    init_kernel: str = "lecun_normal"
    shape: tuple[int, ...] = (28, 28, 1)

    @nn.compact
    def __call__(self, z: jax.Array, label: jax.Array, *, train: bool = False) -> jax.Array:
        """[B, latent], one-hot [B, K] -> images [B, H, W, C] in (0, 1); training mode changes nothing."""
        channels, init = self.latent + self.classes, initializer(self.init_kernel)
        height, wide, colours = self.shape
        first = -(-height // 4), -(-wide // 4)
        x = leaky_relu(nn.Dense(first[0] * first[1] * channels, kernel_init=init)(jnp.concatenate([z, label], axis=-1)))
        x = x.reshape(-1, *first, channels)
        for _ in range(2):
            x = leaky_relu(ConvTranspose(scaled(128, self.width), (4, 4), strides=2, form=self.form, kernel_init=init)(x))
        return nn.sigmoid(Conv(colours, (7, 7), form=self.form, kernel_init=init)(x[:, :height, :wide]))


class Discriminator(nn.Module):
    """Image with K label channels -> conv 64 and 128, 3x3, stride 2 -> global max pool -> one logit.

    Attributes: as in `Generator`, but for `shape`; `width` multiplies 64 and 128.
    """

    classes: int = 10
    width: float = 1.0
    form: Form = "gemm"
    init_kernel: str = "lecun_normal"

    @nn.compact
    def __call__(self, x: jax.Array, label: jax.Array, *, train: bool = False) -> jax.Array:
        """[B, H, W, C], one-hot [B, K] -> logits [B]: above zero is 'real'; training mode changes nothing."""
        init = initializer(self.init_kernel)
        tiled = jnp.broadcast_to(label[:, None, None, :], (*x.shape[:3], self.classes)).astype(x.dtype)
        x = jnp.concatenate([x, tiled], axis=-1)
        for features in (64, 128):
            x = leaky_relu(Conv(scaled(features, self.width), (3, 3), strides=2, form=self.form, kernel_init=init)(x))
        return nn.Dense(1, kernel_init=init)(jnp.max(x, axis=(1, 2)))[:, 0]
