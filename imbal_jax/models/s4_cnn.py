"""The small Fashion-MNIST classifier of the mixup source (two 5x5 convolutions)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from imbal_jax.models.layers import Conv, Dropout, initializer, scaled
from imbal_jax.ops.conv import Form
from imbal_jax.ops.pool import max_pool_2x2

EXAMPLE_RANK = 3


class Model(nn.Module):
    """conv 16 5x5 relu, max pool 2, conv 32 5x5 relu, max pool 2, dropout 0.2, average pool, dense 128 relu, dense K.

    The convolutions are not padded, Keras's default, which the source leaves as it is: 28, 24, 12, 8, 4 pixels a side. For
    10 classes 18,762 parameters.

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
        sizes = [scaled(n, self.width) for n in (16, 32, 128)]
        for features in sizes[:2]:
            x = Conv(features, (5, 5), padding="VALID", form=self.form, kernel_init=init)(x)
            x = nn.relu(max_pool_2x2(x))  # the two commute, and this way round a quarter of the relu's work is left
        x = Dropout(0.2)(x, train).mean((1, 2))
        features = nn.relu(nn.Dense(sizes[2], kernel_init=init)(x))
        return nn.Dense(self.classes, kernel_init=init, name="head")(features), features.astype(jnp.float32)
