"""A small residual 1-D CNN for heartbeats, with or without RR features."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from imbal_jax.errors import UserError
from imbal_jax.models.layers import ConvNorm, Dropout, initializer, scaled
from imbal_jax.ops.conv import Form

EXAMPLE_RANK = 2
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
        rr: the number of last samples that are RR features; they are split off and joined to the pooled features.
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
            raise UserError(f"it is for signals [T, C] of more than {self.rr} samples (got rows of shape {x.shape[1:]})")
        init = initializer(self.init_kernel)
        beat, rr = x[:, : x.shape[1] - self.rr], x[:, x.shape[1] - self.rr :].reshape(x.shape[0], -1)
        conv = partial(ConvNorm, form=self.form, kernel_init=init, momentum=0.99, epsilon=1e-3)
        x = conv(scaled(32, self.width), (9,), 2, "relu", name="stem")(beat, train)
        for i, (features, taps) in enumerate(BLOCKS):
            layer = (scaled(features, self.width), (taps,))
            y = conv(*layer, 2, "relu", name=f"block{i}_first")(x, train)
            y = conv(*layer, 1, "", name=f"block{i}_second")(y, train)
            x = nn.relu(conv(layer[0], (1,), 2, "", name=f"block{i}_shortcut")(x, train) + y)
        pooled = x.mean(1, dtype=jnp.float32).astype(x.dtype)
        features = nn.relu(nn.Dense(scaled(64, self.width), kernel_init=init)(jnp.concatenate([pooled, rr], axis=1)))
        dropped = Dropout(DROPOUT_RATE)(features, train)
        return nn.Dense(self.classes, kernel_init=init, name="head")(dropped), features.astype(jnp.float32)
