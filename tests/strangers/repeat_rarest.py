"""A resampler: the rows of the smallest class are repeated."""

import jax.numpy as jnp
import numpy as np

from imbal_jax.methods import Context, Method, Task, Train


def make(task: Task, times: int = 2) -> Method:
    """Take each row of the smallest class so many times."""
    rarest = int(np.argmin(task.counts))
    counts = tuple(n * times if label == rarest else n for label, n in enumerate(task.counts))

    def resample(keys, train: Train, context: Context) -> Train:
        start = sum(train.counts[:rarest])
        before, smallest, after = jnp.split(train.pool.rows, [start, start + train.counts[rarest]], axis=1)
        rows = jnp.concatenate([before, jnp.tile(smallest, (1, times)), after], axis=1)  # still class by class
        return train._replace(pool=train.pool._replace(rows=rows), counts=counts)

    return Method(resample=resample)
