"""The small digit classifier of the conditional-GAN source (two 3x3 convolutions)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from imbal_jax.models.layers import Conv, Dropout, initializer, scaled
from imbal_jax.ops.conv import Form
from imbal_jax.ops.pool import max_pool_2x2

EXAMPLE_RANK = 3


class Model(nn.Module):
    """conv 32 3x3 relu -> conv 64 3x3 relu -> max pool 2 -> dropout 0.25 -> dense 128 relu -> dropout 0.5 -> dense K.

    Attributes:
        classes: K.
        width: multiplies the channel counts (1.0 is the source's network).
        form: how convolutions are computed.
        init_kernel: initial kernels, see `layers.initializer`.
    """

    classes: int
    width: float = 1.0
    form: Form = "gemm"
    init_kernel: str = "lecun_normal"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """[B, 28, 28, 1] float in [0, 1] -> logits [B, K] and the features [B, 128] before the last layer.

        Training needs a 'dropout' key.
        """
        init = initializer(self.init_kernel)
        sizes = [scaled(n, self.width) for n in (32, 64, 128)]
        x = nn.relu(Conv(sizes[0], (3, 3), padding="VALID", form=self.form, kernel_init=init)(x))
        x = Conv(sizes[1], (3, 3), padding="VALID", form=self.form, kernel_init=init)(x)
        x = nn.relu(max_pool_2x2(x))  # the two commute, and this way round a quarter of the relu's work is left
        x = Dropout(0.25)(x, train)
        features = nn.relu(nn.Dense(sizes[2], kernel_init=init)(x.reshape(x.shape[0], -1)))
        x = Dropout(0.5)(features, train)
        return nn.Dense(self.classes, kernel_init=init, name="head")(x), features.astype(jnp.float32)
