"""`config.seeds`: the number of seeds (8: seeds 0 to 7), or their range ('8:16': seeds 8 to 15), as for job arrays."""

import re
from typing import Any

from imbal_jax.errors import UserError

MOST = 100_000  # seeds of one run
LARGEST = 2**32  # all seeds are below it: 32 bits are folded into the key


def of(value: Any) -> range:
    """The seeds that a value of `config.seeds` means.

    Args:
        value: a whole number N (seeds 0 to N - 1), or the text 'FIRST:END' (END is not among them) or 'N'.

    Raises:
        UserError: another value, an empty range, or more than 100,000 seeds.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise UserError(f"config.seeds must be a number, or a text such as '8:16' (got {value!r:.100})")
    if isinstance(value, str):
        if not (parts := re.fullmatch(r"\s*(?:([0-9]{1,10})\s*:)?\s*([0-9]{1,10})\s*", value)):
            raise UserError(f"config.seeds must be a number (8), or FIRST:END (8:16 are the seeds 8 to 15) (got {value!r:.60})")
        seeds = range(int(parts[1] or 0), int(parts[2]))
    elif not value >= 1:  # True for NaN
        raise UserError(f"config.seeds must be at least 1 (got {value!r:.40})")
    elif value > MOST or value != int(value):
        raise UserError(f"config.seeds must be a whole number of at most {MOST} (got {value!r:.40})")
    else:
        seeds = range(int(value))
    if not seeds or seeds.stop > LARGEST or len(seeds) > MOST:
        raise UserError(f"config.seeds must be 1 to {MOST} seeds, END after FIRST and at most {LARGEST} (got {value!r:.60})")
    return seeds


def or_none(value: Any) -> range:
    """As `of`; no seeds where the value is missing or malformed."""
    try:
        return of(value)
    except UserError:
        return range(0)


def written(seeds: range) -> int | str:
    """The shortest value of `config.seeds` for these seeds: the inverse of `of`."""
    return seeds.stop if seeds.start == 0 else f"{seeds.start}:{seeds.stop}"
