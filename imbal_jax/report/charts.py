"""Charts drawn in HTML and CSS, which adapt to the page's width and colour scheme."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from imbal_jax.evaluate import stats
from imbal_jax.evaluate.metrics import LOWER_IS_BETTER
from imbal_jax.report.arm_table import labels
from imbal_jax.report.formats import band, capital, duration, gap, is_share, name_of, number
from imbal_jax.report.markup import Label, render
from imbal_jax.report.run import Run, baselines, mean_of, published, ranked, same_spec, values_of
from imbal_jax.report.style import arm_colours

LOG_FROM = 10.0  # ratio of costs above which the axis is logarithmic
TIMES = (0.1, 0.3, 1, 3, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 36000, 86400)  # seconds
WORDLESS = {"none": "no verdict"}
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


class Scale(NamedTuple):
    """Positions of values on an axis, in percent of its length; logarithmic axes are in seconds."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """The position of a value; values outside are clipped to the ends."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, min(max(value, self.low), self.high)))
        return round(100 * (value - low) / (high - low), 2)

    def ticks(self, most: int) -> list[float]:
        """At most `most` round values inside."""
        if self.log:
            values = [value for value in TIMES if self.low <= value <= self.high]
            return values[:: math.ceil(len(values) / most)] if values else []
        raw = (self.high - self.low) / most
        unit = 10.0 ** math.floor(math.log10(raw))
        step = next(s * unit for s in STEPS if s * unit >= raw)
        return [i * step for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


class Mark(NamedTuple):
    """A mark of a chart.

    Attributes:
        kind: CSS classes.
        style: CSS of its position, such as 'left:12.5%'.
        text: inside it.
        title: tooltip.
    """

    kind: str
    style: str = ""
    text: str = ""
    title: str = ""


class Strip(NamedTuple):
    """A row of a chart: a name, marks on a common scale, a number.

    Attributes:
        marks: in drawing order.
        value: the number on the right.
        label: of an arm; None for a published figure.
        name: of a published figure's source.
        kind: CSS classes.
        colour: of the marks, '' for that of the kind.
        title: tooltip of the row.
    """

    marks: list[Mark]
    value: str
    label: Label | None = None
    name: str = ""
    kind: str = ""
    colour: str = ""
    title: str = ""


class Chart(NamedTuple):
    """Strips above their axis."""

    strips: list[Strip]
    ticks: list[Mark]


def seeds(run: Run) -> Markup:
    """Every seed of every arm on a common scale; one tab each for the chosen metric, accuracy and minority recall."""
    metrics = list(dict.fromkeys([run.results["metric"], "accuracy", *(["minority"] if run.data["minority"] else [])]))
    charts = {capital(name_of(metric)): _dots(run, metric) for metric in metrics}
    note = "Each stroke is a seed; the dot is the mean, the bar its 95% interval (Student's t; an arrowhead: it extends beyond "
    note += "the axis)."
    if len(run.results["seeds"]) < 2:
        note = "One seed: no interval."
    if any(_published(run, metric)[0] for metric in metrics):
        note += " Rings: published results of the same method."
    return render("seeds.html", title="Seed by seed", charts=charts, note=note, kind=_size(run))


def forest(run: Run) -> Markup:
    """Every arm's difference from the baseline with its interval, and the equivalence margin as a band."""
    metric, margin = run.results["metric"], run.results["margin"]
    pairs = {arm: run.results["paired"].get(arm, {}).get(metric) or {} for arm in ranked(run)}
    pairs = {arm: pair for arm, pair in pairs.items() if pair.get("mean") is not None}
    if not pairs:
        return Markup("")
    scale = _forest_scale([pair["mean"] for pair in pairs.values()], [pair["ci95"] for pair in pairs.values()], margin)
    shade = Mark("band", f"left:{scale.at(-margin)}%;width:{scale.at(margin) - scale.at(-margin):.2f}%")
    zero = Mark("zero", f"left:{scale.at(0.0)}%")
    label = labels(run)
    strips = []
    for arm, pair in pairs.items():
        ends, verdict = pair["ci95"], pair.get("verdict", "undecided")
        verdict_text = WORDLESS.get(verdict, verdict)
        marks = [shade, zero, *_bar(scale, ends), Mark("mean", f"left:{scale.at(pair['mean'])}%")]
        words = f"{gap(metric, pair['mean'])}" + (
            f", 95% interval {gap(metric, ends[0])} to {gap(metric, ends[1])}" if ends else ""
        )
        title = f"{arm}: {words}, {verdict_text}"
        strips.append(Strip(marks, gap(metric, pair["mean"]), label[arm], kind=verdict, title=title))
    cut = " (an arrowhead: it extends beyond the axis)" if _is_cut(scale, [pair["ci95"] for pair in pairs.values()]) else ""
    side = "left" if metric in LOWER_IS_BETTER else "right"
    note = f"Paired differences of {name_of(metric)} with 95% intervals{cut}; the {side} side is better. Grey band: "
    note += f"{band(metric, margin)}, within which arms count as equivalent."
    words = {"better": "green", "worse": "red", "equivalent": "blue"}
    shown = [f"{colour}: {word}" for word, colour in words.items() if any(p["verdict"] == word for p in pairs.values())]
    note += f" Colours: {', '.join(shown)}." if shown else " No arm has a verdict."
    title = f"Difference from '{run.results['baseline']}'"
    chart = Chart(strips, _axis(scale, metric, signed=True))
    return render("forest.html", title=title, chart=chart, note=note, kind=_size(run))


def cost(run: Run) -> Markup:
    """Seconds per seed against the chosen metric; Pareto-optimal arms are ringed."""
    metric = run.results["metric"]
    spent = {arm: run.results["methods"][arm]["seconds"] for arm in ranked(run)}
    points = {arm: (spent[arm], mean_of(run, arm, metric)) for arm in spent}
    drawn = {arm: (x, y) for arm, (x, y) in points.items() if x and y is not None}
    if len(drawn) < 2:
        return Markup("")
    times, scores = zip(*drawn.values(), strict=True)
    log = max(times) > LOG_FROM * min(times)
    x, y = _padded(times, log), _padded(scores)
    colours, rank = arm_colours(list(run.results["methods"])), {arm: i for i, arm in enumerate(ranked(run), 1)}
    front = _front(drawn, metric)
    labelled = _labelled({arm: (x.at(a), y.at(b)) for arm, (a, b) in drawn.items()}, [*front, *baselines(run)])
    dots: list[tuple[Mark, Mark | None]] = []
    for arm, (seconds, score) in drawn.items():
        left, bottom = x.at(seconds), y.at(score)
        kind = "dot front" if arm in front else "dot"
        title = f"{arm}: {duration(seconds)}, {number(metric, score)}"
        dot = Mark(kind, f"left:{left}%;bottom:{bottom}%;--c:{colours[arm]}", str(rank[arm]), title)
        side = f"right:{100 - left:.2f}%" if left > 55 else f"left:{left}%"
        name = Mark("label to-left" if left > 55 else "label", f"{side};bottom:{bottom}%", arm)
        dots.append((dot, name if arm in labelled else None))
    axis = f"time per seed{', logarithmic' if log else ''}"
    note = f"Vertical: {capital(name_of(metric))}, mean over seeds{' (lower is better)' if metric in LOWER_IS_BETTER else ''}. "
    note += "Numbers are those of the table above. Ringed: no other arm is both faster and better."
    up, along = _grid(x, y, metric)
    return render("cost.html", title=f"Cost and {name_of(metric)}", up=up, along=along, dots=dots, axis=axis, note=note)


def _dots(run: Run, metric: str) -> Chart | None:
    """One tab: all seeds by one metric; None if no seed has it."""
    arms = ranked(run)
    values = {arm: values_of(run, arm, metric) for arm in arms}
    beside, separate = _published(run, metric)
    everything = [v for arm in arms for v in values[arm]] + [v for _, _, v in beside] + list(separate.values())
    if not everything:
        return None
    room = max(0.12 * (max(everything) - min(everything)), 0.005)
    high = max(everything) + room
    scale = Scale(max(min(everything) - room, 0.0), min(high, 1.0) if is_share(metric) else high)
    colours, label = arm_colours(list(run.results["methods"])), labels(run)
    references = [Mark("ref", f"left:{scale.at(v)}%") for v in separate.values()]
    strips = []
    for arm in arms:
        summary = stats.summary(metric, values[arm])
        marks = [*references, *_bar(scale, summary["ci95"]), *(Mark("seed", f"left:{scale.at(v)}%") for v in values[arm])]
        if summary["mean"] is not None:
            marks.append(Mark("mean", f"left:{scale.at(summary['mean'])}%"))
        for source, value in ((source, value) for our, source, value in beside if our == arm):
            marks.append(Mark("theirs", f"left:{scale.at(value)}%", title=f"{source}: {number(metric, value)}"))
        strips.append(Strip(marks, number(metric, summary["mean"]), label[arm], colour=colours[arm]))
    for source, value in separate.items():
        marks = [*references, Mark("mean", f"left:{scale.at(value)}%")]
        strips.append(Strip(marks, number(metric, value), name=source, kind="published"))
    return Chart(strips, _axis(scale, metric))


def _published(run: Run, metric: str) -> tuple[list[tuple[str, str, float]], dict[str, float]]:
    """Published results: (our arm, source, value) if one of our arms has the same method, else {source: value}."""
    with_metric = [(theirs, same_spec(run, theirs)) for theirs in published(run.config) if metric in theirs.figures]
    beside = [(arm, theirs.source, theirs.figures[metric]) for theirs, ours in with_metric for arm in ours]
    return beside, {theirs.source: theirs.figures[metric] for theirs, ours in with_metric if not ours}


def _size(run: Run) -> str:
    return "many" if len(run.results["methods"]) > 8 else ""


def _bar(scale: Scale, ends: Sequence[float] | None) -> list[Mark]:
    """An interval, with arrowheads where it extends beyond the scale."""
    if not ends:
        return []
    left, right = (scale.at(end) for end in ends)
    return [
        Mark("ci", f"left:{left}%;width:{max(right - left, 0.3):.2f}%"),
        *([Mark("beyond low", text="◂")] if _below(scale, ends) else []),
        *([Mark("beyond high", text="▸")] if ends[1] > scale.high + _rounding(scale) else []),
    ]


def _below(scale: Scale, ends: Sequence[float]) -> bool:
    return ends[0] < scale.low - _rounding(scale)


def _rounding(scale: Scale) -> float:
    return 1e-9 * (scale.high - scale.low)


def _is_cut(scale: Scale, intervals: Iterable[Sequence[float] | None]) -> bool:
    """Whether an interval extends beyond the scale."""
    return any(_below(scale, ends) or ends[1] > scale.high + _rounding(scale) for ends in intervals if ends)


def _axis(scale: Scale, metric: str, signed: bool = False) -> list[Mark]:
    unit, end = (100, "" if signed else "%") if is_share(metric) else (1, "")
    words = {value: f"{unit * value:{'+' if signed and value else ''}.4g}{end}".replace("-", "−") for value in scale.ticks(6)}
    return [Mark("tick", f"left:{scale.at(value)}%", word) for value, word in words.items()]


def _forest_scale(means: Sequence[float], intervals: Sequence[Sequence[float] | None], margin: float) -> Scale:
    """Contains all means, 0 and the margin; intervals only as far as the rest keeps a third of the width."""
    low, high = min(*means, -1.2 * margin), max(*means, 1.2 * margin)
    ends = [end for interval in intervals if interval for end in interval]
    span = high - low
    low, high = (max(min(low, *ends), low - span), min(max(high, *ends), high + span)) if ends else (low, high)
    return Scale(low - 0.03 * (high - low), high + 0.03 * (high - low))


def _padded(values: Sequence[float], log: bool = False) -> Scale:
    low, high = min(values), max(values)
    if log:
        room = (high / low) ** 0.08
        return Scale(low / room, high * room, True)
    room = 0.09 * (high - low) or 0.05 * abs(high) or 1.0
    return Scale(low - room, high + room)


def _front(points: dict[str, tuple[float, float]], metric: str) -> list[str]:
    """The Pareto-optimal arms by cost and metric, cheapest first."""
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    front: list[str] = []
    for arm, (_, score) in sorted(points.items(), key=lambda item: (item[1][0], -sign * item[1][1])):
        if not front or sign * score > sign * points[front[-1]][1]:
            front.append(arm)
    return front


def _labelled(positions: dict[str, tuple[float, float]], first: Iterable[str]) -> set[str]:
    """The arms whose names fit beside their dots; those of `first` take precedence."""
    taken: list[tuple[float, float, float]] = []
    labelled = set()
    for arm in dict.fromkeys([*first, *positions]):
        if arm not in positions:
            continue
        x, y = positions[arm]
        width = 1.3 * min(len(arm), 30) + 4
        left, right = (x - width, x) if x > 55 else (x, x + width)
        crowded = any(low < right and left < high and abs(y - level) < 6 for low, high, level in taken)
        on_dots = any(other != arm and left < a < right and abs(b - y) < 4 for other, (a, b) in positions.items())
        if not crowded and not on_dots:
            labelled.add(arm)
            taken.append((left, right, y))
    return labelled


def _grid(x: Scale, y: Scale, metric: str) -> tuple[list[Mark], list[Mark]]:
    """The ticks of the metric's axis and of the axis of time."""
    scores = [value for value in y.ticks(5) if value <= 1 or not is_share(metric)]
    up = [Mark("y", f"bottom:{y.at(v)}%", f"{100 * v:g}%" if is_share(metric) else f"{v:g}") for v in scores]
    return up, [Mark("x", f"left:{x.at(v)}%", duration(v).removesuffix(" 00 s")) for v in x.ticks(5)]
