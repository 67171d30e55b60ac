"""SMOTE on whole data sets, arrays in and arrays out, ours against imbalanced-learn; with lanes, many seeds at once."""

from typing import NamedTuple

import numpy as np

from benchmarks import harness


class Case(NamedTuple):
    """Rows of each class, values in a row, and the rows wanted of some classes (None: all as many as the largest)."""

    counts: tuple[int, ...]
    width: int
    to: dict[int, int] | None = None


CASES = {
    # digits 6, 8, 9 cut to 100 images, filled up to 5,000
    "mnist": Case((5923, 6742, 5958, 6131, 5842, 5421, 100, 6265, 100, 100), 784, dict.fromkeys((6, 8, 9), 5000)),
    "beats": Case((45844, 943, 3788, 415), 360),  # the heartbeat classes N, S, V, F of MIT-BIH's training records
    "vectors": Case((140000, 40000, 15000, 5000), 64),
}


def build(job: harness.Job) -> harness.Steps:
    """A step balances the set once, with another seed each time."""
    counts, width, to = CASES[job.name.split("-")[1]]
    y = np.repeat(np.arange(len(counts)), counts)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((len(y), width), np.float32) + rng.standard_normal((len(counts), width), np.float32)[y]
    if job.lanes > 1:
        return _lanes(job.lanes, x, counts, to)
    if job.side == "imblearn":
        from imblearn.over_sampling import SMOTE

        device = "CPU"
    else:
        import jax

        from imbal_jax.adapters.imblearn import SMOTE

        device = jax.devices()[0].device_kind

    def run(n: int) -> None:
        for seed in range(n):
            balanced, _ = SMOTE(random_state=seed, sampling_strategy=to or "auto").fit_resample(x, y)
            assert len(balanced) > len(x)

    return harness.Steps(run, device)


def _lanes(lanes: int, x: np.ndarray, counts: tuple[int, ...], to: dict[int, int] | None) -> harness.Steps:
    """New rows of all lanes at once, as an experiment makes them: from the shared rows in bytes, left on the device."""
    import jax
    import jax.numpy as jnp

    from imbal_jax.methods.rows.smote import smote
    from imbal_jax.runtime.lanes import devices_for, lane_keys, over_lanes

    wanted = tuple((to or {}).get(k, n if to else max(counts)) for k, n in enumerate(counts))
    growing = np.repeat([want > have for have, want in zip(counts, wanted, strict=True)], counts)
    few = tuple(n if want > n else 0 for n, want in zip(counts, wanted, strict=True))
    rows = jnp.asarray((40 * x[growing] + 128).clip(0, 255).astype(np.uint8))
    devices = devices_for(1)
    compiled = over_lanes(lambda lane, shared: smote(lane[1], shared, few, wanted).x, devices=devices)

    def run(n: int) -> None:
        for seed in range(n):
            jax.block_until_ready(compiled((), lane_keys(seed, range(lanes)), rows))

    return harness.Steps(run, devices[0].device_kind)


if __name__ == "__main__":
    harness.work(build)
