"""Kinds of JSON values, to check files that are read back, so that damage is reported where the file is read."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

Kind = Callable[[Any], bool]


def is_text(value: Any) -> bool:
    """Whether the value is a text."""
    return isinstance(value, str)


def is_number(value: Any) -> bool:
    """Whether the value is a number; JSON has no NaN and no infinity."""
    return type(value) in (int, float)


def is_count(value: Any) -> bool:
    """Whether the value is a whole number of at least 0."""
    return type(value) is int and value >= 0


def optional(kind: Kind) -> Kind:
    """A value of the kind, or null."""
    return lambda value: value is None or kind(value)


def either(*kinds: Kind) -> Kind:
    """A value of one of the kinds."""
    return lambda value: any(kind(value) for kind in kinds)


def list_of(kind: Kind) -> Kind:
    """A list of values of the kind."""
    return lambda value: isinstance(value, list) and all(map(kind, value))


def mapping_of(kind: Kind) -> Kind:
    """An object with values of the kind."""
    return lambda value: isinstance(value, dict) and all(map(kind, value.values()))


def record(kinds: Mapping[str, Kind], needed: Collection[str] = ()) -> Kind:
    """An object whose fields have these kinds where they are present; other fields may hold anything."""
    return lambda value: isinstance(value, dict) and wrong(value, kinds, needed) is None


def wrong(content: Mapping[str, Any], kinds: Mapping[str, Kind], needed: Collection[str] = ()) -> str | None:
    """What is wrong with the first field of another kind, or the first missing one, as text; None if nothing is."""
    for name, kind in kinds.items():
        if name in content and not kind(content[name]):
            return f"{name!r} is {repr(content[name])[:60]}"
    return next((f"{name!r} is missing" for name in needed if name not in content), None)
