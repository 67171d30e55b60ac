"""A conditional GAN for signals such as heartbeats of 300 samples: one generator and one discriminator for all classes.

The generator receives the class by conditional batch normalisation; the discriminator by projection, and its layers are
spectrally normalised instead of batch-normalised, so that it suits the hinge loss and the gradient penalty.
"""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from imbal_jax.errors import UserError
from imbal_jax.models.layers import BatchNorm, Conv, initializer, leaky_relu, scaled
from imbal_jax.ops.conv import Form

LENGTH, UPSAMPLINGS = 300, 2
TAPS = 17  # of the generator's kernels; 47 ms at 360 Hz


def doubled(x: jax.Array) -> jax.Array:
    """[B, T, C] -> [B, 2 T, C]: linear interpolation a quarter of a sample before and after each; the ends go on."""
    before, after = (jnp.concatenate(ends, axis=1) for ends in ((x[:, :1], x[:, :-1]), (x[:, 1:], x[:, -1:])))
    both = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis=2)
    return both.reshape(x.shape[0], -1, x.shape[2])


class ConditionalNorm(nn.Module):
    """Batch normalisation with a scale and a shift for each class, then relu.

    De Vries, Strub, Mary, Larochelle, Pietquin, Courville, "Modulating early visual processing by language", NeurIPS 2017.
    Both begin the same for all classes.
    """

    @nn.compact
    def __call__(self, x: jax.Array, label: jax.Array, train: bool) -> jax.Array:
        """[B, T, C] and one-hot [B, K] -> [B, T, C]."""
        of_class = partial(nn.Dense, x.shape[-1], use_bias=False, kernel_init=nn.initializers.zeros_init())
        scale, shift = of_class(name="scale")(label), of_class(name="shift")(label)
        return nn.relu(BatchNorm(epsilon=1e-5, name="norm")(x, train) * (1 + scale)[:, None] + shift[:, None])


class Generator(nn.Module):
    """Latent and one-hot label -> dense to 75 samples -> two doublings, each with a convolution -> convolution, tanh.

    For signals of another length than 300 the first has a quarter of it, rounded up, and the excess is cut off.

    A doubling interpolates linearly: transposed convolutions of stride 2 leave an alternating pattern (Odena, Dumoulin,
    Olah, "Deconvolution and Checkerboard Artifacts", 2016), and beats made with repeated samples were twice as rough after
    450 steps (mean second difference).

    Attributes:
        latent: length of the latent vector.
        classes: K.
        width: multiplies the 128, 64 and 32 channels.
        form: how convolutions are computed.
        init_kernel: initial kernels, see `layers.initializer`.
        shape: of a signal, [T, C].
    """

    latent: int = 128
    classes: int = 5
    width: float = 1.0
    form: Form = "gemm"
    init_kernel: str = "lecun_normal"
    shape: tuple[int, ...] = (LENGTH, 1)

    @nn.compact
    def __call__(self, z: jax.Array, label: jax.Array, *, train: bool = False) -> jax.Array:
        """[B, latent], one-hot [B, K] -> signals [B, T, C] in (-1, 1); training needs a mutable 'batch_stats'."""
        init = initializer(self.init_kernel)
        first, *sizes = (scaled(n, self.width) for n in (128, 32, 16))
        length, channels = self.shape
        samples = -(-length // 2**UPSAMPLINGS)
        x = nn.Dense(samples * first, kernel_init=init)(jnp.concatenate([z, label], axis=-1))
        x = ConditionalNorm()(x.reshape(-1, samples, first), label, train)
        for features in sizes:
            x = Conv(features, (TAPS,), form=self.form, kernel_init=init)(doubled(x))
            x = ConditionalNorm()(x, label, train)
        return nn.tanh(Conv(channels, (TAPS,), form=self.form, kernel_init=init)(x[:, :length]))


class Discriminator(nn.Module):
    """Four convolutions of stride 2 -> dense 128 = h -> logit: dense(h) + <embedding of the label, h>.

    Spectral normalisation: Miyato, Kataoka, Koyama, Yoshida, "Spectral Normalization for Generative Adversarial Networks",
    ICLR 2018. Projection: Miyato, Koyama, "cGANs with Projection Discriminator", ICLR 2018. No batch normalisation, no
    dropout: an example's logit does not depend on the others.

    Attributes: as in `Generator`, but for `shape`; `width` multiplies 32, 64, 64, 64 and 128.
    """

    classes: int = 5
    width: float = 1.0
    form: Form = "gemm"
    init_kernel: str = "lecun_normal"

    @nn.compact
    def __call__(self, x: jax.Array, label: jax.Array, *, train: bool = False) -> jax.Array:
        """[B, T, C], one-hot [B, K] -> logits [B]: above zero is 'real'.

        Training needs a mutable collection 'batch_stats': the singular vectors that the next step starts from.

        Raises:
            UserError: rows that are not signals.
        """
        if x.ndim != 3:
            raise UserError(f"ecg_gan is for signals [T, C] (got rows of shape {x.shape[1:]})")
        init = initializer(self.init_kernel)

        def dense(features: int, x: jax.Array, bias: bool = True) -> jax.Array:
            return nn.SpectralNorm(nn.Dense(features, use_bias=bias, kernel_init=init))(x, update_stats=train)

        for features, taps in ((32, 9), (64, 5), (64, 5), (64, 5)):
            conv = Conv(scaled(features, self.width), (taps,), strides=2, form=self.form, kernel_init=init)
            x = leaky_relu(nn.SpectralNorm(conv)(x, update_stats=train))
        h = leaky_relu(dense(scaled(128, self.width), x.reshape(x.shape[0], -1)))
        return dense(1, h)[:, 0] + (dense(h.shape[1], label, bias=False) * h).sum(1)
