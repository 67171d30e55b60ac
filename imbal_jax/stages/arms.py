"""The arms of an experiment: its method specs, times the points of its grid."""

import ast
import itertools
import math
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from imbal_jax import methods
from imbal_jax.errors import UserError, nearest

TRACED = ("classifier.learning_rate",)  # fields of the config in which the lanes of one program may differ
FIXED = ("seed", "seeds", "lanes_per_device", "data_devices", "margin")  # what is no part of an arm


class Arm(NamedTuple):
    """What is compared: a method spec, at a point of the grid over config fields.

    Attributes:
        spec: with the grid's options in it.
        point: (field, value) of the config; () without a grid over its fields.
    """

    spec: str
    point: tuple[tuple[str, float], ...] = ()

    @property
    def place(self) -> str:
        """The point as text: 'classifier.learning_rate=0.003', or ''."""
        return ", ".join(f"{field}={value:g}" for field, value in self.point)

    @property
    def name(self) -> str:
        """What rows and pictures call the arm."""
        return f"{self.spec} [{self.place}]" if self.point else self.spec

    @property
    def untraced(self) -> tuple[tuple[str, float], ...]:
        """The part of the point that needs programs of its own."""
        return tuple((field, value) for field, value in self.point if field not in TRACED)


def arms(config: Any) -> list[Arm]:
    """The arms of a config: its baselines and its method at every point of `config.grid`, each once.

    The grid is a dict as text, {'mixup.alpha': (0.1, 0.4), 'classifier.learning_rate': (0.001, 0.003)}: numbers for an
    option of a method (specs without that method are not multiplied by it) or for a field of the config. A list of such
    dicts is one grid after the other; [{}, {'gan.ema': 0.999}, {'gan.d_steps': 2}] changes one thing at a time.

    Raises:
        UserError: a spec that is no text, an unreadable grid, a name that is no number of the config and no option of a
            method in use.
    """
    specs = list(dict.fromkeys((*config.baselines, config.method)))
    for spec in specs:
        if not isinstance(spec, str):
            raise UserError(f"a method is a word in quotes, not {spec!r} (config.baselines)")
    found = [arm for grid in _grids(config.grid) for arm in _arms_of(config, specs, grid)]
    return list(dict.fromkeys(found))


def _arms_of(config: Any, specs: list[str], grid: dict[str, tuple[float, ...]]) -> list[Arm]:
    used = {word.name for spec in specs for word in methods.parse(spec)}
    options = {name: values for name, values in grid.items() if name.split(".")[0] in used}
    fields = {name: values for name, values in grid.items() if name not in options}
    for name in fields:
        _check_field(config, name, used)
    points = [tuple(zip(fields, values, strict=True)) for values in itertools.product(*fields.values())]
    return [Arm(expanded, point) for spec in specs for expanded in _expanded(spec, options) for point in points]


def groups(every: Iterable[Arm]) -> list[list[Arm]]:
    """The arms that differ in traced numbers alone, together: each group is one program; in order of first appearance."""
    found: dict[Any, list[Arm]] = {}
    for arm in every:
        found.setdefault((arm.untraced, methods.skeleton(arm.spec)), []).append(arm)
    return list(found.values())


def at(config: Any, point: Iterable[tuple[str, float]]) -> Any:
    """The config with the fields of a point."""
    if not (point := tuple(point)):
        return config
    changed = config.copy_and_resolve_references()
    for field, value in point:
        group, _, name = field.rpartition(".")
        owner = attrgetter(group)(changed) if group else changed
        owner[name] = type(owner[name])(value)
    return changed


def _grids(text: str) -> list[dict[str, tuple[float, ...]]]:
    if not text.strip():
        return [{}]
    try:
        content: Any = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        content = None
    several: Sequence[Any] = content if isinstance(content, (list, tuple)) and content else [content]
    if not all(isinstance(one, dict) for one in several):
        raise UserError(f"config.grid is {text!r}: write a dict such as {{'mixup.alpha': (0.1, 0.4)}}, or a list of dicts")
    return [_grid(one) for one in several]


def _grid(content: dict[Any, Any]) -> dict[str, tuple[float, ...]]:
    grid = {}
    for name, values in content.items():
        values = values if isinstance(values, (tuple, list)) else (values,)
        wrong = [v for v in values if isinstance(v, bool) or not isinstance(v, (int, float)) or not math.isfinite(v)]
        if not isinstance(name, str) or wrong or not values:
            raise UserError(f"config.grid: {name!r}: {values!r} is not a name with a tuple of numbers")
        grid[name] = tuple(dict.fromkeys(values))
    return grid


def _expanded(spec: str, options: dict[str, tuple[float, ...]]) -> list[str]:
    words = {word.name for word in methods.parse(spec)}
    mine = {name: values for name, values in options.items() if name.split(".")[0] in words}
    return [
        methods.with_options(spec, dict(zip(mine, values, strict=True))) if mine else spec
        for values in itertools.product(*mine.values())
    ]


def _check_field(config: Any, name: str, used: set[str]) -> None:
    known = [field for field in _numbers(config.to_dict()) if field not in FIXED and not field.startswith("data.")]
    if name not in known:
        hint = nearest(name, known) or f"; methods in use: {', '.join(sorted(used))}"
        raise UserError(f"config.grid: {name!r} is no number of the config and no option of a method in use{hint}")


def _numbers(tree: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name, value in tree.items():
        if isinstance(value, dict):
            found += _numbers(value, f"{prefix}{name}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append(prefix + name)
    return found
