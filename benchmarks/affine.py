"""Random rotation, shear and zoom of a batch of images, ours against a loop over SciPy's and over Keras's functions."""

from collections.abc import Callable

import numpy as np

from benchmarks import harness

SHAPES = {"28": (256, 28, 28, 1), "64": (64, 64, 64, 3)}
ROTATION, SHEAR, ZOOM = 15.0, 10.0, (0.9, 1.1)


def build(job: harness.Job) -> harness.Steps:
    """A step is one batch; each side's library is imported only in the process that times it."""
    x = np.random.default_rng(0).random(SHAPES[job.name.split("-")[1]], np.float32)
    if job.side == "scipy":
        return harness.Steps(_repeat(lambda: [_scipy(image, i) for i, image in enumerate(x)]), "CPU")
    if job.side == "keras":
        from benchmarks.peers import keras_affine

        return harness.Steps(_repeat(lambda: keras_affine.transform(x, ROTATION, SHEAR, ZOOM)), "CPU")
    return _ours(x)


def _ours(x: np.ndarray) -> harness.Steps:
    import jax
    import jax.numpy as jnp

    from imbal_jax.methods.inputs.affine import Ranges, random_affine

    ranges = Ranges(ROTATION, SHEAR, ZOOM, 0.0)

    @jax.jit
    def many(x, n):  # in a loop, as within a training
        return jax.lax.fori_loop(0, n, lambda i, _: random_affine(jax.random.key(i), x, ranges), x)

    images = jnp.asarray(x)
    return harness.Steps(lambda n: many(images, n).block_until_ready(), jax.devices()[0].device_kind)


def _repeat(batch: Callable[[], object]) -> Callable[[int], None]:
    def run(n: int) -> None:
        for _ in range(n):
            batch()

    return run


def _scipy(image: np.ndarray, seed: int) -> np.ndarray:
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    angle, shear = np.deg2rad(rng.uniform(-ROTATION, ROTATION)), np.deg2rad(rng.uniform(-SHEAR, SHEAR))
    rotate = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = rotate @ np.array([[1, -np.sin(shear)], [0, np.cos(shear)]]) @ np.diag(rng.uniform(*ZOOM, 2))
    centre = (np.array(image.shape[:2]) - 1) / 2
    channels = [
        ndimage.affine_transform(image[..., c], matrix, centre - matrix @ centre, order=1) for c in range(image.shape[2])
    ]
    return np.stack(channels, axis=-1)


if __name__ == "__main__":
    harness.work(build)
