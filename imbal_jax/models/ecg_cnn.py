"""A small residual 1-D CNN for heartbeats, with or without RR features."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from imbal_jax.errors import UserError
from imbal_jax.models.layers import BatchNorm, Conv, Dropout, initializer
from imbal_jax.ops.batch_norm import Activation
from imbal_jax.ops.conv import Form

BLOCKS = ((32, 7), (64, 7), (128, 5))  # channels and taps
DROPOUT_RATE = 0.2


class Model(nn.Module):
    """conv 32 k9 -> residual blocks of 32 k7, 64 k7, 128 k5 -> average pool -> dense 64 relu -> dropout 0.2 -> dense K.

    The first convolution and each block halve the signal; all have batch normalisation (momentum 0.99, epsilon 1e-3). The
    block is that of He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, in one dimension, its
    shortcut a convolution of one tap. A pooled feature has seen 213 samples, 0.6 s at 360 Hz.

    RR features (the times between a beat and its neighbours) hold what a beat alone cannot show: de Chazal, O'Dwyer,
    Reilly, "Automatic Classification of Heartbeats Using ECG Morphology and Heartbeat Interval Features", IEEE Transactions
    on Biomedical Engineering 51(7), 2004.

    Attributes:
        classes: K.
        width: multiplies the channel counts.
        form: how convolutions are computed.
        init_kernel: initial kernels, see `layers.initializer`.
        rr: so many last samples are RR features: they are cut off and joined to the pooled features.
    """

    classes: int
    width: float = 1.0
    form: Form = "gemm"
    init_kernel: str = "he_normal"
    rr: int = 0

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """[B, T + rr, C] float in [-1, 1] -> logits [B, K] and the features float32 [B, 64] before the last layer.

        Training needs a 'dropout' key and a mutable collection 'batch_stats'.

        Raises:
            UserError: rows that are not signals, or are no longer than the RR features.
        """
        if x.ndim != 3 or x.shape[1] <= self.rr:
            raise UserError(f"this network is for signals [T, C] of more than {self.rr} samples, these rows are {x.shape[1:]}")
        init = initializer(self.init_kernel)
        beat, rr = x[:, : x.shape[1] - self.rr], x[:, x.shape[1] - self.rr :].reshape(x.shape[0], -1)
        x = ConvNorm(self._scaled(32), 9, 2, "relu", self.form, init, name="stem")(beat, train)
        for i, (features, taps) in enumerate(BLOCKS):
            layer = (self._scaled(features), taps)
            y = ConvNorm(*layer, 2, "relu", self.form, init, name=f"block{i}_first")(x, train)
            y = ConvNorm(*layer, 1, "", self.form, init, name=f"block{i}_second")(y, train)
            x = nn.relu(ConvNorm(layer[0], 1, 2, "", self.form, init, name=f"block{i}_shortcut")(x, train) + y)
        pooled = x.mean(1, dtype=jnp.float32).astype(x.dtype)
        features = nn.relu(nn.Dense(self._scaled(64), kernel_init=init)(jnp.concatenate([pooled, rr], axis=1)))
        dropped = Dropout(DROPOUT_RATE)(features, train)
        return nn.Dense(self.classes, kernel_init=init, name="head")(dropped), features.astype(jnp.float32)

    def _scaled(self, n: int) -> int:
        return max(1, round(n * self.width))


class ConvNorm(nn.Module):
    """Convolution without a bias -> batch normalisation -> activation ('' or 'relu').

    Attributes: as in `layers.Conv` and `layers.BatchNorm`; `taps` is the kernel's length.
    """

    features: int
    taps: int
    strides: int
    activation: Activation
    form: Form
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, T, C] -> [B, T / strides, features], T / strides rounded up."""
        conv = Conv(self.features, (self.taps,), self.strides, form=self.form, kernel_init=self.kernel_init, use_bias=False)
        return BatchNorm(momentum=0.99, epsilon=1e-3, activation=self.activation)(conv(x), train)
