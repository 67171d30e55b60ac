"""What an experiment starts from: the data, the cut, the lanes, the devices."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax import data
from imbal_jax import seed_range as seeds_asked
from imbal_jax.config import DATA, validate
from imbal_jax.data import imbalance, split
from imbal_jax.data.batches import Inputs, Pool, Shared
from imbal_jax.data.dataset import rank_in_class
from imbal_jax.errors import UserError
from imbal_jax.methods import Task, Train
from imbal_jax.report.curves import ranges
from imbal_jax.runtime import autotune, environment, lanes
from imbal_jax.runtime.pace import Pace
from imbal_jax.train import classifier, loop

SPLITS = 8  # by whole groups, that lanes choose their validation rows from
LOADED = {field.name.removeprefix("data.") for field in DATA}  # what every data set has


class Base(NamedTuple):
    """What all chunks of seeds share.

    Attributes:
        data: the data set, on the host.
        devices: those that lanes are spread over; `config.data_devices` of them for each lane.
        shared: the real training rows, once on each device.
        form: how convolutions are computed, and how lanes run inside a device.
        programs: the compiled functions so far, by what they were made from: one compilation for a sweep.
        compiling: seconds that the process has spent on compiling so far.
        stopping: whether the process has been asked to end.
        pace: how fast trainings go, and how long all will take.
    """

    data: data.Dataset
    devices: list[jax.Device]
    shared: Shared
    form: autotune.Choice
    programs: dict[Any, Any]
    compiling: Callable[[], float]
    stopping: Callable[[], bool]
    pace: Pace


class Setting(NamedTuple):
    """Everything that the stages of one chunk of seeds share.

    Attributes:
        config: the experiment's ConfigDict, at one point of its grid, read only.
        place: that point as text, '' without a grid.
        workdir: where results go.
        folder: where this chunk's checkpoints go.
        base: what all chunks share.
        seeds: one per lane.
        keys: typed keys [L].
        train: the lanes' training sets after the cut, before any balancing, without the validation rows.
        validation: row numbers [L, V] of the training data that are held out: of each lane's set after the cut; of rows in
            groups whole groups before the cut, one of several such splits for each lane, see `_set_aside`; with a number
            of rows the first ones, the same in all lanes. V = 0 without `data.validation`. All lanes have equally many
            of each class.
        task: what methods are made for.
        pictured: whether pictures are drawn from this chunk: it holds the first seed.
        least: lanes that a program is run with at least: shorter chunks are filled up, so as not to compile again.
        turn: which arms are at work, 'arm 2 of 7', for the progress line; '' where there is but one.
    """

    config: Any
    place: str
    workdir: Path
    folder: Path
    base: Base
    seeds: tuple[int, ...]
    keys: jax.Array
    train: Train
    validation: jax.Array
    task: Task
    pictured: bool
    least: int = 1
    turn: str = ""

    @property
    def data(self) -> data.Dataset:
        """The data set, on the host."""
        return self.base.data

    @property
    def shared(self) -> Shared:
        """The real training rows, on the devices."""
        return self.base.shared

    @property
    def precision(self) -> str:
        """What the trainings compute in on these devices: 'f32', 'tf32' or 'bf16'."""
        return classifier.precision_on(self.base.devices[0], self.config.precision)

    def over_lanes(self, function: Any, devices: list[jax.Device] | None = None, precision: str = "f32") -> Any:
        """`lanes.over_lanes` as the config asks.

        Args:
            function: of one lane.
            devices: others than the setting's, one for each lane.
            precision: of a training; all else is float32 on every device.
        """
        return lanes.over_lanes(
            function,
            parallel=self.config.parallel,
            inner=self.base.form.inner,
            devices=devices or self.base.devices,
            data=1 if devices else self.config.data_devices,
            precision=classifier.products_of(precision),
        )

    def plan(
        self, label: str, folder: Path, epochs: int, per_epoch: int, steps: int = 0, per_pass: int = 0, kind: str = "gan"
    ) -> loop.Plan:
        """The plan of a training, kept in `folder`; see `loop.Plan`."""
        config, base = self.config, self.base
        if (asked := steps or epochs * per_epoch) >= 2**31:
            raise UserError(f"{label}: {asked} steps are too many to count: {2**31 - 1} are possible; lower epochs or steps")
        owner = config.gan if kind == "gan" else config.classifier  # the reference has the classifier's network
        shape = "x".join(map(str, self.task.shape))
        network = f"{owner.model} {shape}, {base.devices[0].device_kind}, {len(base.devices)} devices, {base.form.conv}"
        return loop.Plan(
            label,
            folder,
            epochs,
            per_epoch,
            config.chunk_seconds,
            config.save_seconds,
            base.stopping,
            base.compiling,
            steps,
            per_pass,
            kind,
            network,
            base.pace,
        )

    def program(self, key: Any, make: Callable[[], Any]) -> Any:
        """The compiled function of that key (or whatever else is made once), made when it is first asked for."""
        if key not in self.base.programs:
            self.base.programs[key] = make()
        found = self.base.programs[key]
        return found._replace(least=self.least) if isinstance(found, lanes.Spread) else found


def begin(
    config: Any,
    most_lanes: int | None = None,
    form: autotune.Choice | None = None,
    compiling: Callable[[], float] = lambda: 0.0,
    stopping: Callable[[], bool] = lambda: False,
) -> Base:
    """Load the data, put its training rows on the devices, and choose how to compute.

    Args:
        config: the experiment's ConfigDict.
        most_lanes: that will run at once; default: all seeds.
        form: an earlier choice to keep to; default: measured, or what the config asks for.
        compiling, stopping: see `Base`.

    Raises:
        UserError: a value that no field allows, absent or damaged data.
    """
    validate(config)
    source = config.data
    options = {name: value for name, value in source.to_dict().items() if name not in LOADED}
    dataset = data.load(
        source.name,
        directory=source.dir or None,
        source=source.source,
        per_class=source.per_class or None,
        **({"options": options} if options else {}),
    )
    many = most_lanes or len(seeds_asked.of(config.seeds))
    devices = lanes.devices_for(many, config.data_devices)
    shared = lanes.replicate(Shared(jnp.asarray(dataset.train.x), jnp.asarray(dataset.train.y)), devices)
    each = -(-many * config.data_devices // len(devices))
    products = classifier.products_of(classifier.precision_on(devices[0], config.precision))
    asked = {"conv": config.conv, "inner": config.lanes, "precision": products}
    form = form or autotune.choose(each, devices[0], environment.kept_programs(), **asked)
    return Base(dataset, devices, shared, form, {}, compiling, stopping, Pace(environment.kept_programs()))


def prepare(
    config: Any, workdir: Path, base: Base | None = None, seeds: Sequence[int] | None = None, place: str = ""
) -> Setting:
    """Make the lanes' keys and cut their training sets.

    Args:
        config: the experiment's ConfigDict, at one point of its grid.
        workdir: where results go.
        base: default: made from the config.
        seeds: one per lane; default: all of the config.
        place: the point of the grid as text.

    Raises:
        UserError: as `begin`; a cut that the data does not allow.
    """
    base = base or begin(config)
    dataset = base.data
    asked = seeds_asked.of(config.seeds)
    chosen = tuple(asked if seeds is None else seeds)
    keys = lanes.lane_keys(config.seed, chosen)
    rows, share = dataset.train, config.data.validation
    if share and (share >= 1 or not np.array_equal(rows.groups, rows.ids)):
        of = ("set aside", share, config.seed, *(zlib.crc32(part.tobytes()) for part in (rows.y, rows.groups)))
        if of not in base.programs:  # once for all chunks and points of a grid
            base.programs[of] = _set_aside(rows, share, config.seed)
        train, validation = _cut_each(config, dataset, base.programs[of], keys)
    else:
        train, validation = _hold_out(_cut(config, dataset, np.arange(len(rows.y), dtype=np.int32), keys), share, keys)
    rare = tuple(sorted(imbalance.minority(train.counts)))
    task = Task(train.counts, dataset.fraction, dataset.class_names, dataset.train.x.shape[1:], rare)
    folder = workdir / "checkpoints" / f"seeds-{ranges(chosen)}" / place  # nothing more without a grid
    return Setting(config, place, workdir, folder, base, chosen, keys, train, validation, task, asked[0] in chosen)


class Aside(NamedTuple):
    """Splits of the training rows that lanes choose from, with equally many rows of each class.

    Attributes:
        train: row numbers [P, T] that can be trained on, ascending.
        held: row numbers [P, V] that are held out, ascending.
    """

    train: np.ndarray
    held: np.ndarray


def _set_aside(rows: data.Rows, validation: float, seed: int) -> Aside:
    """What can be trained on and what is held out for validation before the cut.

    Of a share there are up to 8 splits by whole groups, see `data.split`, which are as good as one another. Lanes run side
    by side with arrays of one shape, and a lane's rows must not depend on the other lanes; so each split is brought to the
    fewest rows of each class that any of them has on a side, by leaving out random ones.

    Args:
        rows: the training rows.
        validation: the first so many of them; or a share, drawn by whole groups.
        seed: of that drawing.
    """
    number = np.arange(len(rows.y), dtype=np.int32)
    if validation < 1:
        held = split.several(rows.y, rows.groups, validation, seed, SPLITS, complete=False)
        return Aside(*(_alike(rows.y, sides, (seed, place)) for place, sides in enumerate((~held, held))))
    first = int(validation)
    if first >= len(number):
        raise UserError(f"config.data.validation is {first}, and there are {len(number)} training rows in all: lower it")
    rest = number[first:]  # without those that have the group of a held-out row
    return Aside(rest[~np.isin(rows.groups[first:], rows.groups[:first])][None], number[None, :first])


def _alike(y: np.ndarray, sides: np.ndarray, seed: tuple[int, int]) -> np.ndarray:
    """Row numbers int32 [P, M] of the masks `sides` [P, N], with the fewest rows of each class that any of them has."""
    fewest = np.min([np.bincount(y[side], minlength=int(y.max()) + 1) for side in sides], axis=0)
    random = np.random.default_rng(seed)
    found = []
    for side in sides:
        mine = random.permutation(np.flatnonzero(side))
        found.append(np.sort(mine[rank_in_class(y[mine]) < fewest[y[mine]]]))
    return np.stack(found).astype(np.int32)


def _cut_each(config: Any, dataset: data.Dataset, aside: Aside, keys: jax.Array) -> tuple[Train, jax.Array]:
    """The lanes' training sets, each cut from the split that its key draws, and their validation rows [L, V]."""
    splits = len(aside.train)
    draw = jax.vmap(lambda key: jax.random.randint(key, (), 0, splits))
    which = np.asarray(draw(lanes.purposes(keys, "validation")))
    kept: list[Any] = [None] * len(which)
    for place in np.unique(which):
        mine = np.flatnonzero(which == place)
        cut = _cut(config, dataset, aside.train[place], keys[mine])
        for lane, rows in zip(mine, np.asarray(cut.pool.rows), strict=True):
            kept[lane] = rows
    return unbalanced(np.stack(kept), cut.counts, dataset.train.x), jnp.asarray(aside.held[which])


