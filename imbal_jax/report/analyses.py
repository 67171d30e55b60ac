"""analyses.json: the interim analyses of a growing set of seeds, so that the next one spends only the error that is left.

Every report and every evaluation of a stop rule is an analysis. The file has the seeds of each arm, the metric, the baseline,
the margin, and the plan made before the first analysis. Analysing the same seeds again is not a new one. See
`evaluate.interim`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from imbal_jax import seed_range
from imbal_jax.artifacts import json_files, json_kinds
from imbal_jax.errors import UserError
from imbal_jax.evaluate import interim, stats

FILE = "analyses.json"
FIXED = ("metric", "baseline", "margin")  # the first analysis fixes them
ENOUGH_OF_A_RULE = 64  # steps of a stop rule that count, for older runs without a ledger

_SEEDS = json_kinds.mapping_of(lambda value: json_kinds.is_count(value) and value < 2**32)
_FIXED = {"metric": json_kinds.is_text, "baseline": json_kinds.optional(json_kinds.is_text), "margin": json_kinds.is_number}
_FIELDS = {"seeds": _SEEDS, "spent": json_kinds.list_of(json_kinds.is_text)} | _FIXED


def _is_analysis(value: Any) -> bool:
    return json_kinds.record(_FIELDS, ("seeds", *FIXED))(value) and set(value.get("spent", ())) <= value["seeds"].keys()


def _is_plan(value: Any) -> bool:
    small = json_kinds.mapping_of(lambda number: json_kinds.is_count(number) and 0 < number < 2**32)
    return small(value) and "seeds" in value and value.keys() <= set(interim.Plan._fields)


_LEDGER = {
    "plan": json_kinds.optional(_is_plan),
    "analyses": json_kinds.list_of(_is_analysis),
    "firsts": json_kinds.list_of(_is_analysis),
}
_PAIR = json_kinds.record({"n": json_kinds.is_count, "seeds": json_kinds.optional(json_kinds.is_count)}, ("n",))
_RESULTS = {"paired": json_kinds.mapping_of(json_kinds.mapping_of(_PAIR))} | _FIXED


def read(folder: Path) -> dict[str, Any]:
    """The ledger {"plan": {"seeds", "power"} or None, "analyses": [...]}; for older runs, derived from results.json."""
    path = folder / FILE
    if path.exists():
        ledger = {"plan": None, "analyses": [], **json_files.read_object(path)}
        if why := json_kinds.wrong(ledger, _LEDGER):
            raise UserError(f"{path} is damaged ({why[:200]}): bring back the file as a run wrote it")
        return ledger
    earlier = json_files.read_object(folder / "results.json")
    if why := json_kinds.wrong(earlier, _RESULTS):
        raise UserError(f"{folder / 'results.json'} is damaged ({why[:200]}); delete it and run the same command again")
    analyses = [_of_results(earlier)] if earlier.get("paired") and earlier.get("metric") else []
    return {"plan": None, "analyses": analyses}


def begin(folder: Path, config: Mapping[str, Any]) -> None:
    """Store the plan before anything is analysed: the number of seeds, and whether a stop rule may end earlier."""
    ledger = read(folder)
    plan = planned(config)
    if plan and not ledger["analyses"] and ledger["plan"] != plan._asdict():
        json_files.write_json(folder / FILE, ledger | {"plan": plan._asdict()})


def planned(config: Mapping[str, Any]) -> interim.Plan | None:
    """The plan in a config; None if it does not give the number of seeds."""
    seeds = len(seeds_of(config))
    return (
        interim.Plan(seeds, interim.PLANNED_ANALYSES if config.get("stop") else interim.UNPLANNED_ANALYSES) if seeds else None
    )


def seeds_of(config: Mapping[str, Any]) -> range:
    """The seeds that a config asks for; empty if it does not say."""
    return seed_range.or_none(config.get("seeds"))


def history(
    ledger: Mapping[str, Any],
    config: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    now: Mapping[str, Any],
    earlier_analyses: int = 1,
) -> interim.History:
    """The earlier analyses as `stats.comparisons` takes them.

    Args:
        ledger: see `read`.
        config: gives the plan if the ledger has none.
        rows: as in rows.jsonl.
        now: the metric, baseline and margin of the analysis to be made.
        earlier_analyses: how often the stop rule of a run without a ledger was evaluated.
    """
    finished = len({row["seed"] for row in rows})
    plan = interim.Plan(**ledger["plan"]) if ledger.get("plan") else planned(config)
    if plan is None:
        plan = interim.Plan(max(1, finished))
    spent: dict[str, set[int]] = {}
    for analysis in ledger["analyses"]:
        for arm in analysis.get("spent", ()):
            spent.setdefault(arm, set()).add(int(analysis["seeds"][arm]))
    if earlier_analyses > 1 and not ledger["analyses"]:
        plan = interim.Plan(plan.seeds, interim.PLANNED_ANALYSES)
        steps = min(earlier_analyses, ENOUGH_OF_A_RULE)
        spent = {str(row["method"]): {-(-plan.seeds * step // steps) for step in range(1, steps)} for row in rows}
    return interim.History(plan, spent, changed(ledger, now), joined="firsts" in ledger)


def changed(ledger: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Which of metric, baseline and margin changed after the first analysis, in words; '' if none did."""
    firsts = ledger.get("firsts") or ledger["analyses"][:1]
    pairs = [(name, first[name], now[name]) for first in firsts for name in FIXED if first[name] != now[name]]
    if not pairs:
        return ""
    changes = dict.fromkeys(f"{name} changed from {before} to {after}" for name, before, after in pairs)
    return f"no verdict: {' and '.join(changes)} after the first analysis"


