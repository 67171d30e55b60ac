"""Numbers of array files as rows are stored: the right scale, from training rows, that one outlier does not move."""

from pathlib import Path

import numpy as np
import pytest
from data_files import fails

from imbal_jax.data import values
from imbal_jax.data.storage_types import floats

PATH = Path("a.npz")
RNG = np.random.default_rng(0)


def stored(x, wanted="", training=None):
    return values.stored(PATH, x, np.ones(len(x), bool) if training is None else training, wanted)


def pixels(*shape):
    return RNG.integers(0, 256, shape).astype(np.uint8)


IMAGES = pixels(20, 6, 6, 3)


@pytest.mark.parametrize(
    ("x", "dtype", "expected"),
    [
        (IMAGES, np.uint8, IMAGES / 255),
        (IMAGES.astype(np.int64), np.uint8, IMAGES / 255),
        (IMAGES.astype(np.int32), np.uint8, IMAGES / 255),
        (IMAGES.astype(np.float32), np.uint8, IMAGES / 255),
        (IMAGES.astype(np.float16), np.uint8, IMAGES / 255),
        (IMAGES + 0.25, np.float32, (IMAGES + 0.25 - 0.25) / 255),  # beyond 255: its own limits
        (IMAGES / 255, np.float32, IMAGES / 255),
        ((IMAGES / 255).astype(np.float16), np.float32, (IMAGES / 255).astype(np.float16)),
        (IMAGES / 127.5 - 1, np.float32, IMAGES / 255),
        (IMAGES.astype(np.uint16) * 257, np.float32, IMAGES / 255),
        (IMAGES.astype(np.uint16) * 16, np.float32, IMAGES * 16.0 / 4095),
        (IMAGES.astype(np.int16) * 4 - 400, np.float32, IMAGES / 255),
        (IMAGES.astype(np.int64) // 16, np.float32, IMAGES // 16 / 15),
        (IMAGES / 255 * 1e-3, np.float32, IMAGES / 255),
        (IMAGES > 127, np.uint8, IMAGES > 127),
        ((IMAGES > 127).astype(np.uint8), np.uint8, IMAGES > 127),
        ((IMAGES > 127).astype(float), np.uint8, IMAGES > 127),
    ],
)
def test_images(x, dtype, expected):
    if x.dtype.kind == "f":
        x = x.copy()
    found = stored(x)
    assert found.x.dtype == dtype
    np.testing.assert_allclose(floats(found.x), expected, atol=2e-3 if x.dtype == np.float16 else 1e-6)


def test_a_value_above_one_keeps_the_others():
    x = IMAGES / 255
    x[3, 2, 1, 0] = 1.04
    for found in (stored(x), stored(x, training=np.arange(len(x)) != 3)):
        np.testing.assert_allclose(found.x * found.scale.factor[0] + found.scale.offset[0], x, rtol=1e-6, atol=1e-6)
        assert found.scale.offset == (0.0,) and 1 <= found.scale.factor[0] <= 1.04 and found.notes == ()


def test_binary_and_dark_images_are_told():
    assert "1 is taken as white, 255" in stored((IMAGES > 127).astype(np.uint8)).notes[0]
    assert "nearly black" in stored(IMAGES // 16).notes[0] and "range=0,15" in stored(IMAGES // 16).notes[0]
    np.testing.assert_allclose(stored(IMAGES // 16, "0,15").x, IMAGES // 16 / 15, rtol=1e-6)
    assert "constant" in stored(np.full((9, 4, 4, 1), 77, np.uint8)).notes[0]
    assert stored(IMAGES).notes == () and stored(IMAGES / 255).notes == ()


def test_each_channel_of_a_signal_has_its_own_scale():
    x = np.stack([RNG.uniform(0, 0.45, (40, 30)), RNG.uniform(60, 90, (40, 30))], axis=-1)
    training = np.arange(40) < 30
    found = stored(x, training=training)
    low, high = x[:30].min((0, 1)), x[:30].max((0, 1))
    np.testing.assert_allclose(found.x, (x - low) / (high - low) * 2 - 1, atol=1e-6)
    assert found.x.dtype == np.float32 and found.notes == ()
    np.testing.assert_allclose(found.x * np.array(found.scale.factor) + found.scale.offset, x, rtol=1e-5)
    other = x.copy()
    other[30:] *= 3  # test rows do not move it
    assert stored(other, training=training).scale == found.scale
    assert np.array_equal(stored(np.asfortranarray(x), training=training).x, found.x)


def test_whole_signals_stay_int16_where_they_fit():
    x = RNG.integers(-500, 1200, (30, 20, 2)).astype(np.int16)
    found = stored(x)
    assert found.x.dtype == np.int16 and len(np.unique(found.x[..., 0])) == len(np.unique(x[..., 0]))
    low, high = x.min((0, 1)), x.max((0, 1))
    np.testing.assert_allclose(floats(found.x), (x - low) / (high - low) * 2 - 1, atol=1e-4)
    x[3, 4, 1] = 9000  # a single outlier
    assert stored(x).x.dtype == np.float32 and stored(x).scale.factor[1] < 900


def test_columns_are_standardised_by_the_training_rows():
    from sklearn.preprocessing import StandardScaler

    scale = np.array([1e-6, 1.0, 5e4, 1e9])
    x = RNG.normal(size=(60, 4)) * scale + np.array([0, 3, 1e6, -4e9])
    training = np.arange(60) < 50
    expected = StandardScaler().fit(x[:50]).transform(x)
    found = stored(x, training=training)
    np.testing.assert_allclose(found.x, expected, atol=1e-4)
    assert found.x.dtype == np.float32 and found.notes == ()
    whole = RNG.integers(20, 90, (60, 3))
    np.testing.assert_allclose(stored(whole).x, StandardScaler().fit_transform(whole), atol=1e-5)
    assert np.array_equal(stored(whole.astype(np.uint8)).x, stored(whole).x)


def test_an_outlier_moves_no_scale_and_is_clipped_with_a_note():
    x = RNG.normal(size=(80, 3))
    plain = stored(x)
    x[7, 1] = 1e9
    found = stored(x)
    np.testing.assert_allclose(found.scale.factor, plain.scale.factor, rtol=0.2)
    assert 4 < found.x[7, 1] < 100 and "1 values of 1 columns (the first: 1)" in found.notes[0]
    others = np.ones_like(x, bool)
    others[7, 1] = False
    assert np.std(found.x[others]) > 0.8
    kept = stored(x, "none")
    np.testing.assert_array_equal(kept.x, x.astype(np.float32))
    assert kept.notes == ()


def test_rare_values_and_constants():
    x = np.zeros((400, 3))
    x[5, 0], x[[5, 9], 1] = 1.0, 3.0
    found = stored(x)
    np.testing.assert_allclose(found.x[5, :2], [np.sqrt(399), np.sqrt(199)], rtol=1e-5)
    assert (found.x[:, 2] == 0).all() and "1 of 3 columns (the first: 2) are constant" in found.notes[0]
    training = np.arange(400) >= 10
    test = stored(x, training=training)
    assert (test.x == 0).all() and "3 of 3 columns" in test.notes[0]


def test_clocks_keep_their_digits():
    x = 1.7e9 + np.arange(50.0)[:, None]
    np.testing.assert_allclose(stored(x).x[:, 0], (np.arange(50) - 24.5) / np.arange(50).std(), rtol=1e-5)


def test_a_range_of_ones_own():
    signals = RNG.normal(size=(9, 8, 2))
    np.testing.assert_allclose(stored(signals, "-3,5").x, (signals - 1) / 4, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stored(signals[..., 0], "-3,5").x, (signals[..., 0] - 1) / 4, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(stored(IMAGES.astype(np.uint16), "0,510").x, IMAGES / 510, rtol=1e-6)
    with fails("3e38"):
        stored(np.full((9, 2), 1e39), "none")


@pytest.mark.parametrize("many", [2, 7, 8, 99, 1000])
def test_limits_are_the_extremes_unless_one_stands_out(many):
    x = RNG.normal(size=many)
    assert values.limits(x.copy()) == (x.min(), x.max())
    if many >= 8:
        assert values.limits(np.append(x, 1e6)) == (x.min(), x.max())
    assert values.limits(np.full(many, 3)) == (3, 3)
