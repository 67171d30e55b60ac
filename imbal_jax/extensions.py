"""Finds extensions by name: a file in one of the package's folders, or any importable module by its dotted path."""

import importlib
import importlib.util
import inspect
import pkgutil
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any

from imbal_jax.errors import UserError, nearest


@cache
def names(package: str, *exports: str) -> tuple[str, ...]:
    """The files of a package that export all these names, without those whose name begins with '_'.

    Args:
        package: its full name, such as 'imbal_jax.models'.
        exports: names that the modules must have.
    """
    folder = importlib.import_module(package).__path__
    files = [module.name for module in pkgutil.iter_modules(folder) if not module.name.startswith("_")]
    return tuple(name for name in files if _exports(importlib.import_module(f"{package}.{name}"), exports))


def find(package: str, name: str, field: str, *exports: str) -> ModuleType:
    """The module that a config field names.

    Args:
        package: the folder of the built-in modules, such as 'imbal_jax.models'.
        name: of a file there; or, with a dot in it, the dotted path of a user's module.
        field: the config field, for messages, such as 'classifier.model'.
        exports: names that the module must have.

    Raises:
        UserError: the module does not exist, cannot be imported, or has not all exports.
    """
    if "." in name:
        return _imported(name, field, exports)
    if not name.startswith("_") and name.isidentifier() and importlib.util.find_spec(f"{package}.{name}") is not None:
        module = importlib.import_module(f"{package}.{name}")
        if _exports(module, exports):
            return module
    built_in = names(package, *exports)
    raise UserError(
        f"config.{field} must be one of {', '.join(built_in)}, or the dotted path of a module (got {name!r})"
        f"{nearest(name, built_in)}"
    )


def _imported(path: str, field: str, exports: tuple[str, ...]) -> ModuleType:
    try:
        module = importlib.import_module(path)
    except Exception as problem:  # a user's module may raise anything
        why = f"{type(problem).__name__}: {problem}"
        raise UserError(f"config.{field}: the module {path!r} cannot be imported ({why:.300})") from problem
    if lacking := [name for name in exports if not hasattr(module, name)]:
        raise UserError(f"config.{field}: the module {path!r} has no {lacking[0]!r}: it must export {', '.join(exports)}")
    return module


def _exports(module: ModuleType, exports: tuple[str, ...]) -> bool:
    return all(hasattr(module, name) for name in exports)


def call(function: Callable[..., Any], owner: str, *args: Any, **options: Any) -> Any:
    """`function(*args, **options)`, for a function or class that an extension exports.

    Args:
        function: what is called.
        owner: the config field and its value, for messages, such as "config.gan.loss is 'my_package.my_loss'".
        args, options: what the library passes.

    Raises:
        UserError: it does not accept these arguments. What goes wrong inside it is raised as it is.
    """
    try:
        inspect.signature(function).bind(*args, **options)
    except TypeError as problem:
        given = ", ".join(f"{name}=..." for name in options)
        before = f"{len(args)} arguments{' and ' if options else ''}" if args else ""
        raise UserError(
            f"{owner}: {function.__name__} must accept {before}{given} ({problem}); see docs/extending.md"
        ) from problem
    return function(*args, **options)


def shapes(function: Callable[..., Any], owner: str, *args: Any) -> Any:
    """What an extension's function returns, as ShapeDtypeStructs; nothing is computed.

    Args:
        function: of arrays.
        owner: what it is, for messages.
        args: arrays or ShapeDtypeStructs.

    Raises:
        UserError: it fails on arguments of these shapes.
    """
    import jax  # here: data sets are loaded without it

    try:
        return jax.eval_shape(function, *args)
    except UserError:
        raise
    except Exception as problem:  # errors about shapes of jax and flax share no base class
        why = next(iter(str(problem).splitlines()), "")
        raise UserError(f"{owner} fails ({type(problem).__name__}: {why:.200}); see docs/extending.md") from problem
