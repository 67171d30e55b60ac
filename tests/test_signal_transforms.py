"""Transforms of signals against numpy and SciPy, and what they share: classes, the last samples, refusals."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import interpolate, stats

from imbal_jax.data.batches import Batch
from imbal_jax.errors import UserError
from imbal_jax.methods.inputs import amplitude, jitter, time_warp
from imbal_jax.methods.method import Task

KEY = jax.random.key(3)
MODULES: dict[str, Any] = {"jitter": jitter, "amplitude": amplitude, "time_warp": time_warp}
SHAPE = (40, 2)
every = pytest.mark.parametrize("name", MODULES)


def task(shape=SHAPE):
    return Task((90, 30, 10), 1.0, ("a", "b", "c"), shape, (2,))


def batch(many=6, shape=SHAPE, dtype=jnp.float32):
    """Smooth signals in [-0.9, 0.9] and labels 0, 1, 2, 0, ..."""
    phase = np.random.default_rng(0).random((many, 1, shape[1]))
    x = 0.9 * np.sin(2 * np.pi * (np.linspace(0, 2, shape[0])[None, :, None] + phase))
    return Batch(jnp.asarray(x, dtype), jnp.asarray(np.eye(3)[np.arange(many) % 3], dtype))


def no_second(key, p):
    raise AssertionError("a second batch is not needed")


def applied(name, first, key=KEY, **options):
    method = MODULES[name].make(task(first.x.shape[1:]), **options)
    return jax.jit(lambda key: method.transform(key, first, no_second, jnp.float32(0.5)))(key)


@every
def test_shapes_range_and_determinism(name):
    for first in (batch(), batch(dtype=jnp.bfloat16)):
        out, again, other = (applied(name, first, key) for key in (KEY, KEY, jax.random.key(4)))
        assert out.x.shape == first.x.shape and out.x.dtype == first.x.dtype
        np.testing.assert_array_equal(out.t, first.t)
        np.testing.assert_array_equal(out.x, again.x)
        assert np.abs(np.asarray(out.x, np.float32)).max() <= 1
        changed = (np.asarray(out.x) != np.asarray(first.x)).any((1, 2))
        assert changed.all() and not np.array_equal(out.x, other.x)


@every
def test_zero_strength_changes_nothing(name):
    first = batch()
    for tail in (0, 4):
        np.testing.assert_array_equal(applied(name, first, sigma=0.0, tail=tail).x, first.x)


@every
def test_the_last_samples_stay_and_do_not_count(name):
    """The signal before them is changed as if it were alone."""
    first = batch()
    out = applied(name, first, tail=4).x
    np.testing.assert_array_equal(out[:, -4:], first.x[:, -4:])
    np.testing.assert_allclose(out[:, :-4], applied(name, first._replace(x=first.x[:, :-4])).x, atol=1e-6)


@every
def test_the_chosen_classes_alone_are_changed(name):
    first, all_of_them = batch(), applied(name, batch())
    for classes, chosen in (("minority", {2}), ("0,1", {0, 1}), (1, {1})):
        out = applied(name, first, classes=classes)
        moved = np.isin(np.argmax(first.t, -1), list(chosen))
        np.testing.assert_allclose(out.x[moved], all_of_them.x[moved], atol=1e-6)
        np.testing.assert_array_equal(out.x[~moved], first.x[~moved])


@every
def test_refusals_are_one_clear_line(name):
    make = MODULES[name].make
    for shape in ((8, 8, 1), (64,)):
        with pytest.raises(UserError, match=rf"^{name}: needs signals \[T, C\] \(got rows of shape \({shape[0]},"):
            make(task(shape))
    for options, message in (
        ({"sigma": -0.1}, "sigma must be at least 0 .got -0.1."),
        ({"sigma": float("nan")}, "sigma must be at least 0 .got nan."),
        ({"tail": -1}, "tail must be from 0 to below 40 .got -1."),
        ({"tail": 40}, "tail must be from 0 to below 40 .got 40."),
        ({"classes": "rare"}, "classes='rare' is none of 'all', 'minority'"),
    ):
        with pytest.raises(UserError, match=f"^{name}: {message}"):
            make(task(), **options)


def test_time_warp_needs_a_knot():
    with pytest.raises(UserError, match="time_warp: knots must be at least 1 .got 0."):
        time_warp.make(task(), knots=0)


def test_jitter_is_gaussian_noise():
    noise = np.asarray(jax.jit(lambda: jitter.jitter(KEY, jnp.zeros((20, 500, 2)), 0.1))())
    assert stats.kstest(noise.ravel(), stats.norm(0, 0.1).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(noise[:, 1:, 0].ravel(), noise[:, :-1, 0].ravel())[0, 1]) < 0.05


def test_amplitude_is_one_factor_an_example():
    x = jnp.full((4000, 3, 2), 0.25)
    factor = np.asarray(jax.jit(lambda: amplitude.amplitude(KEY, x, 0.2))()) / 0.25
    assert np.ptp(factor, axis=(1, 2)).max() < 1e-6
    assert stats.kstest(factor[:, 0, 0], stats.norm(1, 0.2).cdf).pvalue > 1e-3
    wild = np.asarray(jax.jit(lambda: amplitude.amplitude(KEY, jnp.full((200, 3, 1), 0.9), 2.0))())
    assert wild.min() == 0 and wild.max() == 1  # not turned upside down, cut off


def test_time_runs_forward_between_fixed_ends():
    shifts = np.asarray(jax.jit(lambda: time_warp.random_shifts(KEY, 500, 300, 1.0, 4))(), np.float64)
    assert shifts.shape == (500, 300)
    np.testing.assert_allclose(shifts[:, [0, -1]], 0, atol=1e-4)
    speed = 1 + np.diff(shifts, axis=1)
    assert speed.min() > 0
    assert np.abs(np.diff(speed, axis=1)).max() < 0.35 and speed.max() > 2  # smooth, and not everywhere 1
    assert abs(shifts.mean()) < 3
    assert np.asarray(time_warp.random_shifts(KEY, 2, 1, 1.0, 1)).tolist() == [[0.0], [0.0]]


def test_the_speed_is_scipys_spline():
    length, knots, sigma = 101, 3, 0.5
    shifts = np.asarray(time_warp.random_shifts(KEY, 2, length, sigma, knots), np.float64)
    control = np.exp(sigma * np.asarray(jax.random.normal(KEY, (2, knots + 4)), np.float64))
    spline = interpolate.BSpline(np.arange(-3, knots + 5), control.T, 3)
    speed = spline(np.linspace(0, knots + 1, length)).T
    time = np.concatenate([np.zeros((2, 1)), np.cumsum(speed[:, :-1], axis=1)], axis=1)
    time *= (length - 1) / time[:, -1:]
    np.testing.assert_allclose(shifts, time - np.arange(length), atol=2e-3)


def test_reading_at_other_times_is_numpys_interpolation():
    x = batch(3).x
    shifts = jax.random.uniform(KEY, (3, SHAPE[0]), minval=-5.0, maxval=5.0)
    out = np.asarray(jax.jit(time_warp.read)(x, shifts))
    place = np.arange(SHAPE[0])
    for i in range(3):
        for c in range(SHAPE[1]):
            np.testing.assert_allclose(out[i, :, c], np.interp(place + shifts[i], place, x[i, :, c]), atol=1e-5)
