"""Quality of generated samples, from features of a named space and from pixels. Pure jnp: may be jitted and vmapped.

Distances are Euclidean and in the units of the given arrays; whole numbers are read as `storage_types.floats` does.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp

from imbal_jax.data.storage_types import flat

T = TypeVar("T")

BLOCK = 512  # rows of a distance matrix that are in memory at once
LOWER_IS_BETTER = frozenset({"frechet", "copies"})


def quality(
    real_features: jax.Array, fake_features: jax.Array, fake_pixels: jax.Array, train_pixels: jax.Array, k: int = 5
) -> dict[str, jax.Array]:
    """All metrics for one class of one generator.

    Args:
        real_features: float32 [n, d], features of real rows (preferably rows that the generator was not trained on).
        fake_features: float32 [m, d], features of generated rows, same space.
        fake_pixels: uint8 or float32 [m, ...], the generated rows themselves.
        train_pixels: same dtype [t, ...], the real rows that the generator was trained on.
        k: neighbours that define a ball of the manifold estimate; fewer if there are fewer rows.

    Returns:
        float32 scalars: `frechet` (lower is better), `precision`, `recall`, `coverage` (0 to 1), `density` (0 upwards,
        about 1 for a perfect generator), `nearest_train_mean` and `nearest_train_min` (distance of a generated row to
        its nearest training row, in pixels' units), and `copies` (share of generated rows at most as far from a
        training row as the closest 1 % of training rows are from their nearest other training row).
    """
    fake, train = flat(fake_pixels), flat(train_pixels)
    nearest = nearest_distance(fake, train)
    threshold = jnp.percentile(jnp.sqrt(_radius(train, 1)), 1.0)
    return {
        "frechet": frechet(real_features, fake_features),
        **precision_recall_density_coverage(real_features, fake_features, k),
        "nearest_train_mean": nearest.mean(),
        "nearest_train_min": nearest.min(),
        "copies": jnp.mean((nearest <= threshold).astype(jnp.float32)),
    }


def frechet(real: jax.Array, fake: jax.Array) -> jax.Array:
    """Frechet distance between the normal distributions fitted to two sets (Dowson, Landau 1982; Heusel et al. 2017).

    |mean1 - mean2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)). With S = R'R (R from a QR factorisation of the centred rows),
    the last trace is the sum of the singular values of R1 R2': no covariance is formed and no square root of a matrix
    taken, so float32 suffices, with fewer rows than features too. Like all such estimates it is biased upwards for few rows.

    Args:
        real: float [n, d].
        fake: float [m, d].

    Returns:
        float32 scalar >= 0, a squared distance.
    """
    mean_real, mean_fake = real.mean(axis=0, keepdims=True), fake.mean(axis=0, keepdims=True)
    root_real, root_fake = _root(real - mean_real), _root(fake - mean_fake)
    cross = jnp.linalg.svd(_dot(root_real, root_fake.T), compute_uv=False).sum()
    total = jnp.sum((mean_real - mean_fake) ** 2) + jnp.sum(root_real**2) + jnp.sum(root_fake**2)
    return jnp.maximum(total - 2.0 * cross, 0.0)


def precision_recall_density_coverage(real: jax.Array, fake: jax.Array, k: int = 5) -> dict[str, jax.Array]:
    """Improved precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020).

    The ball of a row reaches its k-th nearest other row of the same set, boundary included.

    Args:
        real: float32 [n, d].
        fake: float32 [m, d].
        k: neighbours; at most n - 1 (for the real balls) and m - 1 (for the fake balls) are used.

    Returns:
        float32 scalars `precision` (fakes inside some real ball), `recall` (reals inside some fake ball), `density`
        (real balls that a fake lies in, over k), `coverage` (real balls that contain a fake).
    """
    real_ball, fake_ball = _radius(real, k), _radius(fake, k)
    real_k = max(min(k, real.shape[0] - 1), 1)

    def of_fake(squared: jax.Array) -> tuple[jax.Array, jax.Array]:
        inside = squared <= real_ball
        return inside.any(), inside.sum().astype(jnp.float32) / real_k

    def of_real(squared: jax.Array, ball: jax.Array) -> tuple[jax.Array, jax.Array]:
        return (squared <= fake_ball).any(), (squared <= ball).any()

    precise, density = _by_distances(of_fake, fake, real)
    recalled, covered = _by_distances(of_real, real, fake, real_ball)
    shares = {"precision": precise, "recall": recalled, "density": density, "coverage": covered}
    return {name: value.astype(jnp.float32).mean() for name, value in shares.items()}


def nearest_distance(fake: jax.Array, train: jax.Array) -> jax.Array:
    """Distance of every generated row to its nearest training row.

    Args:
        fake: float32 [m, p].
        train: float32 [n, p].

    Returns:
        float32 [m], in the units of the input; 0 only for exact copies.
    """
    return jnp.sqrt(_by_distances(jnp.min, jnp.asarray(fake), jnp.asarray(train)))


def _radius(rows: jax.Array, k: int) -> jax.Array:
    """Squared distance [n] of each row to its k-th nearest other row; 0 for a single row."""
    k, indices = min(k, rows.shape[0] - 1), jnp.arange(rows.shape[0], dtype=jnp.int32)
    if not k:
        return jnp.zeros(1)

    def kth(squared: jax.Array, index: jax.Array) -> jax.Array:
        squared = jnp.where(indices == index, jnp.inf, squared)
        for _ in range(k - 1):  # for a small k far faster than top_k on a CPU
            squared = jnp.where(indices == jnp.argmin(squared).astype(jnp.int32), jnp.inf, squared)
        return squared.min()

    return _by_distances(kth, rows, rows, indices)


def _by_distances(function: Callable[..., T], rows: jax.Array, others: jax.Array, *more: jax.Array) -> T:
    """function(squared distances [n] of a row to `others` [n, d], the row's part of `more`) for each row, in blocks.

    By differences, since the expanded square would cancel digits for near copies; in a loop, so that each distance is
    computed once.
    """
    count = rows.shape[0]
    size = min(BLOCK, count)

    def of_block(block: tuple[jax.Array, ...]) -> T:
        squared = jax.lax.map(lambda row: jnp.sum((others - row[None]) ** 2, axis=1), block[0])
        return jax.vmap(function)(squared, *block[1:])

    def blocks(leaf: jax.Array) -> jax.Array:
        filled = jnp.concatenate([leaf, jnp.repeat(leaf[-1:], -count % size, axis=0)])
        return filled.reshape(-1, size, *leaf.shape[1:])

    values = jax.lax.map(of_block, tuple(map(blocks, (rows, *more))))
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], values)


def _root(centred: jax.Array) -> jax.Array:
    """R [min(n, d), d] with R'R the covariance of the centred rows [n, d]."""
    return jnp.linalg.qr(centred, mode="r") / jnp.sqrt(jnp.float32(max(centred.shape[0] - 1, 1)))


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.dot(a, b, precision=jax.lax.Precision.HIGHEST)  # the default may round to TF32 or bfloat16
