"""The 1-D GAN of the heartbeat source: one pair of networks for each class, so the label is ignored."""

import flax.linen as nn
import jax

from imbal_jax.errors import UserError
from imbal_jax.models.layers import BatchNorm, Conv, ConvTranspose, Dropout, initializer, leaky_relu, scaled
from imbal_jax.ops.conv import Form

GROWTH = 188  # samples that the four kernels add: 31 + 31 + 63 + 63
MOMENTUM, EPSILON = 0.99, 1e-3  # of batch normalisation, Keras's


class Generator(nn.Module):
    """Latent as a signal -> transposed convolutions 8 k32, 32 k32, 64 k64, 1 k64, 'VALID' -> tanh.

    Batch normalisation and relu lie between them. 144,137 parameters with the running averages; they do not depend on the
    latent's length.

    Attributes:
        latent: length of the latent vector; a beat has 188 samples more (112 in the source: 300).
        classes: K; has no effect.
        width: multiplies the filters of the first three layers (1.0 is the source's network).
        form: how convolutions are computed.
        init_kernel: initial kernels, see `layers.initializer`.
    """

    latent: int = 112
    classes: int = 5
    width: float = 1.0
    form: Form = "gemm"
    init_kernel: str = "lecun_normal"

    @nn.compact
    def __call__(self, z: jax.Array, label: jax.Array, *, train: bool = False) -> jax.Array:
        """[B, latent], one-hot [B, K] -> beats [B, latent + 188, 1] in (-1, 1).

        Training needs a mutable collection 'batch_stats'.
        """
        init, x = initializer(self.init_kernel), z[:, :, None]
        for features, taps in ((8, 32), (32, 32), (64, 64)):
            size = scaled(features, self.width)
            x = ConvTranspose(size, (taps,), padding="VALID", form=self.form, kernel_init=init)(x)
            x = BatchNorm(MOMENTUM, EPSILON, "relu")(x, train)
        return nn.tanh(ConvTranspose(1, (64,), padding="VALID", form=self.form, kernel_init=init)(x))


class Discriminator(nn.Module):
    """Convolutions 32, 8, 4 of 32 samples -> dense 128 -> one logit; batch norm, LeakyReLU 0.2, dropout 0.2 after each.

    For 300 samples 164,317 parameters with the running averages.

    Attributes: as in `Generator`; `width` multiplies 32, 8, 4 and 128.
    """

    classes: int = 5
    width: float = 1.0
    form: Form = "gemm"
    init_kernel: str = "lecun_normal"

    @nn.compact
    def __call__(self, x: jax.Array, label: jax.Array, *, train: bool = False) -> jax.Array:
        """[B, T, 1], one-hot [B, K] -> logits [B]: above zero is 'real'.

        Training needs a 'dropout' key and a mutable collection 'batch_stats'.

        Raises:
            UserError: rows that are not signals.
        """
        if x.ndim != 3:
            raise UserError(f"s1_gan is for signals [T, C] (got rows of shape {x.shape[1:]})")
        init = initializer(self.init_kernel)
        for features in (32, 8, 4):
            x = Conv(scaled(features, self.width), (32,), form=self.form, kernel_init=init)(x)
            x = leaky_relu(BatchNorm(MOMENTUM, EPSILON)(x, train))
            x = Dropout(0.2)(x, train)
        x = nn.Dense(scaled(128, self.width), kernel_init=init)(x.reshape(x.shape[0], -1))
        return nn.Dense(1, kernel_init=init)(leaky_relu(x))[:, 0]
