"""The ResNet-32 for CIFAR, the usual network of work on long-tailed data."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from imbal_jax.models.layers import ConvNorm, initializer, scaled
from imbal_jax.ops.conv import Form

EXAMPLE_RANK = 3


class Model(nn.Module):
    """conv 16 3x3 -> 5 blocks each of 16, 32, 64 channels, stride 2 between them -> average pool -> dense K.

    He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2; where the shape changes,
    the shortcut is every second pixel with zero channels on both sides (option A), which has no parameters, as in Cao, Wei,
    Gaidon, Arechiga, Ma, "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss", NeurIPS 2019. For 3
    channels and 10 classes 464,154 parameters.

    Attributes:
        classes: K.
        width: multiplies the channel counts (1.0 is the published network).
        form: how convolutions are computed.
        init_kernel: initial kernels, see `layers.initializer`.
    """

    classes: int
    width: float = 1.0
    form: Form = "gemm"
    init_kernel: str = "he_normal"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """[B, H, W, C] float in [0, 1] -> logits [B, K] and the features [B, 64], the pooled last channels.

        Training needs a mutable collection 'batch_stats'.
        """
        init = initializer(self.init_kernel)
        sizes = [scaled(n, self.width) for n in (16, 32, 64)]
        conv = partial(ConvNorm, kernel_size=(3, 3), form=self.form, kernel_init=init, momentum=0.9, epsilon=1e-5)
        x = conv(sizes[0], strides=1, activation="relu", name="stem")(x, train)
        for stage, features in enumerate(sizes):
            for i in range(5):
                name = f"stage{stage}_block{i}"
                stride = 2 if stage and i == 0 else 1
                y = conv(features, strides=stride, activation="relu", name=f"{name}_first")(x, train)
                y = conv(features, strides=1, activation="", name=f"{name}_second")(y, train)
                x = nn.relu(_shortcut(x, stride, features) + y)
        pooled = x.mean((1, 2), dtype=jnp.float32)
        return nn.Dense(self.classes, kernel_init=init, name="head")(pooled.astype(x.dtype)), pooled


def _shortcut(x: jax.Array, stride: int, features: int) -> jax.Array:
    more = features - x.shape[-1]
    return jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (more // 2, more - more // 2)))
