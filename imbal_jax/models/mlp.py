"""A small multilayer perceptron for vectors, such as the columns of a table."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from imbal_jax.errors import UserError
from imbal_jax.models.layers import Dropout, initializer, scaled
from imbal_jax.ops.conv import Form

EXAMPLE_RANK = 1
HIDDEN = (256, 128)
DROPOUT_RATE = 0.2


class Model(nn.Module):
    """dense 256 relu -> dropout 0.2 -> dense 128 relu -> dropout 0.2 -> dense K.

    Without normalisation layers: columns are standardised where the data is read.

    Attributes:
        classes: K.
        width: multiplies the hidden layers' sizes.
        form: has no effect, as there are no convolutions.
        init_kernel: initial kernels, see `layers.initializer`.
    """

    classes: int
    width: float = 1.0
    form: Form = "gemm"
    init_kernel: str = "he_normal"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """[B, D] float -> logits [B, K] and the features float32 [B, 128] before the last layer.

        Training needs a 'dropout' key.

        Raises:
            UserError: rows that are not vectors.
        """
        if x.ndim != 2:
            raise UserError(f"this network is for vectors [D] (got rows of shape {x.shape[1:]})")
        init = initializer(self.init_kernel)
        first, second = (scaled(size, self.width) for size in HIDDEN)
        hidden = Dropout(DROPOUT_RATE)(nn.relu(nn.Dense(first, kernel_init=init)(x)), train)
        features = nn.relu(nn.Dense(second, kernel_init=init)(hidden))
        dropped = Dropout(DROPOUT_RATE)(features, train)
        return nn.Dense(self.classes, kernel_init=init, name="head")(dropped), features.astype(jnp.float32)
