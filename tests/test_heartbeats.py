"""One record made into beats: each step against numbers worked out by hand."""

import numpy as np
import pytest
import pywt

from imbal_jax.data import heartbeats
from imbal_jax.data.heartbeats import Form

LONG = 6000  # samples: enough for nine levels of db5


def wave(seed, samples=LONG):
    return np.random.default_rng(seed).normal(size=samples)


def test_denoise_without_shrinkage_gives_the_signal_back():
    for samples in (LONG, LONG + 1):
        signal = wave(0, samples)
        assert np.allclose(heartbeats.denoise(signal, zeroed=0, threshold="none"), signal, atol=1e-12)


def test_denoise_follows_the_recipe_step_by_step():
    signal = np.cumsum(wave(1)) / 10
    bands = pywt.wavedec(signal, "db5", level=9)
    limit = np.median(np.abs(bands[-1])) / 0.6745 * np.sqrt(2 * np.log(bands[-1].size))
    soft = [pywt.threshold(band, limit, "soft") for band in bands[1:8]]
    expected = pywt.waverec([bands[0], *soft, 0 * bands[8], 0 * bands[9]], "db5")
    assert np.allclose(heartbeats.denoise(signal), expected, atol=1e-12)


def test_relative_threshold_is_each_level_s_own():
    signal = wave(2)
    bands = pywt.wavedec(signal, "sym4", level=3)
    soft = [pywt.threshold(band, 0.04 * np.abs(band).max(), "soft") for band in bands[1:3]]
    expected = pywt.waverec([bands[0], *soft, 0 * bands[3]], "sym4")
    assert np.allclose(heartbeats.denoise(signal, "sym4", 3, 1, "relative"), expected, atol=1e-12)


def test_denoise_takes_noise_away_and_leaves_the_baseline():
    noise, baseline = wave(3, 36_000), np.sin(2 * np.pi * np.arange(36_000) / 36_000)
    assert np.std(heartbeats.denoise(noise)) < 0.1
    assert np.abs(heartbeats.denoise(baseline) - baseline).max() < 1e-3
    assert np.std(heartbeats.denoise(baseline + noise) - baseline) < 0.1


@pytest.mark.parametrize("samples", [1, 5, 17, 300])
def test_short_and_flat_signals_are_no_trouble(samples):
    assert np.allclose(heartbeats.denoise(np.full(samples, 0.5)), 0.5)
    assert heartbeats.denoise(wave(4, samples)).shape == (samples,)


def test_denoise_refuses_an_unknown_threshold():
    with pytest.raises(ValueError, match="unknown threshold 'hard'"):
        heartbeats.denoise(wave(5), threshold="hard")


def test_cut_is_half_open_and_keeps_whole_windows_only():
    windows, kept = heartbeats.cut(np.arange(10), np.array([1, 2, 5, 7, 8, 40]), before=2, after=3)
    assert kept.tolist() == [False, True, True, True, False, False]
    assert windows.tolist() == [[0, 1, 2, 3, 4], [3, 4, 5, 6, 7], [5, 6, 7, 8, 9]]


def test_scale_beats():
    scaled = heartbeats.scale_beats(np.array([[1.0, 2.0, 3.0], [4.0, 4.0, 4.0], [0.0, -1.0, 3.0]]))
    assert scaled.tolist() == [[-1, 0, 1], [0, 0, 0], [-0.5, -1, 1]]


def test_scale_record_clips_at_its_percentiles():
    signal = np.append(np.linspace(0.0, 1.0, 100_000), 50.0)
    scaled = heartbeats.scale_record(signal)
    assert scaled.min() == -1 and scaled[-1] == 1 and abs(scaled[50_000]) < 1e-3
    # The 0.1th percentile is 0.001, the 99.9th 0.999.
    assert scaled[50] == -1 and np.allclose(scaled[25_000], 2 * (0.25 - 0.001) / 0.998 - 1, atol=1e-3)
    assert (heartbeats.scale_record(np.full(9, 3.0)) == 0).all()


