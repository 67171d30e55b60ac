"""The headline of the page: how the method compares with the baseline, and how certain that is."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from imbal_jax.evaluate import stats
from imbal_jax.report.arm_table import interval_words, steps_words
from imbal_jax.report.formats import band, capital, gap, is_share, name_of, number, p_value
from imbal_jax.report.markup import render
from imbal_jax.report.run import BASELINE, Run, baselines, mean_of, ranked

FEW = 4  # methods besides the baseline; with more, the headline is about the best one
BADGES = {
    "better": "better than {baseline}",
    "worse": "worse than {baseline}",
    "equivalent": "equivalent within {margin}",
    "undecided": "undecided",
    "none": "no verdict",
    "few": "no verdict possible",
    "single": "one seed only",
    "unknown": "no comparison",
}


class Headline(NamedTuple):
    """The headline of the page, as plain text.

    Attributes:
        verdict: that of `stats.decide`, which the claim follows, or 'few' (too few seeds for any), 'single' (one seed) or
            'unknown'.
        arm: the subject of the claim; '' if there is nothing to compare.
        claim: the sentence after the arm's name.
        detail: the statistical evidence.
    """

    verdict: str
    arm: str
    claim: str
    detail: str


def header(run: Run) -> Markup:
    """The page's head."""
    words = headline(run)
    data, seeds, arms = run.data, run.results["seeds"], run.results["methods"]
    facts = [run.name, data.get("name"), f"{len(arms)} arms", f"{len(seeds)} seed{'s' if len(seeds) != 1 else ''}"]
    banners = [data["note"]] if data.get("note") else []
    if run.results["changed"]:
        banners.append(f"{capital(run.results['changed'])}. Differences and intervals are shown, without verdicts.")
    if run.results["missing"]:
        names = "; ".join(run.results["missing"])
        banners.append(f"This run is not finished: the page shows the results so far. Missing: {names}.")
    margin = band(run.results["metric"], run.results["margin"])
    badge = BADGES[words.verdict].format(baseline=_nothing(run), margin=margin)
    return render("header.html", facts=[fact for fact in facts if fact], banners=banners, badge=badge, headline=words)


def headline(run: Run) -> Headline:
    """How the config's method (with many arms, the best one) compares with the baseline on the seeds that both finished."""
    method, metric, arms = _method(run), run.results["metric"], run.results["methods"]
    if method is None:
        best = [f"{arm} reaches {number(metric, mean_of(run, arm, metric))}" for arm in arms]
        return Headline("unknown", "", f"Nothing to compare: {'; '.join(best)}.", "")
    pairs = _pairs(run, method)
    if not pairs:
        lost = arms[method]["failed"] == len(arms[method]["seeds"])
        why = "all its seeds failed" if lost else f"no seed has results of both it and '{run.results['baseline']}'"
        return Headline("unknown", method, f"cannot be compared with {_nothing(run)}: {why}.", "")
    ours, reference = (float(np.mean(side)) for side in zip(*pairs, strict=True))
    interval = run.results["paired"].get(method, {}).get(metric) or {}
    verdict = interval.get("verdict", "undecided") if interval.get("ci95") else "single"
    verdict = "few" if verdict == "undecided" and interval.get("reason") else verdict
    if all(mine == other for mine, other in pairs):
        figure = f"{number(run.results['metric'], ours)} against {number(run.results['metric'], reference)} {name_of(metric)}"
        return Headline(verdict, method, f"equals {_nothing(run)}: {figure}.", _evidence(run, method, interval))
    return Headline(verdict, method, _claim(run, ours, reference, verdict), _evidence(run, method, interval))


def _claim(run: Run, ours: float, reference: float, verdict: str) -> str:
    metric, other = run.results["metric"], _nothing(run)
    against = f"{number(metric, ours)} against {number(metric, reference)}"
    size = f"{100 * abs(ours - reference):.2f} points of {name_of(metric)}" if is_share(metric) else name_of(metric)
    difference = gap(metric, ours - reference)
    if verdict == "equivalent":
        within = band(metric, run.results["margin"])
        return f"is equivalent to {other} within {within}: {against} {name_of(metric)} ({difference})."
    if verdict == "undecided":
        return f"shows no clear difference from {other}: {against} {name_of(metric)} ({difference})."
    if verdict not in ("better", "worse"):
        reached = f"reached {number(metric, ours)} {name_of(metric)}, {other} {number(metric, reference)}"
        return f"{reached} ({difference}): no verdict."
    better = verdict == "better"
    if not is_share(metric):
        return f"has {'better' if better else 'worse'} {size} than {other}: {against}."
    return f"{'gained' if better else 'lost'} {size} {'over' if better else 'to'} {other}: {against}."


def _evidence(run: Run, method: str, interval: Mapping[str, Any]) -> str:
    metric, parts = run.results["metric"], []
    n = interval.get("n") or len(_pairs(run, method))
    if interval.get("ci95"):
        parts += [interval["reason"]] if interval.get("reason") else []
        parts.append(interval_words(run, interval))
        floor = f" (the lowest possible with {n} seeds: {2 / 2**n:.2g})" if interval.get("reason") and n < 25 else ""
        adjusted = p_value(interval["p_holm"])
        parts.append(f"sign-flip test p = {interval['p']:.2g}{floor}, {adjusted} adjusted for {_tests(run)}")
    else:
        parts.append("One seed: no interval, and no claim beyond this seed" if n == 1 else f"{n} paired seeds")
    parts += [steps_words(run, method)] if steps_words(run, method) else []
    arm_results = run.results["methods"][method]
    if arm_results["failed"]:
        parts.append(f"{arm_results['failed']} of {len(arm_results['seeds'])} seeds of this method failed")
    others = [arm for arm in run.results["methods"] if arm not in baselines(run)]
    best = ranked(run)[0]
    if len(others) > FEW:
        parts.append(f"chosen as the best of {len(others)} arms on the seeds it is evaluated on, which favours it")
    elif best != method and best not in baselines(run) and mean_of(run, best, metric) is not None:
        parts.append(f"the best arm was {best} with {number(metric, mean_of(run, best, metric))}")
    return "; ".join(parts) + "."


def _tests(run: Run) -> str:
    arms, times = len(run.results["paired"]), len(run.results["analyses"])
    return f"{arms} comparison{'s' if arms != 1 else ''}" + (f" and {times} interim analyses" if times > 1 else "")


def _method(run: Run) -> str | None:
    others = [arm for arm in ranked(run) if arm not in baselines(run)]
    configured = [arm for arm in others if arm == run.config.get("method")]
    return next(iter(configured if configured and len(others) <= FEW else others), None)


def _nothing(run: Run) -> str:
    baseline = run.results["baseline"]
    return "no balancing" if baseline == BASELINE else baseline


def _pairs(run: Run, method: str) -> list[tuple[float, float]]:
    metric = run.results["metric"]
    score = {(row["method"], row["seed"]): row.get(metric) for row in run.rows}
    lanes = [row for row in run.rows if row["method"] == method]
    others = {row["seed"]: stats.opponent(row, run.results["baseline"], run.results["methods"]) for row in lanes}
    pairs = [(score[method, seed], score.get((other, seed))) for seed, other in others.items()]
    return [(ours, reference) for ours, reference in pairs if ours is not None and reference is not None]
