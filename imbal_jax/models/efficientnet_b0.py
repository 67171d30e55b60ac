"""EfficientNet-B0 as published.

For 48x48x3 and 7 classes 4,016,515 parameters and 42,016 running statistics; Keras's EfficientNetB0 counts the same
parameters and 42,023 others, because it also holds the mean, variance and count of a normalisation of the input.
"""

from imbal_jax.models.efficientnet import EfficientNet, Stage
from imbal_jax.ops.conv import Form

EXAMPLE_RANK = 3
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def Model(classes: int, width: float = 1.0, form: Form = "gemm", init_kernel: str = "he_fan_out") -> EfficientNet:
    """The published network at width 1.0; arguments as for `EfficientNet`."""
    return EfficientNet(classes, STAGES, width=width, form=form, init_kernel=init_kernel)
