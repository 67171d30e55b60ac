"""Balancing methods, one file each: `imbal_jax/methods/<name>.py` exports `make(task, **options) -> Method`."""

import importlib
import inspect
import pkgutil
import typing
from types import ModuleType, NoneType, UnionType
from typing import Any

import jax

from imbal_jax.errors import UserError, nearest
from imbal_jax.methods.method import Context, Head, Method, Stage, Task, Train
from imbal_jax.methods.recipe import Recipe, compose
from imbal_jax.methods.spec import Word, parse

__all__ = [
    "Context", "Head", "Method", "Recipe", "Stage", "Task", "Train",
    "build", "listing", "names", "parse", "recipe_of", "resample", "training_part",
]  # fmt: skip


def names() -> list[str]:
    """The names of all methods: the files of this folder that export `make`."""
    modules = [module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")]
    return [name for name in modules if hasattr(_module(name), "make")]


def build(spec: str, task: Task) -> list[Method]:
    """The methods of a spec, in order.

    Raises:
        UserError: an unreadable spec, an unknown method, an unknown option or a bad value, two words that exclude each other.
    """
    words = parse(spec)
    methods = [_make(word, task) for word in words]
    compose([word.text for word in words], methods)
    return methods


def resample(spec: str, task: Task, keys: jax.Array, train: Train, context: Context) -> Train:
    """Apply the resamplers of a spec one after the other; each sees the class counts that the one before left."""
    for i, word in enumerate(parse(spec)):
        method = _make(word, task._replace(counts=train.counts))
        if method.resample is not None:
            folded = jax.vmap(lambda key, i=i: jax.random.fold_in(key, i))(keys)
            train = method.resample(folded, train, context)
    return train


def training_part(spec: str, task: Task) -> str:
    """The spec without the words that act after the training alone: arms that share it share their training."""
    after = {"finetune", "fit", "predict"}
    words = []
    for word in parse(spec):
        hooks = {name for name, hook in _make(word, task)._asdict().items() if hook is not None}
        if hooks - after:
            words.append(word.text)
    return " | ".join(words) or "none"


def recipe_of(spec: str, task: Task, counts: tuple[int, ...]) -> Recipe:
    """What the words of a spec do in training and after it; `counts` are those that the resamplers left."""
    words = parse(spec)
    return compose([word.text for word in words], [_make(word, task._replace(counts=counts)) for word in words])


def listing() -> str:
    """All methods with what they do, their options with defaults, and their paper: plain text for a terminal."""
    return "\n\n".join(_entry(name) for name in names())


def _entry(name: str) -> str:
    module = _module(name)
    lines = inspect.cleandoc(module.make.__doc__ or "").splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith("Paper: ")), len(lines))
    paper = []
    for line in lines[start:]:
        if not line.strip():
            break
        paper.append(line.strip())
    options = ", ".join(str(o.replace(annotation=inspect.Parameter.empty)) for o in _options(module.make).values())
    summary = inspect.cleandoc(module.__doc__ or "").splitlines()[0]
    return "\n    ".join([f"{name}({options})", summary, *([" ".join(paper)] if paper else [])])


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def _options(make: Any) -> dict[str, inspect.Parameter]:
    return {name: parameter for name, parameter in inspect.signature(make).parameters.items() if name != "task"}


def _make(word: Word, task: Task) -> Method:
    known = names()
    if word.name not in known:
        raise UserError(f"unknown method {word.name!r}{nearest(word.name, known)}; known: {', '.join(known)}")
    make = _module(word.name).make
    options, kinds = _options(make), typing.get_type_hints(make)
    accepted = f"it takes {', '.join(f'{o.name}={o.default!r}' for o in options.values())}" if options else "it takes none"
    for name, value in word.options.items():
        if name not in options:
            raise UserError(f"method {word.name!r} has no option {name!r}{nearest(name, list(options))}; {accepted}")
        if not _is(value, kinds[name]):
            raise UserError(f"method {word.name!r}: {name}={value!r} is not {_kind(kinds[name])}; {accepted}")
    as_asked = {name: float(value) if kinds[name] is float else value for name, value in word.options.items()}
    return make(task, **as_asked)


def _is(value: Any, kind: Any) -> bool:
    """Whether a value fits a plain annotation; a whole number fits float, True is no number."""
    if isinstance(kind, UnionType):
        return any(_is(value, part) for part in kind.__args__)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else typing.get_origin(kind) or kind)


def _kind(kind: Any) -> str:
    words = {int: "a whole number", float: "a number", str: "a word", bool: "True or False", dict: "a dict", NoneType: "None"}
    parts = kind.__args__ if isinstance(kind, UnionType) else (kind,)
    return " or ".join(words.get(typing.get_origin(part) or part, str(part)) for part in parts)
