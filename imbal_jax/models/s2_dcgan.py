"""The DCGAN of the retinopathy source: one pair of networks for each grade, so the label is ignored.

After Radford et al. 2016, "Unsupervised representation learning with deep convolutional generative adversarial networks". What
that paper and its readers hold for necessary is a switch each, so that it can be measured.
"""

from collections.abc import Callable

import flax.linen as nn
import jax

from imbal_jax.errors import UserError
from imbal_jax.models.layers import BatchNorm, Conv, ConvTranspose, Dropout, initializer, leaky_relu, scaled
from imbal_jax.ops.conv import Form
from imbal_jax.ops.pool import max_pool_2x2

HALVINGS = 3  # between an image and the small map that the generator begins with
HIDDEN = 256  # units of the dense hidden layer that `hidden` adds
MOMENTUM, EPSILON = 0.9, 1e-5  # of batch normalisation
D_DROPOUT = 0.2  # before the discriminator's last layer


class Generator(nn.Module):
    """Latent -> dense 16 * 16 * 256 -> three transposed convolutions 4x4 of 128 filters -> convolution 3x3, tanh.

    7,671,555 parameters for 128 pixels a side and as the fields are, which is the source's network.

    Attributes:
        latent: length of the latent vector.
        classes: K; has no effect.
        width: multiplies the 256 and 128 channels (1.0 is the source's network).
        form: how convolutions are computed.
        init_kernel: initial kernels, see `layers.initializer`.
        size: pixels a side, a multiple of 8.
        colours: channels of an image.
        strided: transposed convolutions of stride 2; else each pixel four times (nearest), then a convolution.
        hidden: a dense hidden layer before the first.
        batch_norm: batch normalisation after every layer but the last.
        leaky: LeakyReLU 0.2; else relu.
        centred: the last activation is tanh, moved to [0, 1]; else a sigmoid.
        dropout: share of the numbers between the layers that is dropped in training.
    """

    latent: int = 100
    classes: int = 5
    width: float = 1.0
    form: Form = "gemm"
    init_kernel: str = "glorot_uniform"
    size: int = 128
    colours: int = 3
    strided: bool = True
    hidden: bool = False
    batch_norm: bool = False
    leaky: bool = True
    centred: bool = True
    dropout: float = 0.5

    @nn.compact
    def __call__(self, z: jax.Array, label: jax.Array, *, train: bool = False) -> jax.Array:
        """[B, latent], one-hot [B, K] -> images [B, size, size, colours] in [0, 1].

        Training needs a 'dropout' key, and a mutable collection 'batch_stats' with `batch_norm`.

        Raises:
            UserError: a size that is not a multiple of 8.
        """
        if self.size < 2**HALVINGS or self.size % 2**HALVINGS:
            raise UserError(f"config.data.size must be a multiple of 8 for s2_dcgan (got {self.size})")
        side, first, later = self.size // 2**HALVINGS, scaled(256, self.width), scaled(128, self.width)
        init, active = initializer(self.init_kernel), _activation(self.leaky)
        if self.hidden:
            z = active(nn.Dense(HIDDEN, kernel_init=init)(z))
        x = nn.Dense(side * side * first, kernel_init=init)(z).reshape(-1, side, side, first)
        for _ in range(HALVINGS):
            x = self._between(x, active, train)
            if self.strided:
                x = ConvTranspose(later, (4, 4), strides=2, form=self.form, kernel_init=init)(x)
            else:
                x = Conv(later, (4, 4), form=self.form, kernel_init=init)(x.repeat(2, axis=1).repeat(2, axis=2))
        x = self._between(x, active, train)
        x = Conv(self.colours, (3, 3), form=self.form, kernel_init=init)(x)
        return (nn.tanh(x) + 1) / 2 if self.centred else nn.sigmoid(x)

    def _between(self, x: jax.Array, active: Callable[[jax.Array], jax.Array], train: bool) -> jax.Array:
        x = BatchNorm(MOMENTUM, EPSILON)(x, train) if self.batch_norm else x
        return Dropout(self.dropout)(active(x), train) if self.dropout else active(x)


class Discriminator(nn.Module):
    """Convolutions 3x3 of 16, 8, 16, 8 filters, all but the first of stride 2 -> flatten -> dropout -> one logit.

    5,985 parameters for 128 pixels a side and three colours, as the fields are.

    Attributes: as in `Generator`; `width` multiplies the filters, `centred` moves the images to [-1, 1].
        strided: stride 2; else stride 1 and 2x2 max pooling.
        batch_norm: batch normalisation after every convolution but the first.
        spectral: every layer's weights divided by their largest singular value (Miyato, Kataoka, Koyama, Yoshida, "Spectral
            Normalization for Generative Adversarial Networks", ICLR 2018), found by a step of power iteration in training.
    """

    classes: int = 5
    width: float = 1.0
    form: Form = "gemm"
    init_kernel: str = "glorot_uniform"
    strided: bool = True
    hidden: bool = False
    batch_norm: bool = False
    leaky: bool = True
    centred: bool = True
    spectral: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, label: jax.Array, *, train: bool = False) -> jax.Array:
        """[B, H, W, C] in [0, 1], one-hot [B, K] -> logits [B]: above zero is 'real'.

        Training needs a 'dropout' key, and a mutable collection 'batch_stats' with `batch_norm` or `spectral`.

        Raises:
            UserError: rows that are not images.
        """
        if x.ndim != 4:
            raise UserError(f"s2_dcgan is for images [H, W, C] (got rows of shape {x.shape[1:]})")
        init, active = initializer(self.init_kernel), _activation(self.leaky)
        x = 2 * x - 1 if self.centred else x
        for layer, features in enumerate((16, 8, 16, 8)):
            stride = 2 if layer and self.strided else 1
            conv = Conv(scaled(features, self.width), (3, 3), strides=stride, form=self.form, kernel_init=init)
            x = self._apply(conv, x, train)
            x = BatchNorm(MOMENTUM, EPSILON)(x, train) if self.batch_norm and layer else x
            x = active(x)
            x = max_pool_2x2(x) if layer and not self.strided else x
        x = Dropout(D_DROPOUT)(x.reshape(x.shape[0], -1), train)
        if self.hidden:
            x = active(self._apply(nn.Dense(HIDDEN, kernel_init=init), x, train))
        return self._apply(nn.Dense(1, kernel_init=init), x, train)[:, 0]

    def _apply(self, layer: nn.Module, x: jax.Array, train: bool) -> jax.Array:
        return nn.SpectralNorm(layer)(x, update_stats=train) if self.spectral else layer(x)


def _activation(leaky: bool) -> Callable[[jax.Array], jax.Array]:
    return leaky_relu if leaky else nn.relu
