"""Balancing methods, one file each, which exports `make(task, **options) -> Method`.

The folders say what a method acts on: the rows of the training set (`rows`), the choice of rows for a batch (`batches`), the
examples of a batch (`inputs`), the loss (`losses`), or the trained network (`after`). A spec names a method by its file's name
alone, or by the dotted path of a module of one's own.
"""

import importlib
import inspect
import keyword
import typing
from collections.abc import Mapping, Set
from functools import cache
from types import ModuleType, NoneType, UnionType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax import extensions
from imbal_jax.data.batches import Batch
from imbal_jax.errors import UserError, nearest
from imbal_jax.methods.method import Context, Head, Method, Stage, Task, Train
from imbal_jax.methods.recipe import Recipe, compose
from imbal_jax.spec import Word, parse, written

__all__ = [
    "Context", "Head", "Method", "Recipe", "Stage", "Task", "Train",
    "AFTER", "STEP", "build", "check_transforms", "listing", "names", "numbers", "parse", "part", "recipe_of", "resample",
    "skeleton", "training_part", "with_options",
]  # fmt: skip


MOST = {  # the largest number of each option, whatever the method
    "to": 10**9, "k": 10**4, "m": 10**4, "enn_k": 10**4, "epochs": 10**5, "batch": 10**6, "learning_rate": 1e4, "grid": 10**5,
    "passes": 1000, "pad": 1000, "knots": 1000, "candidates": 1000, "classes": 10**6, "tail": 10**6, "largest": 1e9,
}  # fmt: skip
MOST_OTHERS = 1e6
FOLDERS = ("rows", "batches", "inputs", "losses", "after")
STEP = {"sample", "transform", "logits", "weight", "loss"}  # the hooks that are compiled into the training step
AFTER = {"fit", "predict"}  # the hooks that correct the trained network's outputs


def names() -> list[str]:
    """The names of all methods of the package."""
    return sorted(_paths())


@cache
def _paths() -> Mapping[str, str]:
    """The dotted path of each method's module, by the file's name, which is unique."""
    return {
        name: f"{__name__}.{folder}.{name}" for folder in FOLDERS for name in extensions.names(f"{__name__}.{folder}", "make")
    }


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
            _check_train(train, word, len(keys), context)
    return train


def _check_train(train: Any, word: Word, lanes: int, context: Context) -> None:
    """Check that a resampler returned training sets of all lanes whose shapes fit together.

    Of a method from outside of the package the order of the rows is checked as well.

    Raises:
        UserError: the first thing that is wrong.
    """
    text = word.text
    if not isinstance(train, Train):
        raise UserError(f"method {text!r}: resample must return an imbal_jax.methods.Train (got {type(train).__name__})")
    pool, real = train.pool, context.shared.x
    new = pool.new_y.shape[-1]
    wanted: dict[str, tuple[Any, tuple[int, ...]]] = {
        "pool.rows": (pool.rows, (lanes, sum(train.counts))),
        "pool.new_x": (pool.new_x, (lanes, new, *real.shape[1:])),
        "pool.new_y": (pool.new_y, (lanes, new)),
        "parents": (train.parents, (lanes, new, train.parents.shape[-1])),
    }
    for name, (array, shape) in wanted.items():
        if array.shape != shape:
            raise UserError(f"method {text!r}: {name} of the resampled set must have shape {shape} (got {array.shape})")
    if pool.new_x.dtype != real.dtype:
        raise UserError(
            f"method {text!r}: pool.new_x must have the dtype {real.dtype} of the real rows (got {pool.new_x.dtype})"
        )
    if "." in word.name and not np.array_equal(_labels(train, context), _class_by_class(train.counts, lanes)):
        raise UserError(f"method {text!r}: rows must lie class by class, counts[k] rows of class k; see docs/extending.md")


def _labels(train: Train, context: Context) -> np.ndarray:
    """The labels of the rows of all lanes, [L, M]; -1 for a row number that does not exist."""
    rows, new_y = np.asarray(train.pool.rows), np.asarray(train.pool.new_y)
    real_y = np.broadcast_to(np.asarray(context.shared.y), (len(rows), len(context.shared.y)))
    known = np.concatenate([real_y, new_y, np.full((len(rows), 1), -1)], axis=1)
    outside = known.shape[1] - 1
    return np.take_along_axis(known, np.where((rows >= 0) & (rows < outside), rows, outside), axis=1)


def _class_by_class(counts: tuple[int, ...], lanes: int) -> np.ndarray:
    return np.tile(np.repeat(np.arange(len(counts)), counts), (lanes, 1))