def _cut(config: Any, dataset: data.Dataset, rows: np.ndarray, keys: jax.Array) -> Train:
    """The lanes' training sets, cut from these rows of the data set."""
    y = dataset.train.y[rows]
    available = np.bincount(y, minlength=len(dataset.class_names))
    counts = imbalance.target_counts(config.cut.profile, available, dataset.fraction)
    kept = imbalance.cut(y, counts, config.cut.draw, keys)
    by_class = np.take_along_axis(kept, np.argsort(y[kept], axis=1, kind="stable"), axis=1)
    return unbalanced(rows[by_class], tuple(int(n) for n in counts), dataset.train.x)


def _hold_out(train: Train, share: float, keys: jax.Array) -> tuple[Train, jax.Array]:
    """The training sets without `share` of each class's rows, drawn for each lane, and those rows [L, V].

    At least one row of a class is held out, and at least one stays: a class of a single row has no validation row.
    """
    rows = train.pool.rows
    if not share:
        return train, rows[:, :0]
    out = tuple(min(max(1, round(share * n)), n - 1) if n else 0 for n in train.counts)

    def one(key: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        held, kept, start = [], [], 0
        for label, (n, away) in enumerate(zip(train.counts, out, strict=True)):
            own = jax.random.permutation(jax.random.fold_in(key, label), rows[start : start + n])
            held.append(own[:away])
            kept.append(jnp.sort(own[away:]))
            start += n
        return jnp.concatenate(held), jnp.concatenate(kept)

    held, kept = jax.jit(jax.vmap(one))(lanes.purposes(keys, "validation"), rows)
    left = tuple(n - away for n, away in zip(train.counts, out, strict=True))
    return train._replace(pool=train.pool._replace(rows=kept), counts=left), held


def unbalanced(rows: np.ndarray, counts: tuple[int, ...], x: np.ndarray | jax.Array) -> Train:
    """A training set of real rows only: numbers [L, M] of rows of x, lying class by class."""
    many = rows.shape[0]
    pool = Pool(jnp.asarray(rows), jnp.zeros((many, 0, *x.shape[1:]), x.dtype), jnp.zeros((many, 0), jnp.int32))
    return Train(pool, counts, np.zeros((many, 0, 0), np.int32))


def inputs_of(keys: jax.Array, pool: Pool, counts: Sequence[int], values: Mapping[str, jax.Array] | None = None) -> Inputs:
    """What the lanes of a training read: keys [L], pools and values with leaves [L, ...], the counts of all of them."""
    return Inputs(keys, pool, jnp.tile(jnp.asarray(counts, jnp.int32), (keys.shape[0], 1)), values or {})


def init_lanes(init: Any, keys: jax.Array) -> Any:
    """`init(key)` for the keys of all lanes, compiled: leaves [L, ...]."""
    # It runs once: on a CPU, LLVM would take ten times as long to polish it (12 s for a small GAN), for the same numbers.
    options = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
    return jax.jit(jax.vmap(init), compiler_options=options)(keys)


def class_rows(setting: Setting, label: int, lane: int = 0) -> np.ndarray:
    """The row numbers of a class in a lane's cut training set."""
    start = sum(setting.train.counts[:label])
    return np.asarray(setting.train.pool.rows[lane, start : start + setting.train.counts[label]])
