"""One configuration field as one declaration, and the check of a value against it."""

import importlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from imbal_jax.errors import UserError, nearest

LONGEST = 20_000  # characters of a text
LARGEST = 1e12  # absolute value of a number without bounds of its own
KINDS = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple: "a tuple",
    dict: "a group of fields",
}


class Field(NamedTuple):
    """The declaration of a field.

    Attributes:
        name: as the user writes it after 'config.', such as 'gan.epochs'.
        default: the value where a config does not set the field; its type is the field's type. A float field accepts int.
        doc: one or two sentences: what it does, the unit, what 0 or '' means.
        minimum, maximum: smallest and largest value; None means `LARGEST` in absolute value.
        above, below: exclusive bounds.
        choices: the allowed values; or the path of their declaration, as 'package.module.NAME' (a sequence, or a function
            without arguments that returns one).
        check: the path of a function of the value that raises UserError, as 'package.module.name'; it replaces the other
            checks.
        extendable: whether the value may also be the dotted path of a module outside of the package.
    """

    name: str
    default: Any
    doc: str
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None
    choices: Sequence[Any] | str = ()
    check: str = ""
    extendable: bool = False


def is_whole(value: Any) -> bool:
    """Whether the value is a whole number; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def choices_of(field: Field) -> tuple[Any, ...]:
    """The allowed values; empty if the field has no list of them."""
    if not isinstance(field.choices, str):
        return tuple(field.choices)
    owner = _named(field.choices)
    return tuple(owner() if callable(owner) else owner)


def bounds_of(field: Field) -> str:
    """The field's bounds in words, such as 'at least 0, below 1'; '' if it has none."""
    bounds = (("above", field.above), ("at least", field.minimum), ("below", field.below), ("at most", field.maximum))
    return ", ".join(f"{word} {bound:,.12g}" for word, bound in bounds if bound is not None)


def _named(path: str) -> Any:
    module, name = path.rsplit(".", 1)
    return getattr(importlib.import_module(module), name)


def check_value(field: Field, value: Any) -> None:
    """Raise UserError unless the field allows the value."""
    if field.check:
        _named(field.check)(value)
    elif (problem := _problem(field, value)) is not None:
        raise UserError(f"config.{field.name} {problem}")


def check_group(fields: Iterable[Field], values: Mapping[str, Any], owner: str) -> None:
    """Check the values of a group of fields, such as a data set's options.

    Args:
        fields: their declarations, with names like 'data.size'.
        values: by the last part of the name.
        owner: of the fields, for the message: 'the data set mitbih'.

    Raises:
        UserError: a name without a declaration, or a value that is not allowed.
    """
    declared = {field.name.rsplit(".", 1)[-1]: field for field in fields}
    for name, value in values.items():
        if name not in declared:
            takes = f"its fields are {', '.join(declared)}" if declared else "it has none"
            raise UserError(f"{owner} has no field config.data.{name}{nearest(name, declared)}; {takes}")
        check_value(declared[name], value)


def _problem(field: Field, value: Any) -> str | None:
    """What is wrong, as the rest of a sentence that begins with the field's name; None if nothing is."""
    shown = f"(got {value!r:.100})"
    kind = dict if isinstance(field.default, Mapping) else type(field.default)
    if not _is_of(kind, value):
        return f"must be {KINDS[kind]} {shown}"
    if kind is str and (len(value) > LONGEST or "\0" in value):
        return f"must have at most {LONGEST} characters, none of them NUL (got {len(value)} characters)"
    if field.choices and not (field.extendable and "." in str(value)):
        return _problem_of_choice(value, choices_of(field), shown)
    return _problem_of_number(field, value) if kind in (int, float) else None


def _is_of(kind: type, value: Any) -> bool:
    if kind is tuple:
        return isinstance(value, tuple | list)
    if kind is dict:
        return isinstance(value, Mapping) or hasattr(value, "to_dict")
    if kind in (int, float):
        return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool)
    return isinstance(value, kind)


def _problem_of_choice(value: Any, choices: Sequence[Any], shown: str) -> str | None:
    # 1 == True: a number must not pass as a switch, nor a switch as a number.
    if any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in choices):
        return None
    listed = ", ".join(str(choice) or "''" for choice in choices)
    hint = nearest(value, map(str, choices)) if isinstance(value, str) else ""
    return f"must be one of {listed} {shown}{hint}"


def _problem_of_number(field: Field, value: float) -> str | None:
    minimum = -LARGEST if field.minimum is None else field.minimum
    maximum = LARGEST if field.maximum is None else field.maximum
    shown = f"(got {value!r:.40})"
    if isinstance(value, float) and not math.isfinite(value):
        return f"must be a finite number {shown}"
    if field.above is not None and not value > field.above:
        return f"must be above {field.above:g} {shown}"
    if field.below is not None and not value < field.below:
        return f"must be below {field.below:g} {shown}"
    if value < minimum:
        return f"must be at least {minimum:.12g} {shown}"
    return None if value <= maximum else f"must be at most {maximum:.12g} {shown}"
