"""Checks of the options of data sets that several of them have."""

from typing import Any

from imbal_jax.errors import UserError


def is_whole(value: Any) -> bool:
    """Whether it is a whole number; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool)


def check_whole(option: str, value: Any, least: int, most: int | None = None) -> None:
    """Raise UserError where config.data.<option> is no whole number from `least` to `most`, or, without that, from there on."""
    if not is_whole(value) or value < least or (most is not None and value > most):
        until = "on" if most is None else f"to {most}"
        raise UserError(f"config.data.{option} is {value!r}: it must be a whole number from {least} {until}")


def check_share(option: str, value: Any) -> None:
    """Raise UserError where config.data.<option> does not lie between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
        raise UserError(f"config.data.{option} is {value!r}: it must lie between 0 and 1")


def check_flag(option: str, value: Any) -> None:
    """Raise UserError where config.data.<option> is neither True nor False."""
    if not isinstance(value, bool):
        raise UserError(f"config.data.{option} is {value!r}: it must be True or False")
