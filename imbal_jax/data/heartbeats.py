"""One ECG record made into heartbeats: denoised, cut at the R peaks, scaled to [-1, 1]. Pure NumPy (and PyWavelets)."""

from typing import NamedTuple

import numpy as np

AAMI = {"N": "NLRej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"}  # the annotation symbols of each class
CLASSES = "".join(AAMI)
FULL_SCALE = 32767  # of the int16 in which values in [-1, 1] are stored
PERCENTILES = (0.1, 99.9)  # what counts as a record's lowest and highest value: a few artefacts do not
RELATIVE = 0.04  # of a level's largest detail, with the rule 'relative'
LONGEST_RR = 2.0  # seconds, or times the mean; whatever is longer counts as this
LAST_RR = 10
THRESHOLDS = ("universal", "relative", "none")


class Shrinkage(NamedTuple):
    """The steps of `denoise`, under the same names."""

    wavelet: str = "db5"
    level: int = 9
    zeroed: int = 2
    threshold: str = "universal"


class Form(NamedTuple):
    """How a record becomes beats.

    Attributes:
        shrinkage: how it is denoised, or None: not at all.
        scale: 'beat' (`scale_beats`) or 'record' (`scale_record`).
        before, after: samples of the window before the R peak, and from it on.
        rr: whether the four numbers of `rr_features` are appended to each beat.
    """

    shrinkage: Shrinkage | None = Shrinkage()
    scale: str = "beat"
    before: int = 99
    after: int = 201
    rr: bool = False