def check_transforms(spec: str, task: Task) -> None:
    """Check that batch augmentations from outside of the package keep a batch's shapes and dtypes; only shapes are evaluated.

    Raises:
        UserError: one fails or does not.
    """
    x, t = jnp.zeros((4, *task.shape), jnp.float32), jnp.zeros((4, len(task.counts)), jnp.float32)
    for word in parse(spec):
        transform = _make(word, task).transform if "." in word.name else None  # the package's own are checked by its tests
        if transform is None:
            continue

        def applied(key: jax.Array, batch: Batch, progress: jax.Array, transform: Any = transform) -> Batch:
            return transform(key, batch, lambda *_: batch, progress)

        what = f"method {word.text!r}: transform(key, batch, draw, progress)"
        after = extensions.shapes(applied, what, jax.random.key(0), Batch(x, t), jnp.zeros((), jnp.float32))
        leaves = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(after)]
        if not isinstance(after, Batch) or leaves != [(x.shape, x.dtype), (t.shape, t.dtype)]:
            raise UserError(f"{what} must return a Batch with the shapes and dtypes of the one it gets; see docs/extending.md")


def part(spec: str, task: Task, hooks: Set[str]) -> str:
    """The words of a spec that have one of these hooks (see `Method`), as a spec; '' where there is none."""
    return " | ".join(word.text for word in parse(spec) if _hooks(word, task) & hooks)


def training_part(spec: str, task: Task) -> str:
    """The spec without the words that act after the training alone: arms that share it share their training."""
    return part(spec, task, {"resample"} | STEP) or "none"


def _hooks(word: Word, task: Task) -> set[str]:
    return {name for name, hook in _make(word, task)._asdict().items() if callable(hook)}


def recipe_of(spec: str, task: Task, counts: tuple[int, ...], values: Mapping[str, jax.Array | float] | None = None) -> Recipe:
    """What the words of a spec do in training and after it.

    Args:
        spec: the methods.
        task: the problem.
        counts: rows of each class that the resamplers left.
        values: numbers to take in place of the spec's own, under the keys that `numbers` gives: floats, or float32
            scalars, traced or not. What is traced is taken as it is; floats are checked like the spec's.

    Raises:
        UserError: as `build`.
        ValueError: `values` has a key that `numbers` does not give.
    """
    values = values or {}
    unknown = sorted(values.keys() - numbers(spec).keys())
    if unknown:
        raise ValueError(f"method {spec!r} has no number {unknown[0]!r}; it has {', '.join(numbers(spec)) or 'none'}")
    words = [_with_values(i, word, values) for i, word in enumerate(parse(spec))]
    left = task._replace(counts=counts, real=task.counts)
    return compose([word.text for word in words], [_make(word, left) for word in words])


def numbers(spec: str) -> dict[str, float]:
    """The options of a spec that may be traced, with their values, defaults among them.

    The keys are 'place.name.option', as in {'1.mixup.alpha': 0.2} for 'over | mixup', in the order of the words and of
    their options. An option that was given something else than a number ('0.8,1.2' for affine's zoom) is none of them.
    """
    return {_key(i, word, option): value for i, word in enumerate(parse(spec)) for option, value in _traced(word).items()}


def skeleton(spec: str) -> str:
    """The spec with '_' for all `numbers`: 'over | mixup(alpha=_)'. Specs with equal skeletons differ in numbers alone."""
    words = []
    for word in parse(spec):
        blanks = dict.fromkeys(_traced(word), "_")
        words.append(written(word.name, blanks | {option: text for option, text in word.texts.items() if option not in blanks}))
    return " | ".join(words)


def with_options(spec: str, options: Mapping[str, Any]) -> str:
    """The spec with options set, in every word of the name.

    Args:
        spec: the methods.
        options: {'mixup.alpha': 0.4}: 'name.option' -> the value. Names that are not in the spec are ignored.

    Raises:
        UserError: a key of another form, an unknown method or option, a value of the wrong kind.
    """
    words = parse(spec)
    for key, value in options.items():
        name, dot, option = key.rpartition(".")
        if not dot:
            raise UserError(f"option {key!r} cannot be read; write METHOD.OPTION, as in mixup.alpha")
        text = _written_value(value)
        _checked(parse(written(name, {option: text}))[0])
        words = [_with_text(word, option, text) if word.name == name else word for word in words]
    return " | ".join(word.text for word in words)


def _written_value(value: Any) -> str:
    """As a spec has it: a word without quotes, so that sampling(kind=sqrt) has one name, however it came about."""
    if isinstance(value, str) and value.isidentifier() and not keyword.iskeyword(value):
        return value
    return repr(value.item() if isinstance(value, np.generic) else value)


