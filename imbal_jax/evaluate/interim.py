"""Interim analyses: how much of the error of 5 % each analysis of a growing set of seeds may use.

Every analysis of the same experiment with more seeds is a further chance of a false verdict. An alpha-spending function
(Lan and DeMets 1983, "Discrete sequential boundaries for clinical trials"; its power family: Kim and DeMets 1987) says how
much of the error may be used until n seeds are there. An analysis uses what the function has gained since the last one.
The sum over all analyses never exceeds the error, however many there are and wherever the experiment ends, and Bonferroni's
bound takes the place of the analyses' joint distribution, so this holds for any test and any interval.

95 % of the error belong to the seeds that were planned before the first analysis, 5 % to all seeds added after it.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

PLANNED = 0.95  # of the error, for the analyses up to the planned number of seeds
UNPLANNED_ANALYSES = 3  # power of the function: little is spent early, where analyses were not planned
PLANNED_ANALYSES = 1  # equal shares, where a stop rule analyses the seeds at equal steps


class Plan(NamedTuple):
    """What was decided before the first analysis.

    Attributes:
        seeds: how many there shall be, at least 1.
        power: of the spending function; 1 gives equal steps equal shares.
    """

    seeds: int
    power: int = UNPLANNED_ANALYSES


class History(NamedTuple):
    """The earlier analyses of an experiment.

    Attributes:
        plan: see `Plan`.
        seeds: for each arm the numbers of seeds at the earlier analyses that could have given a verdict.
        changed: what was changed after the first analysis (metric, margin, baseline), in words; '' for nothing. No analysis
            after a change gives a verdict: what was chosen by the data cannot be tested on them.
        joined: whether the seeds are those of several workdirs, such as the jobs of an array.
    """

    plan: Plan
    seeds: Mapping[str, Iterable[int]] = {}
    changed: str = ""
    joined: bool = False


def spending(n: int, plan: Plan) -> float:
    """The share of the error that all analyses with up to n seeds may use: it rises from 0 towards 1."""
    t = n / plan.seeds
    return PLANNED * t**plan.power if t <= 1 else 1.0 - (1.0 - PLANNED) / t


def share(n: int, arm: str, history: History | None) -> float:
    """The share of the error that the analysis of one arm with n seeds may use.

    Analyses with as many seeds are the same one, made again.

    Args:
        n: seeds of the arm, failed ones included.
        arm: its name.
        history: the earlier analyses; None for a single analysis of everything there will ever be.

    Returns:
        float in [0, 1].
    """
    if history is None:
        return 1.0
    before = max((earlier for earlier in history.seeds.get(arm, ()) if earlier < n), default=0)
    return spending(n, history.plan) - (spending(before, history.plan) if before else 0.0)
