"""Charts that are drawn by the page itself, so that they follow its width and its light or dark setting."""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from imbal_jax.evaluate import stats
from imbal_jax.evaluate.metrics import LOWER_IS_BETTER
from imbal_jax.report.arm_table import TAG, labels
from imbal_jax.report.markup import band, capital, duration, gap, is_share, name_of, number, section, text
from imbal_jax.report.run import Run, baselines, mean_of, published, ranked, same_spec, values_of
from imbal_jax.report.style import arm_colours

LOG_FROM = 10.0  # costs that span more are drawn on a logarithmic axis
TIMES = (0.1, 0.3, 1, 3, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 36000, 86400)  # seconds
WORDLESS = {"none": "no verdict"}
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


class Scale(NamedTuple):
    """Where values lie on an axis, in percent of its length; a logarithmic one is of seconds."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """The place of a value; what lies beyond an end is put at the end."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, min(max(value, self.low), self.high)))
        return round(100 * (value - low) / (high - low), 2)

    def ticks(self, most: int) -> list[float]:
        """At most so many round values inside."""
        if self.log:
            found = [value for value in TIMES if self.low <= value <= self.high]
            return found[:: math.ceil(len(found) / most)] if found else []
        raw = (self.high - self.low) / most
        unit = 10.0 ** math.floor(math.log10(raw))
        step = next(s * unit for s in STEPS if s * unit >= raw)
        return [i * step for i in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def seeds(run: Run) -> str:
    """Every seed of every arm on a common scale, one tab for each of the chosen metric, accuracy and minority recall."""
    metrics = list(dict.fromkeys([run.results["metric"], "accuracy", *(["minority"] if run.data["minority"] else [])]))
    tabs = "".join(
        f'<input type="radio" name="metric" id="tab{i}"{" checked" if i == 0 else ""}>'
        f'<label for="tab{i}">{text(capital(name_of(metric)))}</label>'
        for i, metric in enumerate(metrics)
    )
    charts = "".join(f'<div class="chart">{_dots(run, metric)}</div>' for metric in metrics)
    note = "Strokes are seeds, the dot their mean, the bar its 95% interval (Student's t; an arrowhead where it goes on beyond "
    note += "the frame)."
    if len(run.results["seeds"]) < 2:
        note = "One seed: no interval."
    if any(_published(run, metric)[0] for metric in metrics):
        note += " Rings are the published figures of the same method."
    return section("Seed by seed", f'<div class="tabs">{tabs}{charts}</div>', note, _size(run))


def forest(run: Run) -> str:
    """Every arm's difference to the baseline with its interval, and the band of differences that are of no interest."""
    metric, margin = run.results["metric"], run.results["margin"]
    found = {arm: run.results["paired"].get(arm, {}).get(metric) or {} for arm in ranked(run)}
    found = {arm: pair for arm, pair in found.items() if pair.get("mean") is not None}
    if not found:
        return ""
    scale = _forest_scale([pair["mean"] for pair in found.values()], [pair["ci95"] for pair in found.values()], margin)
    shade = f'<i class="band" style="left:{scale.at(-margin)}%;width:{scale.at(margin) - scale.at(-margin):.2f}%"></i>'
    zero = f'<i class="zero" style="left:{scale.at(0.0)}%"></i>'
    label = labels(run)
    lines = []
    for arm, pair in found.items():
        ends, said = pair["ci95"], pair.get("verdict", "undecided")
        told = WORDLESS.get(said, said)
        marks = _bar(scale, ends) + f'<i class="mean" style="left:{scale.at(pair["mean"])}%"></i>'
        words = f"{gap(metric, pair['mean'])}" + (
            f", 95% interval {gap(metric, ends[0])} to {gap(metric, ends[1])}" if ends else ""
        )
        title = f"{text(arm)}: {words}, {told}"
        lines.append(
            f'<div class="arm {said}" title="{title}"><span class="name">{label[arm]}</span>'
            f'<span class="track">{shade}{zero}{marks}</span><span class="value">{gap(metric, pair["mean"])}</span></div>'
        )
    cut = " (an arrowhead: it goes on beyond the frame)" if _is_cut(scale, [pair["ci95"] for pair in found.values()]) else ""
    side = "left" if metric in LOWER_IS_BETTER else "right"
    note = f"Paired differences of {name_of(metric)} with 95% intervals{cut}; better is to the {side}. Grey band: "
    note += f"{band(metric, margin)}, within which a difference is of no interest."
    words = {"better": "green", "worse": "red", "equivalent": "blue"}
    shown = [f"{colour}: {word}" for word, colour in words.items() if any(p["verdict"] == word for p in found.values())]
    note += f" Colours: {', '.join(shown)}." if shown else " No arm has a verdict."
    title = f"Difference to '{run.results['baseline']}'"
    chart = "".join(lines) + _axis(scale, metric, signed=True)
    return section(title, f'<div class="forest">{chart}</div>', note, _size(run))


def cost(run: Run) -> str:
    """The seconds of a seed against the chosen metric, with the arms that no other beats in both joined by a line."""
    metric = run.results["metric"]
    spent = {arm: run.results["methods"][arm]["seconds"] for arm in ranked(run)}
    points = {arm: (spent[arm], mean_of(run, arm, metric)) for arm in spent}
    there = {arm: (x, y) for arm, (x, y) in points.items() if x and y is not None}
    if len(there) < 2:
        return ""
    times, scores = zip(*there.values(), strict=True)
    log = max(times) > LOG_FROM * min(times)
    x, y = _padded(times, log), _padded(scores)
    colours, place = arm_colours(list(run.results["methods"])), {arm: i for i, arm in enumerate(ranked(run), 1)}
    front = _front(there, metric)
    named = _labelled({arm: (x.at(a), y.at(b)) for arm, (a, b) in there.items()}, [*front, *baselines(run)])
    marks = _grid(x, y, metric)
    for arm, (seconds, score) in there.items():
        left, bottom = x.at(seconds), y.at(score)
        kind = "dot front" if arm in front else "dot"
        said = f"{text(arm)}: {duration(seconds)}, {number(metric, score)}"
        marks += f'<i class="{kind}" style="left:{left}%;bottom:{bottom}%;--c:{colours[arm]}" title="{said}">{place[arm]}</i>'
        if arm in named:
            side = f"right:{100 - left:.2f}%" if left > 55 else f"left:{left}%"
            marks += f'<span class="label{" to-left" if left > 55 else ""}" style="{side};bottom:{bottom}%">{text(arm)}</span>'
    units = ", logarithmic" if log else ""
    chart = f'<div class="scatter"><div class="plane">{marks}</div></div><p class="axis">time of a seed{units}</p>'
    note = f"Up: {capital(name_of(metric))}, mean over seeds{' (lower is better)' if metric in LOWER_IS_BETTER else ''}. "
    note += "Numbers are the arms' in the table above. Ringed: no other arm is both cheaper and better."
    return section(f"Cost and {name_of(metric)}", chart, note)


def _dots(run: Run, metric: str) -> str:
    arms = ranked(run)
    values = {arm: values_of(run, arm, metric) for arm in arms}
    beside, apart = _published(run, metric)
    everything = [v for arm in arms for v in values[arm]] + [v for _, _, v in beside] + list(apart.values())
    if not everything:
        return '<p class="note">No finished seed yet.</p>'
    room = max(0.12 * (max(everything) - min(everything)), 0.005)
    high = max(everything) + room
    scale = Scale(max(min(everything) - room, 0.0), min(high, 1.0) if is_share(metric) else high)
    colours, label = arm_colours(list(run.results["methods"])), labels(run)
    lines = "".join(f'<i class="ref" style="left:{scale.at(v)}%"></i>' for v in apart.values())
    out = []
    for arm in arms:
        summary = stats.summary(metric, values[arm])
        marks = _bar(scale, summary["ci95"]) + "".join(f'<i class="seed" style="left:{scale.at(v)}%"></i>' for v in values[arm])
        if summary["mean"] is not None:
            marks += f'<i class="mean" style="left:{scale.at(summary["mean"])}%"></i>'
        for who, value in ((who, value) for our, who, value in beside if our == arm):
            marks += f'<i class="theirs" style="left:{scale.at(value)}%" title="{text(who)}: {number(metric, value)}"></i>'
        out.append(
            f'<div class="arm" style="--c:{colours[arm]}"><span class="name">{label[arm]}</span>'
            f'<span class="track">{lines}{marks}</span><span class="value">{number(metric, summary["mean"])}</span></div>'
        )
    for source, value in apart.items():
        mark = f'{lines}<i class="mean" style="left:{scale.at(value)}%"></i>'
        out.append(
            f'<div class="arm published"><span class="name">{text(source)} {TAG}</span>'
            f'<span class="track">{mark}</span><span class="value">{number(metric, value)}</span></div>'
        )
    return "".join(out) + _axis(scale, metric)


def _published(run: Run, metric: str) -> tuple[list[tuple[str, str, float]], dict[str, float]]:
    """Figures of sources: (our arm, source, value) where an arm of ours is of the same method, and {source: value} else."""
    having = [(theirs, same_spec(run, theirs)) for theirs in published(run.config) if metric in theirs.figures]
    beside = [(arm, theirs.source, theirs.figures[metric]) for theirs, ours in having for arm in ours]
    return beside, {theirs.source: theirs.figures[metric] for theirs, ours in having if not ours}


def _size(run: Run) -> str:
    return "many" if len(run.results["methods"]) > 8 else ""


def _bar(scale: Scale, ends: Sequence[float] | None) -> str:
    if not ends:
        return ""
    left, right = (scale.at(end) for end in ends)
    bar = f'<i class="ci" style="left:{left}%;width:{max(right - left, 0.3):.2f}%"></i>'
    return (
        bar
        + ('<b class="beyond low">◂</b>' if _below(scale, ends) else "")
        + ('<b class="beyond high">▸</b>' if ends[1] > scale.high + _rounding(scale) else "")
    )


def _below(scale: Scale, ends: Sequence[float]) -> bool:
    return ends[0] < scale.low - _rounding(scale)


def _rounding(scale: Scale) -> float:
    return 1e-9 * (scale.high - scale.low)


def _is_cut(scale: Scale, intervals: Iterable[Sequence[float] | None]) -> bool:
    """Whether an interval goes on beyond the frame."""
    return any(_below(scale, ends) or ends[1] > scale.high + _rounding(scale) for ends in intervals if ends)


def _axis(scale: Scale, metric: str, signed: bool = False) -> str:
    unit, end = (100, "" if signed else "%") if is_share(metric) else (1, "")
    words = {value: f"{unit * value:{'+' if signed and value else ''}.4g}{end}".replace("-", "−") for value in scale.ticks(6)}
    marks = "".join(f'<b style="left:{scale.at(value)}%">{word}</b>' for value, word in words.items())
    return f'<div class="arm scale"><span class="name"></span><span class="ticks">{marks}</span></div>'


def _forest_scale(means: Sequence[float], intervals: Sequence[Sequence[float] | None], margin: float) -> Scale:
    """All means, 0 and the margin; intervals as far as they do not squeeze the rest to less than a third."""
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
    """The arms that no other arm beats in cost and metric at once, from the cheapest."""
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    front: list[str] = []
    for arm, (_, score) in sorted(points.items(), key=lambda item: (item[1][0], -sign * item[1][1])):
        if not front or sign * score > sign * points[front[-1]][1]:
            front.append(arm)
    return front


def _labelled(places: dict[str, tuple[float, float]], first: Iterable[str]) -> set[str]:
    """The arms whose names find room beside their dots: those of `first` before the others."""
    taken: list[tuple[float, float, float]] = []
    named = set()
    for arm in dict.fromkeys([*first, *places]):
        if arm not in places:
            continue
        x, y = places[arm]
        width = 1.3 * min(len(arm), 30) + 4
        left, right = (x - width, x) if x > 55 else (x, x + width)
        crowded = any(low < right and left < high and abs(y - level) < 6 for low, high, level in taken)
        on_dots = any(other != arm and left < a < right and abs(b - y) < 4 for other, (a, b) in places.items())
        if not crowded and not on_dots:
            named.add(arm)
            taken.append((left, right, y))
    return named


def _grid(x: Scale, y: Scale, metric: str) -> str:
    marks = ""
    for value in (v for v in y.ticks(5) if v <= 1 or not is_share(metric)):
        words = f"{100 * value:g}%" if is_share(metric) else f"{value:g}"
        marks += f'<i class="across" style="bottom:{y.at(value)}%"></i><b class="y" style="bottom:{y.at(value)}%">{words}</b>'
    for value in x.ticks(5):
        marks += f'<b class="x" style="left:{x.at(value)}%">{duration(value).removesuffix(" 00 s")}</b>'
    return marks