def listing() -> str:
    """All methods with what they do, their options with defaults, and their paper: plain text for a terminal.

    The options after 'sweep:' are those of `numbers`.
    """
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
    traced = _traced_names(name)
    sweep = [f"sweep: {', '.join(traced)}"] if traced else []
    return "\n    ".join([f"{name}({options})", summary, *([" ".join(paper)] if paper else []), *sweep])


def _module(name: str) -> ModuleType:
    """The module of a method.

    Raises:
        UserError: there is no such method.
    """
    if "." in name:
        return extensions.find(__name__, name, "method", "make")
    if name not in _paths():
        raise UserError(f"unknown method {name!r}{nearest(name, names())}; known: {', '.join(names())}")
    return importlib.import_module(_paths()[name])


def _options(make: Any) -> dict[str, inspect.Parameter]:
    return {name: parameter for name, parameter in inspect.signature(make).parameters.items() if name != "task"}


def _key(place: int, word: Word, option: str) -> str:
    return f"{place}.{word.name}.{option}"


def _traced_names(name: str) -> tuple[str, ...]:
    return getattr(_module(name), "TRACED", ())


def _traced(word: Word) -> dict[str, float]:
    """The numbers of a word, given or default, that may be traced."""
    given, names = _checked(word), _traced_names(word.name)
    values = {o.name: given.get(o.name, o.default) for o in _options(_module(word.name).make).values() if o.name in names}
    return {name: float(value) for name, value in values.items() if isinstance(value, (int, float))}


def _with_values(place: int, word: Word, values: Mapping[str, Any]) -> Word:
    own = {option: values[key] for option in _traced_names(word.name) if (key := _key(place, word, option)) in values}
    return word._replace(options=word.options | own)


def _with_text(word: Word, option: str, text: str) -> Word:
    texts = word.texts | {option: text}
    return word._replace(text=written(word.name, texts), texts=texts)


def _make(word: Word, task: Task) -> Method:
    options = _checked(word)
    method = _module(word.name).make(task, **options)
    if not isinstance(method, Method):
        raise UserError(f"method {word.name!r}: make must return an imbal_jax.methods.Method (got {type(method).__name__})")
    return method


def _checked(word: Word) -> dict[str, Any]:
    """The options of a word, floats where its method asks for them.

    Raises:
        UserError: an unknown method or option, a value of the wrong kind.
    """
    make = _module(word.name).make
    options, kinds = _options(make), typing.get_type_hints(make)
    accepted = f"it takes {', '.join(f'{o.name}={o.default!r}' for o in options.values())}" if options else "it takes none"
    for name, value in word.options.items():
        if name not in options:
            raise UserError(f"method {word.name!r} has no option {name!r}{nearest(name, list(options))}; {accepted}")
        if isinstance(value, jax.Array):
            continue
        if not _is(value, kinds[name]):
            raise UserError(f"method {word.name!r}: {name}={value!r:.100} is not {_kind(kinds[name])}; {accepted}")
        _check_size(word.name, name, value)
    floats = {name for name, value in word.options.items() if kinds[name] is float and not isinstance(value, jax.Array)}
    return {name: float(value) if name in floats else value for name, value in word.options.items()}


def _check_size(method: str, name: str, value: Any) -> None:
    """Raise UserError for an absurdly large number, before a method computes with it; methods check their own lower bounds."""
    most = MOST.get(name, MOST_OTHERS)
    numbers = [*value.keys(), *value.values()] if isinstance(value, dict) else [value]
    for number in numbers:
        if not isinstance(number, (bool, int, float, str, NoneType)):
            raise UserError(f"method {method!r}: {name}={value!r:.100} holds {number!r:.60}, not a number or a word")
        if isinstance(number, (int, float)) and not -most <= number <= most:  # NaN is caught as well
            shown = f"{number!r:.40}"
            raise UserError(f"method {method!r}: {name} must be finite and at most {most:g} in size (got {shown})")


def _is(value: Any, kind: Any) -> bool:
    """Whether a value fits an annotation; a whole number fits float, True is not a number."""
    if isinstance(kind, UnionType):
        return any(_is(value, part) for part in kind.__args__)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else typing.get_origin(kind) or kind)


def _kind(kind: Any) -> str:
    words = {int: "a whole number", float: "a number", str: "a word", bool: "True or False", dict: "a dict", NoneType: "None"}
    parts = kind.__args__ if isinstance(kind, UnionType) else (kind,)
    return " or ".join(words.get(typing.get_origin(part) or part, str(part)) for part in parts)
