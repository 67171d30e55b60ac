"""The arms of an experiment: its method specs, times the points of its grid."""

import itertools
import math
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from imbal_jax import methods
from imbal_jax.config import flat
from imbal_jax.errors import UserError, nearest
from imbal_jax.spec import literal

TRACED = ("classifier.learning_rate",)  # fields of the config that may differ between the lanes of one compiled program
FIXED = ("seed", "seeds", "lanes_per_device", "data_devices", "margin")  # numbers that a grid must not change
TEXTS = ("classifier", "gan")  # groups of the config whose texts a grid may change
MOST_ARMS = 10_000
LARGEST = 1e9  # absolute value of a number in a grid
Value = float | str


class Arm(NamedTuple):
    """One of the things compared: a method spec, at a point of the grid over config fields.

    Attributes:
        spec: the methods with their options, those of the grid included.
        point: (field, value) of the config; () without a grid over its fields.
    """

    spec: str
    point: tuple[tuple[str, Value], ...] = ()

    @property
    def point_text(self) -> str:
        """The point as text, see `point_text`."""
        return point_text(self.point)

    @property
    def name(self) -> str:
        """The arm's name in rows and pictures: 'gan_synth [gan.loss=hinge]'."""
        return f"{self.spec} [{self.point_text}]" if self.point else self.spec

    @property
    def untraced(self) -> tuple[tuple[str, Value], ...]:
        """The fields of the point that are compiled into the programs."""
        return tuple((field, value) for field, value in self.point if field not in TRACED)


def point_text(point: Iterable[tuple[str, Value]]) -> str:
    """A point as text for titles and names: 'classifier.learning_rate=0.003, gan.loss=hinge', or ''."""
    texts = ((field, value if isinstance(value, str) else f"{value:g}") for field, value in point)
    return ", ".join(f"{field}={text}" for field, text in texts)


def arms(config: Any) -> list[Arm]:
    """The arms of a config: its baselines and its method at every point of `config.grid`, each once.

    The grid is a dict as text, {'mixup.alpha': (0.1, 0.4), 'classifier.learning_rate': (0.001, 0.003)}: values for an
    option of a method (specs without that method are not multiplied by it) or for a field of the config: a number, or a text
    of its classifier or GAN. A list of such dicts is one grid after the other; [{}, {'gan.ema': 0.999}, {'gan.loss': 'hinge'}]
    changes one thing at a time.

    Raises:
        UserError: a spec that is not a text, a malformed grid, a name that is neither such a field of the config nor an
            option of a method in use, or a value of the wrong type.
    """
    for spec in (*config.baselines, config.method):
        if not isinstance(spec, str):
            raise UserError(f"config.baselines must hold methods as texts in quotes (got {spec!r:.100})")
    specs = list(dict.fromkeys((*config.baselines, config.method)))
    grids = _grids(config.grid)
    most = len(specs) * sum(math.prod(len(values) for values in grid.values()) for grid in grids)
    if most > MOST_ARMS:
        raise UserError(f"config.grid must give at most {MOST_ARMS} arms (got up to {most} from {len(specs)} methods)")
    expanded = [arm for grid in grids for arm in _arms_of(config, specs, grid)]
    return list(dict.fromkeys(expanded))


def _arms_of(config: Any, specs: list[str], grid: dict[str, tuple[Value, ...]]) -> list[Arm]:
    used = {word.name for spec in specs for word in methods.parse(spec)}
    options = {name: values for name, values in grid.items() if name.rpartition(".")[0] in used}
    fields = {name: values for name, values in grid.items() if name not in options}
    for name, values in fields.items():
        _check_field(config, name, values, used)
    points = [tuple(zip(fields, values, strict=True)) for values in itertools.product(*fields.values())]
    return [Arm(expanded, point) for spec in specs for expanded in _expanded(spec, options) for point in points]


def groups(arms: Iterable[Arm]) -> list[list[Arm]]:
    """Groups of arms that differ in traced numbers alone and share one compiled program, in order of first appearance."""
    by_program: dict[Any, list[Arm]] = {}
    for arm in arms:
        by_program.setdefault((arm.untraced, methods.skeleton(arm.spec)), []).append(arm)
    return list(by_program.values())


def at(config: Any, point: Iterable[tuple[str, Value]]) -> Any:
    """The config with the field values of a point; the config given is not changed."""
    if not (point := tuple(point)):
        return config
    changed = config.copy_and_resolve_references()
    for field, value in point:
        group, _, name = field.rpartition(".")
        owner = attrgetter(group)(changed) if group else changed
        owner[name] = type(owner[name])(value)
    return changed


def _grids(text: str) -> list[dict[str, tuple[Value, ...]]]:
    if not text.strip():
        return [{}]
    try:
        content = literal(text)
    except ValueError:
        content = None
    dicts: Sequence[Any] = content if isinstance(content, (list, tuple)) and content else [content]
    if not all(isinstance(part, dict) for part in dicts):
        raise UserError(
            f"config.grid must be a dict such as {{'mixup.alpha': (0.1, 0.4)}}, or a list of dicts (got {text!r:.200})"
        )
    return [_grid(part) for part in dicts]


def _grid(content: dict[Any, Any]) -> dict[str, tuple[Value, ...]]:
    grid = {}
    for name, values in content.items():
        values = values if isinstance(values, (tuple, list)) else (values,)
        if not isinstance(name, str) or not values or not all(map(_is_value, values)):
            raise UserError(f"config.grid must map names to tuples of numbers or texts (got {name!r:.60}: {values!r:.100})")
        grid[name] = tuple(dict.fromkeys(values))
    return grid


def _is_value(value: Any) -> bool:
    return isinstance(value, str) or (type(value) in (int, float) and abs(value) <= LARGEST)  # False for NaN


def _expanded(spec: str, options: dict[str, tuple[Value, ...]]) -> list[str]:
    words = {word.name for word in methods.parse(spec)}
    own_options = {name: values for name, values in options.items() if name.rpartition(".")[0] in words}
    return [
        methods.with_options(spec, dict(zip(own_options, values, strict=True))) if own_options else spec
        for values in itertools.product(*own_options.values())
    ]


def _check_field(config: Any, name: str, values: tuple[Value, ...], used: set[str]) -> None:
    defaults = {field: value for field, value in flat(config.to_dict(), whole=()) if _may_differ(field, value)}
    if name not in defaults:
        hint = nearest(name, defaults) or f"; methods in use: {', '.join(sorted(used))}"
        what = (
            f"is neither a number of the config, a text of config.{' or config.'.join(TEXTS)}, nor an option of a method in use"
        )
        raise UserError(f"config.grid: {name!r} {what}{hint}")
    kind = str if isinstance(defaults[name], str) else (int, float)
    if wrong := [value for value in values if not isinstance(value, kind)]:
        raise UserError(f"config.grid: {name!r} must be a {'text' if kind is str else 'number'} (got {wrong[0]!r:.100})")
    if type(defaults[name]) is int and (fractions := [value for value in values if isinstance(value, float) and value % 1]):
        raise UserError(f"config.grid: {name!r} must be a whole number (got {fractions[0]!r})")


def _may_differ(field: str, value: Any) -> bool:
    group = field.split(".")[0]
    if isinstance(value, str):
        return group in TEXTS
    return isinstance(value, (int, float)) and not isinstance(value, bool) and field not in FIXED and group != "data"
