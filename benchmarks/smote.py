"""SMOTE on whole data sets, arrays in and arrays out, ours against imbalanced-learn; with lanes, many seeds at once."""

import numpy as np

from benchmarks import harness

COUNTS = {  # rows of each class, and values in a row
    "mnist": ((5923, 6742, 5958, 6131, 5842, 5421, 100, 6265, 100, 100), 784),  # digits 6, 8, 9 cut to 100 images
    "beats": ((45844, 943, 3788, 415), 360),  # the heartbeat classes N, S, V, F of MIT-BIH's training records
    "vectors": ((140000, 40000, 15000, 5000), 64),
}


def build(job: harness.Job) -> harness.Steps:
    """A step balances the set once, with another seed each time."""
    counts, width = COUNTS[job.name.split("-")[1]]
    y = np.repeat(np.arange(len(counts)), counts)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((len(y), width), np.float32) + rng.standard_normal((len(counts), width), np.float32)[y]
    if job.lanes > 1:
        return _lanes(job.lanes, x, counts)
    if job.side == "imblearn":
        from imblearn.over_sampling import SMOTE
    else:
        from imbal_jax.adapters.imblearn import SMOTE

    def run(n: int) -> None:
        for seed in range(n):
            balanced, _ = SMOTE(random_state=seed).fit_resample(x, y)
            assert balanced.shape == (len(counts) * max(counts), width)

    return harness.Steps(run, "CPU")


def _lanes(lanes: int, x: np.ndarray, counts: tuple[int, ...]) -> harness.Steps:
    """The method's hook on all lanes at once, as an experiment calls it: rows in bytes, new ones stay on the device."""
    import jax
    import jax.numpy as jnp

    from imbal_jax import methods
    from imbal_jax.batches import Shared
    from imbal_jax.lanes import devices_for, lane_keys, over_lanes
    from imbal_jax.stages.setting import unbalanced

    shape = x.shape[1:]
    shared = Shared(
        jnp.asarray((40 * x + 128).clip(0, 255).astype(np.uint8)), jnp.asarray(np.repeat(np.arange(len(counts)), counts))
    )
    task = methods.Task(counts, 1.0, tuple(str(k) for k in range(len(counts))), shape, ())
    train = unbalanced(np.tile(np.arange(len(x), dtype=np.int32), (lanes, 1)), counts, shape)
    devices = devices_for(1)
    context = methods.Context(shared, {}, lambda function: over_lanes(function, devices=devices))

    def run(n: int) -> None:
        for seed in range(n):
            made = methods.resample("smote", task, lane_keys(seed, range(lanes)), train, context)
            jax.block_until_ready(made.pool)

    return harness.Steps(run, devices[0].device_kind)


if __name__ == "__main__":
    harness.work(build)
