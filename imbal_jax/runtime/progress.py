"""Progress of a training: a progress bar on a terminal, a line at most every ten seconds elsewhere."""

import math
import os
import sys
import time
from typing import Any, Self, TextIO

_EVERY = 10.0  # seconds between plain lines


def clock(seconds: float) -> str:
    """A duration in words: '12.3 s', '7 min 50 s', '1 h 03 min'; 'unknown' for NaN and infinity."""
    if not math.isfinite(seconds):
        return "unknown"
    if round(seconds, 1) < 60:
        return f"{max(seconds, 0.0):.1f} s"
    total_seconds = round(seconds)
    if total_seconds < 3600:
        return f"{total_seconds // 60} min {total_seconds % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """Shows the share of the work that is done, its rate, and the time left.

    On a terminal a progress bar by tqdm; elsewhere a line at most every 10 s and one at the end, such as
    "gan: 1200/2656 steps, 45%, 3.1 steps/s, 7 min 50 s left (1 h 03 min overall), d_loss 0.61". The rate is that of this
    process: work that a resumed run has already done is not counted, nor, from the second update on, the time before the
    first update (compilation).

    Args:
      label: beginning of the line.
      total: units of work.
      done: units already done at the start.
      unit: name of a unit, singular.
      stream: output; standard error by default.
      first: shown until the first update, such as "compiling (about 40 s, once)".
    """

    def __init__(
        self, label: str, total: int, done: int = 0, unit: str = "step", stream: TextIO | None = None, first: str = ""
    ) -> None:
        self.label, self.total, self.done, self.unit = label, total, done, unit
        self.stream = sys.stderr if stream is None else stream
        self._first = first
        self._shown: dict[str, float] = {}
        self._updates = 0
        self._bar: Any = None

    def __enter__(self) -> Self:
        self._began = self._printed = self._latest = time.monotonic()
        self._anchor = (self._began, self.done)
        if self.stream.isatty():
            self._bar = _bar(self.label, self.total, self.done, self.unit, self.stream)
            if self._first and self.done < self.total:
                self._bar.set_postfix_str(self._first)
        elif self._first and self.done < self.total:
            print(f"{self.label}: {self._first}", file=self.stream, flush=True)
        return self

    def update(self, done: int, overall: str = "", **shown: float) -> None:
        """Sets the units done so far (in total, not in this call) and the values to show.

        Args:
          done: units.
          overall: text about the time left of the whole run.
          shown: values by name.
        """
        now = time.monotonic()
        if self._updates == 1:
            self._anchor = (self._latest, self.done)
        self._latest, self._updates = now, self._updates + 1
        self.done, self._shown = done, {name: float(value) for name, value in shown.items()}
        if self._bar is not None:
            self._bar.set_postfix_str(", ".join(filter(None, (overall, _values(self._shown)))), refresh=False)
            self._bar.update(done - self._bar.n)
        elif now - self._printed >= _EVERY and done < self.total:
            self._printed = now
            rate = self._rate(now) if self._updates > 1 else math.nan  # before, the rate would include the compilation
            left = f"{clock((self.total - done) / rate)} left" if self._updates > 1 else "compiled"
            self._print(rate, f"{left} ({overall})" if overall else left)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Closes the progress bar; elsewhere than on a terminal, prints the final line with the time taken."""
        if self._bar is not None:
            self._bar.close()
        elif kind is None or self._updates:
            took = f"{'took' if kind is None else 'stopped after'} {clock(time.monotonic() - self._began)}"
            self._print(self._rate(time.monotonic()), took)

    def _rate(self, now: float) -> float:
        """Units per second; NaN before the first measurement."""
        since, done = self._anchor
        return (self.done - done) / (now - since) if now > since and self.done > done else math.nan

    def _print(self, rate: float, time_part: str) -> None:
        share = 100 * self.done // self.total if self.total else 100
        parts = [f"{self.label}: {self.done}/{self.total} {self.unit}s", f"{share}%"]
        if math.isfinite(rate):
            parts.append(f"{rate:.3g} {self.unit}s/s")
        values = _values(self._shown)
        print(", ".join([*parts, time_part, *([values] if values else [])]), file=self.stream, flush=True)


def _values(shown: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in shown.items())


def _bar(label: str, total: int, done: int, unit: str, stream: TextIO) -> Any:
    from tqdm import tqdm

    line = "{desc}: {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt}, {rate_fmt}, {remaining} left{postfix}"
    # Some terminals (of containers) report a width of 0, and tqdm would write nothing to them.
    width: dict[str, Any] = {"dynamic_ncols": True} if _columns(stream) else {"ncols": 100, "nrows": 20}
    return tqdm(desc=label, total=total, initial=done, unit=f" {unit}s", file=stream, bar_format=line, **width)


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0
