"""Interim analyses: how much of the 5 % error each analysis of a growing set of seeds may spend.

Each further analysis of the same experiment with more seeds adds a chance of a false verdict. An alpha-spending function
(Lan and DeMets 1983, "Discrete sequential boundaries for clinical trials"; its power family: Kim and DeMets 1987) says how
much of the error may be spent by n seeds. An analysis spends the increase of the function since the previous one. The sum
over all analyses never exceeds the error, however many there are and wherever the experiment ends. Bonferroni's bound replaces
the joint distribution of the analyses, so this holds for any test and any interval.

95 % of the error is for the seeds planned before the first analysis, 5 % for all seeds added later.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

PLANNED = 0.95  # of the error, for the analyses up to the planned number of seeds
UNPLANNED_ANALYSES = 3  # power of the function: little is spent early if analyses were not planned
PLANNED_ANALYSES = 1  # equal shares, for a stop rule that analyses at equal steps


class Plan(NamedTuple):
    """The plan made before the first analysis.

    Attributes:
        seeds: planned number of seeds, at least 1.
        power: of the spending function; 1 gives equal steps equal shares.
    """

    seeds: int
    power: int = UNPLANNED_ANALYSES


class History(NamedTuple):
    """The earlier analyses of an experiment.

    Attributes:
        plan: see `Plan`.
        seeds: for each arm the numbers of seeds at earlier analyses that could have given a verdict.
        changed: what was changed after the first analysis (metric, margin, baseline), in words; '' if nothing. There
            are no verdicts after a change: a choice made by looking at data cannot be tested on the same data.
        joined: whether the seeds are those of several workdirs, such as the jobs of an array.
    """

    plan: Plan
    seeds: Mapping[str, Iterable[int]] = {}
    changed: str = ""
    joined: bool = False


def spending(n: int, plan: Plan) -> float:
    """The share of the error that all analyses with up to n seeds may spend; it increases from 0 towards 1."""
    t = n / plan.seeds
    return PLANNED * t**plan.power if t <= 1 else 1.0 - (1.0 - PLANNED) / t


def share(n: int, arm: str, history: History | None) -> float:
    """The share of the error that the analysis of one arm with n seeds may spend.

    Repeating an analysis with the same number of seeds spends nothing more.

    Args:
        n: seeds of the arm, failed ones included.
        arm: its name.
        history: the earlier analyses; None for a single, final analysis.

    Returns:
        float in [0, 1].
    """
    if history is None:
        return 1.0
    before = max((earlier for earlier in history.seeds.get(arm, ()) if earlier < n), default=0)
    return spending(n, history.plan) - (spending(before, history.plan) if before else 0.0)
