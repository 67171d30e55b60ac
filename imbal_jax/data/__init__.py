"""Data sources, one file each: `imbal_jax/data/<name>.py` exports `load(directory, source, per_class) -> Dataset`.

What a source needs to be told beyond that, it takes by keyword: the options.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

from imbal_jax.data.dataset import Dataset, Rows, check_twins
from imbal_jax.errors import UserError, nearest

__all__ = ["Dataset", "Rows", "load"]


def load(
    name: str,
    *,
    directory: str | None = None,
    source: str = "auto",
    per_class: int | None = None,
    options: Mapping[str, Any] = {},
) -> Dataset:
    """Load the data set that the file `imbal_jax/data/<name>.py` describes.

    Args:
        name: the file's name, such as 'mnist'.
        directory: where to look; None means the environment variable IMBAL_DATA_DIR, else the data set's own defaults.
        source: 'auto' tries the data set's sources in their order; one of their names pins it.
        per_class: keep only the first so many training rows of each class; None keeps all. The test set stays whole.
        options: what else the data set's own `load` takes, by name.

    Raises:
        UserError: unknown name, source or option, nothing found, files that are damaged or hold something else, or a test
            set whose rows are all training rows, too.
    """
    modules = [module.name for module in pkgutil.iter_modules(__path__)]
    loader = getattr(importlib.import_module(f"{__name__}.{name}"), "load", None) if name in modules else None
    if loader is None:
        known = [module for module in modules if hasattr(importlib.import_module(f"{__name__}.{module}"), "load")]
        raise UserError(f"unknown data set {name!r} (data.name){nearest(name, known)}; known: {', '.join(known)}")
    _check_options(name, loader, options)
    found = loader(directory, source, per_class, **options)
    check_twins(found)
    return found


def _check_options(name: str, loader: Callable[..., Dataset], options: Mapping[str, Any]) -> None:
    every = inspect.signature(loader).parameters.values()
    own = {option.name: option.default for option in every if option.kind is option.KEYWORD_ONLY}
    for option in options:
        if option not in own:
            takes = f"it takes {', '.join(own)}" if own else "it takes none"
            raise UserError(f"the data set {name} has no option config.data.{option}{nearest(option, own)}; {takes}")
    for option, default in own.items():
        if default is inspect.Parameter.empty and option not in options:
            raise UserError(f"the data set {name} needs config.data.{option}: set it")
