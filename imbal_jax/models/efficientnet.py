"""EfficientNet: stages of inverted bottlenecks with depthwise convolutions and squeeze-excitation.

Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019; the numbers of the paper's
own code (batch statistics with momentum 0.99 and epsilon 1e-3, stochastic depth 0.2, dropout 0.2).
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from imbal_jax.models.layers import BatchNorm, Conv, DepthwiseConv, Dropout, StochasticDepth, initializer
from imbal_jax.ops.conv import Form

DEPTH_RATE, DROPOUT_RATE, SQUEEZE, EPSILON = 0.2, 0.2, 0.25, 1e-3


class Stage(NamedTuple):
    """Blocks of one resolution.

    Attributes:
        blocks: how many; the first has the stride.
        kernel: taps of the depthwise convolution, each way.
        stride: of the first block.
        expand: channels inside a block, as a multiple of those that enter it.
        features: channels that leave a block.
    """

    blocks: int
    kernel: int
    stride: int
    expand: int
    features: int


class EfficientNet(nn.Module):
    """Convolution 3x3 -> stages -> convolution 1x1 -> global average pool -> dropout 0.2 -> dense K.

    Attributes:
        classes: K.
        stages: the blocks.
        stem: channels of the first convolution.
        stem_stride: its stride.
        top: channels of the last convolution.
        width: multiplies the channel counts, which stay multiples of 8.
        form: how convolutions are computed.
        init_kernel: initial kernels, see `layers.initializer`; with 'he_fan_out' the depthwise kernels and the last layer
            are as published too (each channel's kernel by its own taps; uniform, variance 1 / (3 K)).
        momentum: what the running averages of batch normalisation keep of themselves at each step.
    """

    classes: int
    stages: Sequence[Stage]
    stem: int = 32
    stem_stride: int = 2
    top: int = 1280
    width: float = 1.0
    form: Form = "gemm"
    init_kernel: str = "he_fan_out"
    momentum: float = 0.99

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """[B, H, W, C] float in [0, 1] -> logits [B, K] and features [B, D], the pooled last channels.

        Training needs a 'dropout' key and a mutable collection 'batch_stats'.
        """
        init, published = initializer(self.init_kernel), self.init_kernel == "he_fan_out"
        conv = partial(Conv, form=self.form, kernel_init=init, use_bias=False)
        norm = partial(BatchNorm, momentum=self.momentum, epsilon=EPSILON)
        x = conv(scaled(self.stem, self.width), (3, 3), strides=self.stem_stride, name="stem")(x)
        x = norm(activation="swish", name="stem_norm")(x, train)
        total, count = sum(stage.blocks for stage in self.stages), 0
        for stage in self.stages:
            for i in range(stage.blocks):
                block = stage._replace(stride=stage.stride if i == 0 else 1, features=scaled(stage.features, self.width))
                rate = DEPTH_RATE * count / total
                x = Block(block, rate, self.form, self.init_kernel, self.momentum, name=f"block{count}")(x, train)
                count += 1
        x = conv(scaled(self.top, self.width), (1, 1), name="top")(x)
        features = norm(activation="swish", name="top_norm")(x, train).mean((1, 2), dtype=jnp.float32)
        last = nn.initializers.variance_scaling(1 / 3, "fan_out", "uniform") if published else init
        dropped = Dropout(DROPOUT_RATE)(features.astype(x.dtype), train)
        return nn.Dense(self.classes, kernel_init=last, name="head")(dropped), features


class Block(nn.Module):
    """Expansion 1x1 -> depthwise -> squeeze-excitation -> projection 1x1, added to the input where the shapes agree.

    Attributes:
        plan: the block's stage, with the stride of this block.
        drop: with this probability an example skips the block in training.
        form: how convolutions are computed.
        init_kernel: initial kernels.
        momentum: of the running averages.
    """

    plan: Stage
    drop: float
    form: Form
    init_kernel: str
    momentum: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        """[B, H, W, C] -> [B, H', W', features]."""
        plan, entering, init = self.plan, x.shape[-1], initializer(self.init_kernel)
        conv = partial(Conv, form=self.form, kernel_init=init, use_bias=False)
        norm = partial(BatchNorm, momentum=self.momentum, epsilon=EPSILON)
        own = initializer("he_normal") if self.init_kernel == "he_fan_out" else init  # one output a channel: fans are equal
        y = x
        if plan.expand != 1:
            y = conv(entering * plan.expand, (1, 1), name="expand")(y)
            y = norm(activation="swish", name="expand_norm")(y, train)
        taps = (plan.kernel, plan.kernel)
        y = DepthwiseConv(taps, strides=plan.stride, form=self.form, kernel_init=own, name="depthwise")(y)
        y = norm(activation="swish", name="depthwise_norm")(y, train)
        seen = y.mean((1, 2), dtype=jnp.float32).astype(y.dtype)
        seen = nn.swish(nn.Dense(max(1, int(entering * SQUEEZE)), kernel_init=init, name="squeeze")(seen))
        gate = nn.sigmoid(nn.Dense(y.shape[-1], kernel_init=init, name="excite")(seen))
        y = conv(plan.features, (1, 1), name="project")(y * gate[:, None, None, :])
        y = norm(name="project_norm")(y, train)
        if plan.stride != 1 or entering != plan.features:
            return y
        return x + StochasticDepth(self.drop)(y, train)


def scaled(features: int, width: float) -> int:
    """features * width as the nearest multiple of 8, at least 8, and not below 0.9 of it; the paper's rule."""
    wanted = features * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded
