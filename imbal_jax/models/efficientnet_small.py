"""A small EfficientNet for a processor and images of about 48x48 pixels: 205,831 parameters (grey, 7 classes)."""

from imbal_jax.models.efficientnet import EfficientNet, Stage
from imbal_jax.ops.conv import Form

EXAMPLE_RANK = 3
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 3, 24),
    Stage(2, 5, 2, 4, 40),
    Stage(2, 3, 2, 4, 96),
)


def Model(classes: int, width: float = 1.0, form: Form = "gemm", init_kernel: str = "he_fan_out") -> EfficientNet:
    """A network of a third of B0's blocks and half its channels; arguments as for `EfficientNet`.

    Its running averages follow in tens of steps, not in hundreds as the published ones: small data sets have no more.
    """
    return EfficientNet(classes, STAGES, 16, top=384, width=width, form=form, init_kernel=init_kernel, momentum=0.9)
