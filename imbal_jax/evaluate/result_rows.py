"""Read and validate rows.jsonl: one row for each (method, seed), with the fields that the report needs."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from imbal_jax.artifacts import json_files
from imbal_jax.errors import UserError
from imbal_jax.evaluate.metrics import is_metric

COUNTS = ("counts_before", "counts_after")
NUMBERS = ("seconds", "gan_seconds", "classifier_seconds", "compile_seconds", "epoch_seconds", "examples_seen", "lanes")


def read(path: Path, test_counts: Sequence[int] | None = None) -> list[dict[str, Any]]:
    """The rows of a run, each (method, seed) once; [] if there is no file.

    Repeated lines are counted once, with a warning. Lines of older versions have no digest; one warning says so.

    Args:
        path: of rows.jsonl.
        test_counts: test rows of each class, [K]; None if unknown, then all rows must agree.

    Raises:
        UserError: a damaged or altered line, a field of the wrong type, a confusion matrix of a different test set, or two
            different lines with the same (method, seed).
    """
    rows, undigested = json_files.read_with_digests(path)
    if undigested:
        _say_undigested(path, undigested, len(rows))
    for number, row in enumerate(rows, 1):
        if why := problem(row):
            raise UserError(f"{path}: line {number} is not a valid result ({why}); remove that line to have it computed again")
    _refuse_other_test_set(path, rows, test_counts)
    known: dict[tuple[str, int], dict[str, Any]] = {}
    repeated = []
    for number, row in enumerate(rows, 1):
        first = known.setdefault((row["method"], row["seed"]), row)
        if first is row:
            continue
        if first != row:
            raise UserError(
                f"{path}: line {number} is a second, different result of {row['method']!r} on seed {row['seed']}; "
                "remove the wrong one of the two lines"
            )
        repeated.append(number)
    if repeated:
        logging.warning("%s: repeated lines are counted once: %s", path, ", ".join(map(str, repeated[:10])))
    return list(known.values())


@functools.cache  # a run reads its rows several times
def _say_undigested(path: Path, undigested: int, total: int) -> None:
    text = "%s: %d of %d lines have no digest (written by an older version): changes to them cannot be detected"
    logging.warning(text, path, undigested, total)


def problem(row: Mapping[str, Any]) -> str | None:
    """What is wrong with a single row, or None."""
    wrong = [name for name, (fits, needed) in _fields(row).items() if (name in row or needed) and not fits(row.get(name))]
    if wrong:
        value = repr(row[wrong[0]]) if wrong[0] in row else "missing"
        return f"{wrong[0]!r} is {value if len(value) <= 60 else value[:57] + '...'}"
    figures = [name for name in row if is_metric(name)]
    if not figures and not row.get("failed"):
        return "it has no metric"
    matrix, groups = row.get("confusion"), row.get("confusion_by_group")
    if matrix is not None and groups is not None and np.shape(groups)[1:] != np.shape(matrix):
        return "'confusion_by_group' has other classes than 'confusion'"
    return None


def test_counts_of(matrix: Sequence[Sequence[int]]) -> list[int]:
    """Test rows of each class, [K], of a confusion matrix with the true classes as its rows."""
    return [sum(line) for line in matrix]


def _fields(row: Mapping[str, Any]) -> dict[str, tuple[Callable[[Any], bool], bool]]:
    """For each field its check, and whether it is required."""
    fields: dict[str, tuple[Callable[[Any], bool], bool]] = {
        "method": (lambda value: isinstance(value, str) and bool(value.strip()), True),
        "seed": (lambda value: _is_count(value) and value < 2**32, True),
        "failed": (lambda value: value is None or isinstance(value, str), False),
        "confusion": (lambda value: value is None or _is_square(value), False),
        "confusion_by_group": (
            lambda value: value is None or (isinstance(value, list) and all(map(_is_square, value))),
            False,
        ),
    }
    fields["pr_curve"] = (lambda value: value is None or _is_table(value), False)
    fields |= dict.fromkeys(("point", "source", "digest", "device"), (_is_text, False))
    fields |= dict.fromkeys(COUNTS, (_is_counts, False))
    fields |= dict.fromkeys(NUMBERS, (_is_number, False))
    fields |= {name: (_is_number, False) for name in row if is_metric(name) or name.endswith("_with_twins")}
    return fields


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_number(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and math.isfinite(value))


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_counts(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(map(_is_count, value)))


def _is_square(value: Any) -> bool:
    if not isinstance(value, list) or not all(isinstance(line, list) and len(line) == len(value) for line in value):
        return False
    return all(map(_is_count, (cell for line in value for cell in line)))


def _is_table(value: Any) -> bool:
    """Whether it is a list of lists of numbers, or null, all of one length."""
    if not isinstance(value, list) or not all(isinstance(line, list) and len(line) == len(value[0]) for line in value):
        return False
    return all(map(_is_number, (cell for line in value for cell in line)))


def _refuse_other_test_set(path: Path, rows: Sequence[Mapping[str, Any]], known: Sequence[int] | None) -> None:
    """Raise UserError unless every confusion matrix has the test set's number of rows of each class."""
    whose = "the test set has"
    for number, row in enumerate(rows, 1):
        if (matrix := row.get("confusion")) is None:
            continue
        counts = test_counts_of(matrix)
        if known is None:
            known, whose = counts, f"line {number} has"
        if list(known) != counts:
            raise UserError(
                f"{path}: the confusion matrix of line {number} has {sum(counts)} test rows ({_listed(counts)} by class), and "
                f"{whose} {sum(known)} ({_listed(known)}); remove that line to have it computed again"
            )
        groups = row.get("confusion_by_group")
        summed = [[sum(cells) for cells in zip(*lines, strict=True)] for lines in zip(*groups, strict=True)] if groups else []
        if groups and not _within(matrix, summed):
            raise UserError(f"{path}: line {number}: 'confusion_by_group' lacks rows of 'confusion'; remove that line")


def _within(matrix: Sequence[Sequence[int]], other: Sequence[Sequence[int]]) -> bool:
    """Whether no cell of the matrix exceeds that of `whole`, which also counts test rows that are in the training set."""
    return all(a <= b for line, other_line in zip(matrix, other, strict=True) for a, b in zip(line, other_line, strict=True))


def _listed(counts: Sequence[int]) -> str:
    shown = ", ".join(map(str, counts[:12]))
    return shown + (", ..." if len(counts) > 12 else "")


def with_length(row: dict[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The row with `steps`, `length` and `derived` (whether the two were computed here).

    Older rows lack them: every arm was trained for epochs of its own rows, without the last incomplete batch. With early
    stopping the number of steps is unknown.
    """
    if row.get("steps") is not None:
        return {**row, "derived": False}
    options, training_rows = config.get("classifier") or {}, sum(row.get("counts_after") or ())
    if not training_rows or options.get("patience") or not {"batch", "epochs"} <= options.keys():
        return {**row, "derived": False}
    batch = min(options["batch"], training_rows)
    epochs = options["epochs"]
    length = f"{epochs} epoch{'s' if epochs > 1 else ''} of the arm's own rows"
    return {**row, "steps": epochs * max(1, training_rows // batch), "length": length, "derived": True}
