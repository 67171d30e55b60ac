"""A network: one convolution, an average over the image, a dense layer."""

import flax.linen as nn

from imbal_jax.models.layers import Conv, initializer, scaled

EXAMPLE_RANK = 3  # images [H, W, C]


class Model(nn.Module):
    classes: int
    width: float = 1.0
    form: str = "gemm"
    init_kernel: str = "he_normal"

    @nn.compact
    def __call__(self, x, *, train: bool = False):
        init = initializer(self.init_kernel)
        x = nn.relu(Conv(scaled(16, self.width), (3, 3), form=self.form, kernel_init=init)(x))
        features = x.mean((1, 2)).astype("float32")
        return nn.Dense(self.classes, kernel_init=init, name="head")(features), features
