"""The ResNet-32 for CIFAR, the usual network of work on long-tailed data."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from imbal_jax.models.layers import BatchNorm, Conv, initializer
from imbal_jax.ops.batch_norm import Activation
from imbal_jax.ops.conv import Form


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
        sizes = [max(1, round(n * self.width)) for n in (16, 32, 64)]
        x = ConvNorm(sizes[0], 1, "relu", self.form, init, name="stem")(x, train)
        for stage, features in enumerate(sizes):
            for i in range(5):
                name = f"stage{stage}_block{i}"
                stride = 2 if stage and i == 0 else 1
                y = ConvNorm(features, stride, "relu", self.form, init, name=f"{name}_first")(x, train)
                y = ConvNorm(features, 1, "", self.form, init, name=f"{name}_second")(y, train)
                x = nn.relu(_shortcut(x, stride, features) + y)
        pooled = x.mean((1, 2), dtype=jnp.float32)
        return nn.Dense(self.classes, kernel_init=init, name="head")(pooled.astype(x.dtype)), pooled


class ConvNorm(nn.Module):
    """Convolution 3x3 without a bias -> batch normalisation -> activation ('' or 'relu').

    Attributes: as in `layers.Conv` and `layers.BatchNorm`.
    """

    features: int
    strides: int
    activation: Activation
    form: Form
    kernel_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] -> [B, H', W', features]."""
        conv = Conv(self.features, (3, 3), self.strides, form=self.form, kernel_init=self.kernel_init, use_bias=False)
        return BatchNorm(momentum=0.9, epsilon=1e-5, activation=self.activation)(conv(x), train)


def _shortcut(x: jax.Array, stride: int, features: int) -> jax.Array:
    more = features - x.shape[-1]
    return jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (more // 2, more - more // 2)))
