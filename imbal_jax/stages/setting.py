"""What an experiment starts from: the data, the cut, the lanes, the devices."""

from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax import data, lanes
from imbal_jax.batches import Pool, Shared
from imbal_jax.data import imbalance
from imbal_jax.errors import UserError
from imbal_jax.methods import Task, Train
from imbal_jax.ops.conv import resolve_form

LOWEST = {  # the least value of each number in a config
    1: "seeds gan.epochs gan.batch gan.latent gan.d_steps gan.grid_every classifier.epochs classifier.batch"
    " quality.epochs quality.batch quality.k",
    0: "seed gan.per_class gan.g_learning_rate gan.d_learning_rate classifier.learning_rate quality.samples"
    " quality.learning_rate chunk_seconds save_seconds",
    0.01: "gan.g_width gan.d_width classifier.width",
}


class Setting(NamedTuple):
    """Everything that stages share.

    Attributes:
        config: the experiment's ConfigDict, read only.
        workdir: where results go.
        data: the data set, on the host.
        seeds: one per lane.
        keys: typed keys [L].
        devices: the devices that lanes are spread over.
        shared: the real training rows, once on each device.
        train: the lanes' training sets after the cut, before any balancing, without the validation rows.
        validation: row numbers [L, V] of the training data that are held out; V = 0 without `data.validation`.
        task: what methods are made for.
        form: how convolutions are computed.
    """

    config: Any
    workdir: Path
    data: data.Dataset
    seeds: tuple[int, ...]
    keys: jax.Array
    devices: list[jax.Device]
    shared: Shared
    train: Train
    validation: jax.Array
    task: Task
    form: str

    def over_lanes(self, function: Any, devices: list[jax.Device] | None = None) -> Any:
        """`lanes.over_lanes` as the config asks."""
        return lanes.over_lanes(
            function, parallel=self.config.parallel, inner=self.config.lanes, devices=devices or self.devices
        )


def prepare(config: Any, workdir: Path) -> Setting:
    """Load and cut the data, make the lanes' keys and put the real rows on the devices.

    Raises:
        UserError: a number out of its range, absent or damaged data, a cut that the data does not allow.
    """
    check_numbers(config)
    source = config.data
    dataset = data.load(source.name, directory=source.dir or None, source=source.source, per_class=source.per_class or None)
    seeds = tuple(range(config.seeds))
    keys = lanes.lane_keys(config.seed, seeds)
    cut = _cut(config, dataset, keys)
    train, validation = _hold_out(cut, config.data.validation, keys)
    devices = lanes.devices_for(len(seeds))
    shared = lanes.replicate(Shared(jnp.asarray(dataset.train.x), jnp.asarray(dataset.train.y)), devices)
    rare = tuple(sorted(_rare(dataset.train.y, cut.counts)))
    task = Task(train.counts, dataset.fraction, dataset.class_names, dataset.train.x.shape[1:], rare)
    form = resolve_form(config.conv, -(-len(seeds) // len(devices)))
    return Setting(config, workdir, dataset, seeds, keys, devices, shared, train, validation, task, form)


def check_numbers(config: Any) -> None:
    """Raise UserError for a number that no run could do anything with, before anything is loaded."""
    for lowest, fields in LOWEST.items():
        for field in fields.split():
            value = attrgetter(field)(config)
            if not lowest <= value < float("inf"):  # NaN is caught as well
                raise UserError(f"config.{field} is {value}: at least {lowest} is needed")
    for field in ("gan.ema", "gan.beta1", "data.validation"):
        if not 0 <= (value := attrgetter(field)(config)) < 1:
            raise UserError(f"config.{field} is {value}: it must be from 0 to below 1")
    if config.seed >= 2**32:
        raise UserError(f"config.seed is {config.seed}: at most {2**32 - 1} is possible")


def _cut(config: Any, dataset: data.Dataset, keys: jax.Array) -> Train:
    y = dataset.train.y
    available = np.bincount(y, minlength=len(dataset.class_names))
    counts = imbalance.target_counts(config.cut.profile, available, dataset.fraction)
    rows = imbalance.cut(y, counts, config.cut.draw, keys)
    by_class = np.take_along_axis(rows, np.argsort(y[rows], axis=1, kind="stable"), axis=1)
    return unbalanced(by_class, tuple(int(n) for n in counts), dataset.train.x.shape[1:])


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


def unbalanced(rows: np.ndarray, counts: tuple[int, ...], shape: tuple[int, ...]) -> Train:
    """A training set of real rows only: row numbers [L, M], lying class by class."""
    many = rows.shape[0]
    pool = Pool(jnp.asarray(rows), jnp.zeros((many, 0, *shape), jnp.uint8), jnp.zeros((many, 0), jnp.int32))
    return Train(pool, counts, np.zeros((many, 0, 0), np.int32))


def init_lanes(init: Any, keys: jax.Array) -> Any:
    """`init(key)` for the keys of all lanes, compiled: leaves [L, ...]."""
    # It runs once: on a CPU, LLVM would take ten times as long to polish it (12 s for a small GAN), for the same numbers.
    options = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
    return jax.jit(jax.vmap(init), compiler_options=options)(keys)


def class_rows(setting: Setting, label: int, lane: int = 0) -> np.ndarray:
    """The row numbers of a class in a lane's cut training set."""
    start = sum(setting.train.counts[:label])
    return np.asarray(setting.train.pool.rows[lane, start : start + setting.train.counts[label]])


def _rare(y: np.ndarray, counts: tuple[int, ...]) -> set[int]:
    """The classes that the cut made rarer than they were; where it cut none, those below half of the largest."""
    before = np.bincount(y, minlength=len(counts))
    cut = {k for k, n in enumerate(counts) if n < before[k]}
    return cut or {k for k, n in enumerate(counts) if n < max(counts) / 2}
