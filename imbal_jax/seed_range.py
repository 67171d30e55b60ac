"""`config.seeds`: how many seeds an experiment has (8: seeds 0 to 7), or which ('8:16': seeds 8 to 15), for job arrays."""

import re
from typing import Any

from imbal_jax.errors import UserError

MOST = 100_000  # at once
LARGEST = 2**32  # all seeds are below: keys are made of 32 bits


def of(asked: Any) -> range:
    """The seeds that a config asks for.

    Args:
        asked: a whole number N (seeds 0 to N - 1), or the text 'FIRST:END' (END is not among them) or 'N'.

    Raises:
        UserError: anything else, no seed, or more than 100,000 of them.
    """
    if isinstance(asked, bool) or not isinstance(asked, (int, float, str)):
        raise UserError(f"config.seeds must be a number, or a text such as '8:16' (got {asked!r:.100})")
    if isinstance(asked, str):
        if not (parts := re.fullmatch(r"\s*(?:([0-9]{1,10})\s*:)?\s*([0-9]{1,10})\s*", asked)):
            raise UserError(f"config.seeds must be a number (8), or FIRST:END (8:16 are the seeds 8 to 15) (got {asked!r:.60})")
        found = range(int(parts[1] or 0), int(parts[2]))
    elif not asked >= 1:  # NaN is caught as well
        raise UserError(f"config.seeds must be at least 1 (got {asked!r:.40})")
    elif asked > MOST or asked != int(asked):
        raise UserError(f"config.seeds must be a whole number of at most {MOST} (got {asked!r:.40})")
    else:
        found = range(int(asked))
    if not found or found.stop > LARGEST or len(found) > MOST:
        raise UserError(f"config.seeds must be 1 to {MOST} seeds, END after FIRST and at most {LARGEST} (got {asked!r:.60})")
    return found


def or_none(asked: Any) -> range:
    """The same of a config that may be damaged or say nothing: then no seed."""
    try:
        return of(asked)
    except UserError:
        return range(0)


def written(seeds: range) -> int | str:
    """The shortest way to ask for these seeds: the inverse of `of`."""
    return seeds.stop if seeds.start == 0 else f"{seeds.start}:{seeds.stop}"
