"""Balancing methods, one file each: `imbal_jax/methods/<name>.py` exports `make(task, **options) -> Method`."""

import importlib
import inspect
import pkgutil
from types import ModuleType

import jax

from imbal_jax.errors import UserError, nearest
from imbal_jax.methods.method import Context, Method, Task, Train
from imbal_jax.methods.spec import Word, parse

__all__ = ["Context", "Method", "Task", "Train", "build", "names", "parse", "resample"]


def names() -> list[str]:
    """The names of all methods: the files of this folder that export `make`."""
    modules = [module.name for module in pkgutil.iter_modules(__path__)]
    return [name for name in modules if hasattr(_module(name), "make")]


def build(spec: str, task: Task) -> list[Method]:
    """The methods of a spec, in order.

    Raises:
        UserError: an unreadable spec, an unknown method, an unknown option or a bad value.
    """
    return [_make(word, task) for word in parse(spec)]


def resample(spec: str, task: Task, keys: jax.Array, train: Train, context: Context) -> Train:
    """Apply the resamplers of a spec one after the other; each sees the class counts that the one before left."""
    for i, word in enumerate(parse(spec)):
        method = _make(word, task._replace(counts=train.counts))
        if method.resample is not None:
            folded = jax.vmap(lambda key, i=i: jax.random.fold_in(key, i))(keys)
            train = method.resample(folded, train, context)
    return train


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def _make(word: Word, task: Task) -> Method:
    known = names()
    if word.name not in known:
        raise UserError(f"unknown method {word.name!r}{nearest(word.name, known)}; known: {', '.join(known)}")
    make = _module(word.name).make
    options = [name for name in inspect.signature(make).parameters if name != "task"]
    for option in word.options:
        if option not in options:
            accepted = f"it takes {', '.join(options)}" if options else "it takes none"
            raise UserError(f"method {word.name!r} has no option {option!r}{nearest(option, options)}; {accepted}")
    return make(task, **word.options)
