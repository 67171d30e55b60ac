"""Kinds of JSON values: what a file that is read back must hold, so that damage in it is told and not met far from it."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

Kind = Callable[[Any], bool]


def is_text(value: Any) -> bool:
    """Whether it is a text."""
    return isinstance(value, str)


def is_number(value: Any) -> bool:
    """Whether it is a number; JSON has no NaN and no infinity."""
    return type(value) in (int, float)


def is_count(value: Any) -> bool:
    """Whether it is a whole number from 0 on."""
    return type(value) is int and value >= 0


def optional(kind: Kind) -> Kind:
    """Null, or of the kind."""
    return lambda value: value is None or kind(value)


def either(*kinds: Kind) -> Kind:
    """Of one of the kinds."""
    return lambda value: any(kind(value) for kind in kinds)


def list_of(kind: Kind) -> Kind:
    """A list of such values."""
    return lambda value: isinstance(value, list) and all(map(kind, value))


def mapping_of(kind: Kind) -> Kind:
    """An object with such values."""
    return lambda value: isinstance(value, dict) and all(map(kind, value.values()))


def record(kinds: Mapping[str, Kind], needed: Collection[str] = ()) -> Kind:
    """An object whose fields are of these kinds where they are there; others may be anything."""
    return lambda value: isinstance(value, dict) and wrong(value, kinds, needed) is None


def wrong(content: Mapping[str, Any], kinds: Mapping[str, Kind], needed: Collection[str] = ()) -> str | None:
    """The first field that is of another kind, or is needed and not there, in words; None if there is none."""
    for name, kind in kinds.items():
        if name in content and not kind(content[name]):
            return f"{name!r} is {repr(content[name])[:60]}"
    return next((f"{name!r} is missing" for name in needed if name not in content), None)