def record(folder: Path, ledger: Mapping[str, Any], plan: interim.Plan, analysis: dict[str, Any]) -> dict[str, Any]:
    """Store an analysis unless it is stored already; returns the ledger with it."""
    analyses = list(ledger["analyses"])
    if analysis not in analyses:
        analyses.append(analysis)
    updated = {"plan": ledger.get("plan") or plan._asdict(), "analyses": analyses}
    if updated != dict(ledger) or not (folder / FILE).exists():
        json_files.write_json(folder / FILE, updated)
    return updated


def analysis(paired: Mapping[str, Mapping[str, Any]], now: Mapping[str, Any]) -> dict[str, Any]:
    """The stored part of an analysis: the seeds of each arm, and the arms that could have had a verdict.

    Args:
        paired: as `stats.comparisons` returns it.
        now: metric, baseline and margin.
    """
    pairs = {arm: of_arm[now["metric"]] for arm, of_arm in paired.items() if now["metric"] in of_arm}
    able = {arm: stats.possible(pair["n"], len(pairs), pair["share"]) for arm, pair in pairs.items()}
    decidable = [arm for arm, pair in pairs.items() if able[arm] and _could_decide(pair)]
    return {"seeds": {arm: pair["seeds"] for arm, pair in pairs.items()}, "spent": decidable} | {
        name: now[name] for name in FIXED
    }


def counted(made: Sequence[Mapping[str, Any]], earlier: interim.History) -> list[int]:
    """The numbers of seeds (of the arm with the most) at the analyses that could give a verdict, ascending."""
    spent = {max(a["seeds"][arm] for arm in a["spent"]) for a in made if a.get("spent")}
    now = max(made[-1]["seeds"].values(), default=0)
    return sorted(spent | {n for of_arm in earlier.seeds.values() for n in of_arm if n < now})


def merged(
    ledgers: Iterable[tuple[Mapping[str, Any], Mapping[str, str]]], of_report: Mapping[str, Any], add_up: bool
) -> dict[str, Any]:
    """Merge the ledgers of joined runs with the ledger of their report.

    Args:
        ledgers: each run's ledger, and the names of its arms in the report.
        of_report: the ledger of the report itself.
        add_up: whether the runs are parts of one experiment with disjoint seeds; then their plans are summed.
    """
    analyses, plans, firsts = list(of_report["analyses"]), [], list(of_report["analyses"][:1])
    for ledger, names in ledgers:
        plans += [ledger["plan"]] if ledger.get("plan") else []
        firsts += ledger["analyses"][:1]
        for a in ledger["analyses"]:
            of_arms = {names.get(arm, arm): n for arm, n in a["seeds"].items()}
            analyses.append({**a, "seeds": of_arms, "spent": [names.get(arm, arm) for arm in a.get("spent", ())]})
    plan = of_report.get("plan")
    if plan is None and plans:
        planned_seeds = [p["seeds"] for p in plans]
        plan = {"seeds": sum(planned_seeds) if add_up else max(planned_seeds), "power": max(p["power"] for p in plans)}
    return {"plan": plan, "analyses": analyses, "firsts": firsts}


def _could_decide(pair: Mapping[str, Any]) -> bool:
    """Whether the data could give a verdict; one refused for other reasons (such as unequal steps) spends no error."""
    return pair["verdict"] != "none" or "collapsed" in str(pair["reason"])


def _of_results(results: Mapping[str, Any]) -> dict[str, Any]:
    """The analysis that an older results.json contains."""
    metric = results["metric"]
    pairs = {arm: of_arm[metric] for arm, of_arm in results["paired"].items() if metric in of_arm}
    of_arms = {arm: int(pair.get("seeds") or pair["n"]) for arm, pair in pairs.items()}
    decidable = [arm for arm, pair in pairs.items() if stats.possible(pair["n"], max(1, len(pairs)))]
    fixed = {"baseline": results.get("baseline"), "margin": results.get("margin", stats.MARGIN), "metric": metric}
    return {"seeds": of_arms, "spent": decidable, **fixed}
