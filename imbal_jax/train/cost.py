"""What an arm costs: every stage that it needs, whether another arm needs the same stage or not."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from imbal_jax.train import loop

Made = TypeVar("Made")


class Cost(NamedTuple):
    """What a stage costs one seed.

    Attributes:
        seconds: wall-clock time, divided by the seeds that ran together, without compilation.
        examples: rows that a network, or its last layer alone, was trained on.
    """

    seconds: float = 0.0
    examples: int = 0


def of_arm(stages: Mapping[str, Cost], shared: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a row: the seconds of each stage and of all, the examples of all.

    Args:
        stages: 'resample', 'plain' (the classifier of the real rows that a resampler or the choice of a GAN's state asks for),
            'gan', 'classifier' and 'second_stage'.
        shared: the stages whose result other arms of the run use as well: each of these arms counts them in full, for alone
            it would need them.
    """
    each = {f"{name}_seconds": cost.seconds for name, cost in stages.items()}
    return {
        "seconds": sum(cost.seconds for cost in stages.values()),
        **each,
        "examples_seen": sum(cost.examples for cost in stages.values()),
        "shared_stages": list(shared),
    }


class Stopwatch(NamedTuple):
    """Wall-clock time of a stage, without compilation and without the stages that it asks for.

    Attributes:
        seconds: so far.
        without: wraps a function whose time is not counted.
    """

    seconds: Callable[[], float]
    without: Callable[[Callable[[], Any]], Callable[[], Any]]


def stopwatch(compiling: Callable[[], float]) -> Stopwatch:
    """A stopwatch that runs from now on; `compiling` gives the seconds that the process has spent on compiling."""
    clock, elsewhere = loop.stopwatch(compiling), [0.0]

    def seconds() -> float:
        return clock() - sum(elsewhere)

    def without(make: Callable[[], Made]) -> Callable[[], Made]:
        def timed() -> Made:
            before = seconds()
            made = make()
            elsewhere.append(seconds() - before)
            return made

        return timed

    return Stopwatch(seconds, without)
