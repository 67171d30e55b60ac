"""The residual 1-D CNN for heartbeats whose last 4 samples are RR features."""

from imbal_jax.models import ecg_cnn

EXAMPLE_RANK = 2


class Model(ecg_cnn.Model):
    """`ecg_cnn.Model` on rows [T + 4, C], the beat and then 4 numbers on the times between beats."""

    rr: int = 4
