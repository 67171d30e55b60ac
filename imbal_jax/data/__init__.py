"""Data sources, one file each: `imbal_jax/data/<name>.py` exports `load(directory, source, per_class) -> Dataset`."""

import importlib
import pkgutil

from imbal_jax.data.dataset import Dataset, Rows
from imbal_jax.errors import UserError, nearest

__all__ = ["Dataset", "Rows", "load"]


def load(name: str, *, directory: str | None = None, source: str = "auto", per_class: int | None = None) -> Dataset:
    """Load the data set that the file `imbal_jax/data/<name>.py` describes.

    Args:
        name: the file's name, such as 'mnist'.
        directory: where to look; None means the environment variable IMBAL_DATA_DIR, else the data set's own defaults.
        source: 'auto' tries the data set's sources in their order; one of their names pins it.
        per_class: keep only the first so many training rows of each class; None keeps all. The test set stays whole.

    Raises:
        UserError: unknown name or source, nothing found, or files that are damaged or hold something else.
    """
    modules = [module.name for module in pkgutil.iter_modules(__path__)]
    loader = getattr(importlib.import_module(f"{__name__}.{name}"), "load", None) if name in modules else None
    if loader is None:
        known = [module for module in modules if hasattr(importlib.import_module(f"{__name__}.{module}"), "load")]
        raise UserError(f"unknown data set {name!r} (data.name){nearest(name, known)}; known: {', '.join(known)}")
    return loader(directory, source, per_class)