def beats(
    signal: np.ndarray, peaks: np.ndarray, symbols: np.ndarray, frequency: float, form: Form
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The beats of one record in their AAMI classes; annotations of other kinds are not beats.

    Args:
        signal: float [S].
        peaks: int [A], the sample number of each annotation, ascending.
        symbols: str [A], what is annotated.
        frequency: samples per second.
        form: how they are made; T = before + after, and 4 more with `rr`.

    Returns:
        (x int16 [M, T, 1]; y int8 [M], index into `CLASSES`; kept bool [B]: which of the record's beats these are). The
        other beats have a window that leaves the record.
    """
    class_of = {symbol: number for number, every in enumerate(AAMI.values()) for symbol in every}
    label = np.array([class_of.get(symbol, -1) for symbol in symbols.tolist()], np.int8)
    peaks, label = peaks[label >= 0], label[label >= 0]
    signal = signal if form.shrinkage is None else denoise(signal, *form.shrinkage)
    signal = scale_record(signal) if form.scale == "record" else signal
    windows, kept = cut(signal, peaks, form.before, form.after)
    windows = scale_beats(windows) if form.scale == "beat" else windows
    if form.rr:
        windows = np.concatenate([windows, rr_features(peaks, frequency)[kept]], axis=1)
    return to_int16(windows)[..., None], label[kept], kept


def denoise(
    signal: np.ndarray, wavelet: str = "db5", level: int = 9, zeroed: int = 2, threshold: str = "universal"
) -> np.ndarray:
    """The signal without its high-frequency noise, by wavelet shrinkage.

    The defaults are the recipe that goes with MIT-BIH in many published programs: nine levels of db5, the two finest
    detail levels (90 to 180 and 45 to 90 Hz at 360 Hz) set to zero, the other seven soft-thresholded, the approximation
    left as it is, so that baseline wander below 0.35 Hz stays. Shrinkage and the universal threshold: Donoho 1995,
    "De-noising by soft-thresholding". The whole signal is used for each of its samples, the later ones too.

    Args:
        signal: float [S], in any unit.
        wavelet: a name from PyWavelets; borders are mirrored ('symmetric').
        level: how many times the signal is halved; fewer where it is too short for that (db5: 4,608 samples for nine).
        zeroed: how many of the finest detail levels are set to zero.
        threshold: of the other details. 'universal': median(|d1|) / 0.6745 * sqrt(2 ln n), with d1 the n details of the
            finest level; 'relative': 0.04 times the largest absolute value of each level's own details; 'none': 0.

    Returns:
        float64 [S], in the same unit.

    Raises:
        ValueError: unknown threshold or wavelet.
    """
    import pywt

    if threshold not in THRESHOLDS:
        raise ValueError(f"unknown threshold {threshold!r}; known: {', '.join(THRESHOLDS)}")
    signal = np.asarray(signal, np.float64)
    deep = min(level, pywt.dwt_max_level(len(signal), wavelet))
    coarse, *details = pywt.wavedec(signal, wavelet, level=deep)  # from the coarsest to the finest
    if not details:
        return signal.copy()
    universal = np.median(np.abs(details[-1])) / 0.6745 * np.sqrt(2 * np.log(len(details[-1])))
    kept = deep - min(zeroed, deep)
    for at, detail in enumerate(details):
        limit = {"universal": universal, "relative": RELATIVE * np.abs(detail).max(), "none": 0.0}[threshold]
        shrunk = np.sign(detail) * np.maximum(np.abs(detail) - limit, 0.0)
        details[at] = shrunk if at < kept else np.zeros_like(detail)
    return pywt.waverec([coarse, *details], wavelet)[: len(signal)]


def wavelets() -> tuple[str, ...]:
    """The names of the wavelets that `denoise` accepts."""
    import pywt

    return tuple(pywt.wavelist(kind="discrete"))


def cut(signal: np.ndarray, peaks: np.ndarray, before: int, after: int) -> tuple[np.ndarray, np.ndarray]:
    """One window for each peak: the samples from `peak - before` up to, and without, `peak + after`.

    Args:
        signal: [S].
        peaks: int [B], sample numbers from 0 on.
        before, after: in samples; T = before + after.

    Returns:
        (windows [M, T], kept bool [B]): the windows that lie within the signal, and which peaks they belong to.
    """
    peaks = np.asarray(peaks, np.int64)
    kept = (peaks >= before) & (peaks + after <= len(signal))
    return signal[peaks[kept][:, None] + np.arange(-before, after)], kept


def scale_beats(windows: np.ndarray) -> np.ndarray:
    """Each window [M, T] to [-1, 1] by its own lowest and highest value; a flat one becomes zeros. float64 [M, T]."""
    low, high = windows.min(axis=1, keepdims=True), windows.max(axis=1, keepdims=True)
    spread = high - low
    return np.where(spread > 0, 2 * (windows - low) / np.where(spread > 0, spread, 1.0) - 1, 0.0)


def scale_record(signal: np.ndarray) -> np.ndarray:
    """The signal [S] to [-1, 1]: its 0.1th percentile becomes -1, its 99.9th 1, what lies beyond is clipped.

    Beats keep their heights relative to each other within a record. A signal without a spread becomes zeros. float64 [S].
    """
    low, high = np.percentile(signal, PERCENTILES)
    return np.clip(2 * (signal - low) / (high - low) - 1, -1, 1) if high > low else np.zeros(len(signal))


def rr_features(peaks: np.ndarray, frequency: float) -> np.ndarray:
    """Four numbers on the rhythm about each beat, each in [-1, 1].

    An RR interval is the time between two beats that follow each other. The columns: the interval before the beat; that
    after it; that before it / the mean of all intervals of the record; that before it / the mean of the last ten (fewer at
    the start), itself among them. Intervals in seconds and ratios are both mapped by min(v, 2) - 1, so 0 means one second,
    or an interval like the others. The interval that the first beat lacks before it, and the last one after it, is taken
    to be the mean; a record without any interval has zeros. The mean takes in the later beats too.

    Args:
        peaks: int [B], sample numbers of all beats of one record, ascending.
        frequency: samples per second.

    Returns:
        float64 [B, 4].
    """
    interval = np.diff(np.asarray(peaks, np.int64)) / frequency
    if not len(interval) or interval.mean() <= 0:
        return np.zeros((len(peaks), 4))
    mean = interval.mean()
    before, after = np.append(mean, interval), np.append(interval, mean)
    total = np.append(0.0, np.cumsum(before))
    end = np.arange(1, len(before) + 1)
    start = np.maximum(end - LAST_RR, 0)
    recent = (total[end] - total[start]) / (end - start)
    # Ten beats at the same instant have no rhythm: they count as one that is like the others.
    ratio = np.divide(before, recent, out=np.ones_like(before), where=recent > 0)
    columns = np.stack([before, after, before / mean, ratio], axis=1)
    return np.minimum(columns, LONGEST_RR) - 1


def to_int16(values: np.ndarray) -> np.ndarray:
    """Values in [-1, 1] as they are stored: round(value * 32767), int16, the same shape."""
    return np.rint(values * FULL_SCALE).astype(np.int16)
