"""Generator quality against scipy's matrix square root, against loops over rows, and in its limit cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from imbal_jax.evaluate import generators

quality = jax.jit(generators.quality, static_argnames="k")


def sets(n: int, m: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(d, d))
    return rng.normal(size=(n, d)).astype(np.float32), (rng.normal(size=(m, d)) @ mix + 0.7).astype(np.float32)


@pytest.mark.parametrize(("n", "m", "d"), [(200, 300, 6), (12, 40, 20), (5, 7, 16)])
def test_frechet_is_the_matrix_square_roots(n, m, d):
    real, fake = sets(n, m, d)
    s1, s2 = np.cov(real, rowvar=False), np.cov(fake, rowvar=False)
    jitter = 1e-9 * np.eye(d)  # sqrtm needs full rank; the trace hardly moves
    root = linalg.sqrtm((s1 + jitter) @ (s2 + jitter)).real
    expected = ((real.mean(0) - fake.mean(0)) ** 2).sum() + np.trace(s1 + s2 - 2 * root)
    np.testing.assert_allclose(generators.frechet(jnp.asarray(real), jnp.asarray(fake)), expected, rtol=1e-3)


def test_neighbour_metrics_are_those_of_plain_loops():
    real, fake = sets(60, 80, 3)
    distance = np.linalg.norm(real[:, None] - fake[None], axis=-1)
    real_ball = np.sort(np.linalg.norm(real[:, None] - real[None], axis=-1), axis=1)[:, 4]
    fake_ball = np.sort(np.linalg.norm(fake[:, None] - fake[None], axis=-1), axis=1)[:, 4]
    expected = {
        "precision": (distance <= real_ball[:, None]).any(axis=0).mean(),
        "recall": (distance <= fake_ball[None]).any(axis=1).mean(),
        "density": (distance <= real_ball[:, None]).sum() / (4 * 80),
        "coverage": (distance.min(axis=1) <= real_ball).mean(),
    }
    ours = generators.precision_recall_density_coverage(jnp.asarray(real), jnp.asarray(fake), k=4)
    assert 0 < expected["precision"] < 1
    for name, value in expected.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-5, err_msg=name)


def test_nearest_distance_in_blocks(monkeypatch):
    monkeypatch.setattr(generators, "BLOCK", 16)  # 37 rows: two blocks and a remainder
    real, fake = sets(50, 37, 8)
    expected = np.linalg.norm(fake[:, None] - real[None], axis=-1).min(axis=1)
    ours = generators.nearest_distance(jnp.asarray(fake), jnp.asarray(real))
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


def test_near_copies_are_told_apart():
    """Rows of length 100 at distances near 0.01: products in float32 round squared distances to about 0.001."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(4, 30)) * 20
    real = (np.repeat(base, 10, axis=0) + 1e-3 * rng.normal(size=(40, 30))).astype(np.float32)
    fake = (np.repeat(base, 5, axis=0) + 1.2e-3 * rng.normal(size=(20, 30))).astype(np.float32)
    between = np.linalg.norm(real[:, None].astype(float) - fake[None], axis=-1)
    ball = np.sort(np.linalg.norm(real[:, None].astype(float) - real[None], axis=-1), axis=1)[:, 3]
    ours = generators.precision_recall_density_coverage(jnp.asarray(real), jnp.asarray(fake), k=3)
    assert 0 < (between.min(axis=1) <= ball).mean() < 1
    np.testing.assert_allclose(ours["precision"], (between <= ball[:, None]).any(axis=0).mean(), rtol=1e-5)
    np.testing.assert_allclose(ours["density"], (between <= ball[:, None]).sum() / (3 * 20), rtol=1e-5)
    np.testing.assert_allclose(ours["coverage"], (between.min(axis=1) <= ball).mean(), rtol=1e-5)
    nearest = generators.nearest_distance(jnp.asarray(fake), jnp.asarray(real))
    np.testing.assert_allclose(nearest, between.min(axis=0), rtol=1e-4)


def images(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 6, 6, 1)).astype(np.uint8)


def features(pixels: np.ndarray) -> jax.Array:
    return jnp.asarray(pixels.reshape(len(pixels), -1)[:, :8], jnp.float32) / 255.0


def test_identical_sets_are_perfect_and_all_copies():
    real = images(40, 0)
    ours = quality(features(real), features(real), real, real)
    for name in ("precision", "recall", "coverage", "copies"):
        assert ours[name] == 1.0, name
    assert ours["nearest_train_mean"] == 0 and ours["nearest_train_min"] == 0
    np.testing.assert_allclose(ours["frechet"], 0.0, atol=1e-5)


def test_disjoint_sets_share_nothing():
    real, fake = images(40, 0) // 8, 255 - images(40, 1) // 8
    ours = quality(features(real), features(fake), fake, real)
    for name in ("precision", "recall", "density", "coverage", "copies"):
        assert ours[name] == 0.0, name
    assert ours["frechet"] > 1 and ours["nearest_train_min"] > 1


def test_fresh_draws_are_no_copies_and_repeats_of_training_rows_are():
    train, fresh = images(200, 0), images(50, 1)
    repeats = np.concatenate([train[:25], fresh[:25]])
    ours = quality(features(images(100, 2)), features(fresh), fresh, train)
    assert ours["copies"] <= 0.1
    np.testing.assert_allclose(quality(features(fresh), features(repeats), repeats, train)["copies"], 0.5, atol=0.06)


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_few_real_rows_shrink_k(rows):
    real, fake = images(rows, 0), images(9, 1)
    ours = quality(features(real), features(fake), fake, real, k=5)
    assert all(np.isfinite(value) for value in ours.values())


def test_a_collapsed_generator_has_no_recall():
    real = images(50, 0)
    fake = np.repeat(real[:1], 30, axis=0)
    ours = quality(features(real), features(fake), fake, real)
    assert ours["precision"] == 1 and ours["recall"] <= 0.02 and ours["coverage"] <= 0.4 and ours["copies"] == 1


def test_lanes_are_the_single_runs():
    pairs = [sets(20, 30, 4, seed) for seed in range(2)]
    real, fake = (jnp.stack(part) for part in zip(*pairs, strict=True))
    both = jax.jit(jax.vmap(lambda r, f: generators.quality(r, f, f, r)))
    lanes, alone = both(real, fake), quality(real[1], fake[1], fake[1], real[1])
    for name, value in alone.items():
        np.testing.assert_allclose(lanes[name][1], value, rtol=1e-4, atol=1e-5, err_msg=name)