def test_rr_features_by_hand():
    # Intervals 1 s, 0.5 s, 3 s; their mean is 1.5 s.
    features = heartbeats.rr_features(np.array([100, 200, 250, 550]), 100)
    recent = [1.5 / 1.5, 1 / 1.25, 0.5 / 1.0, 3 / 1.5]
    expected = [
        [0.5, 0.0, 0.0, recent[0] - 1],
        [0.0, -0.5, 1 / 1.5 - 1, recent[1] - 1],
        [-0.5, 1.0, 0.5 / 1.5 - 1, recent[2] - 1],
        [1.0, 0.5, 1.0, recent[3] - 1],
    ]
    assert np.allclose(features, expected) and features.dtype == np.float64


def test_rr_features_take_the_last_ten_intervals():
    intervals = [100] * 12 + [50]
    features = heartbeats.rr_features(np.append(0, np.cumsum(intervals)), 100)
    assert np.isclose(features[-1, 3], 0.5 / 0.95 - 1) and np.allclose(features[1:-1, 3], 0.0, atol=0.03)


@pytest.mark.parametrize("peaks", [[], [7], [7, 7, 7]])
def test_rr_features_without_a_rhythm(peaks):
    assert heartbeats.rr_features(np.array(peaks, np.int64), 360).tolist() == [[0.0] * 4] * len(peaks)


def test_rr_features_where_beats_coincide():
    features = heartbeats.rr_features(np.append([0] * 12, 360), 360)
    assert np.isfinite(features).all() and (np.abs(features) <= 1).all()


def test_to_int16():
    stored = heartbeats.to_int16(np.array([-1.0, 0.0, 0.5, 1.0]))
    assert stored.tolist() == [-32767, 0, 16384, 32767] and stored.dtype == np.int16


def test_beats():
    signal = np.arange(1000.0)
    peaks = np.array([1, 100, 150, 300, 400, 500, 600, 999])
    symbols = np.array(["N", "+", "L", "A", "E", "F", "/", "V"])
    x, y, kept = heartbeats.beats(signal, peaks, symbols, 100, Form(None, "beat", 2, 3, rr=True))
    assert kept.tolist() == [False, True, True, True, True, True, False] and y.tolist() == [0, 1, 2, 3, 4]
    assert x.shape == (5, 9, 1) and x.dtype == np.int16
    assert x[:, :5, 0].tolist() == [[-32767, -16384, 0, 16384, 32767]] * 5
    # The '+' is no beat: the interval before the first kept one reaches back to sample 1.
    assert x[0, 5, 0] == round((1.49 - 1) * 32767) and x[0, 6, 0] == round((1.5 - 1) * 32767)


@pytest.mark.parametrize(("letter", "symbols"), [("N", "NLRej"), ("S", "AaJS"), ("V", "VE"), ("F", "F"), ("Q", "/fQ")])
def test_every_symbol_of_the_classes(letter, symbols):
    other = '+~!"x|[]B?n'  # rhythm changes, noise, flutter waves, blocked beats, ...
    peaks = np.arange(1, len(symbols + other) + 1) * 10
    _, y, _ = heartbeats.beats(wave(6, 500), peaks, np.array(list(symbols + other)), 360, Form(None, before=2, after=2))
    assert y.tolist() == ["NSVFQ".index(letter)] * len(symbols)


def test_beats_of_a_scaled_record_keep_their_heights():
    signal = np.zeros(2000)
    signal[[500, 1500]] = 1.0, 0.5
    signal[:100] = 1.0
    x, _, _ = heartbeats.beats(signal, np.array([500, 1500]), np.array(["N", "N"]), 360, Form(None, "record", 1, 2))
    assert x[:, :, 0].tolist() == [[-32767, 32767, -32767], [-32767, 0, -32767]]
