"""What all stages of a sweep share, and what those of one chunk of seeds share."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from imbal_jax import data
from imbal_jax import seed_range as seeds_asked
from imbal_jax.arms import Value, point_text
from imbal_jax.config import DATA, validate
from imbal_jax.data.batches import Inputs, Pool, Shared
from imbal_jax.errors import UserError
from imbal_jax.methods import Task, Train
from imbal_jax.runtime import autotune, environment, lanes
from imbal_jax.runtime.pace import Pace
from imbal_jax.train import classifier, loop

LOADED = {field.name.removeprefix("data.") for field in DATA}  # what every data set has


class Common(NamedTuple):
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


class Chunk(NamedTuple):
    """Everything that the stages of one chunk of seeds share.

    Attributes:
        config: the experiment's ConfigDict, at one point of its grid, read only.
        point: (field, value) of that point that need programs of their own; () without a grid over fields.
        workdir: where results go.
        folder: where this chunk's checkpoints go.
        common: what all chunks share.
        seeds: one per lane.
        keys: typed keys [L].
        train: the lanes' training sets after the cut, before any balancing, without the validation rows.
        validation: row numbers [L, V] of the training data that are held out: of each lane's set after the cut; of rows in
            groups whole groups before the cut, one of several such splits for each lane, see `_set_aside`; with a number
            of rows the first ones, the same in all lanes. V = 0 without `data.validation`. All lanes have equally many
            of each class.
        task: what methods are made for.
        pictured: whether pictures are drawn from this chunk: it holds the first seed.
        min_lanes: lanes that a program is run with at least: shorter chunks are filled up, so as not to compile again.
        turn: which arms are at work, 'arm 2 of 7', for the progress line; '' where there is but one.
    """

    config: Any
    point: tuple[tuple[str, Value], ...]
    workdir: Path
    folder: Path
    common: Common
    seeds: tuple[int, ...]
    keys: jax.Array
    train: Train
    validation: jax.Array
    task: Task
    pictured: bool
    min_lanes: int = 1
    turn: str = ""

    @property
    def point_text(self) -> str:
        """The point as text, '' without a grid over fields."""
        return point_text(self.point)

    @property
    def data(self) -> data.Dataset:
        """The data set, on the host."""
        return self.common.data

    @property
    def shared(self) -> Shared:
        """The real training rows, on the devices."""
        return self.common.shared

    @property
    def precision(self) -> str:
        """What the trainings compute in on these devices: 'f32', 'tf32' or 'bf16'."""
        return classifier.precision_on(self.common.devices[0], self.config.precision)

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
            inner=self.common.form.inner,
            devices=devices or self.common.devices,
            data=1 if devices else self.config.data_devices,
            precision=classifier.products_of(precision),
        )

    def plan(
        self, label: str, folder: Path, epochs: int, per_epoch: int, steps: int = 0, per_pass: int = 0, kind: str = "gan"
    ) -> loop.Plan:
        """The plan of a training, kept in `folder`; see `loop.Plan`."""
        config, common = self.config, self.common
        if (asked := steps or epochs * per_epoch) >= 2**31:
            raise UserError(f"{label}: {asked} steps are too many to count: {2**31 - 1} are possible; lower epochs or steps")
        owner = config.gan if kind == "gan" else config.classifier  # the reference has the classifier's network
        shape = "x".join(map(str, self.task.shape))
        network = f"{owner.model} {shape}, {common.devices[0].device_kind}, {len(common.devices)} devices, {common.form.conv}"
        return loop.Plan(
            label,
            folder,
            epochs,
            per_epoch,
            config.chunk_seconds,
            config.save_seconds,
            common.stopping,
            common.compiling,
            steps,
            per_pass,
            kind,
            network,
            common.pace,
        )

    def program(self, key: Any, make: Callable[[], Any]) -> Any:
        """The compiled function of that key (or whatever else is made once), made when it is first asked for."""
        if key not in self.common.programs:
            self.common.programs[key] = make()
        found = self.common.programs[key]
        return found._replace(min_lanes=self.min_lanes) if isinstance(found, lanes.Spread) else found


def begin(
    config: Any,
    most_lanes: int | None = None,
    form: autotune.Choice | None = None,
    compiling: Callable[[], float] = lambda: 0.0,
    stopping: Callable[[], bool] = lambda: False,
) -> Common:
    """Load the data, put its training rows on the devices, and choose how to compute.

    Args:
        config: the experiment's ConfigDict.
        most_lanes: that will run at once; default: all seeds.
        form: an earlier choice to keep to; default: measured, or what the config asks for.
        compiling, stopping: see `Common`.

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
    return Common(dataset, devices, shared, form, {}, compiling, stopping, Pace(environment.kept_programs()))


def inputs_of(keys: jax.Array, pool: Pool, counts: Sequence[int], values: Mapping[str, jax.Array] | None = None) -> Inputs:
    """What the lanes of a training read: keys [L], pools and values with leaves [L, ...], the counts of all of them."""
    return Inputs(keys, pool, jnp.tile(jnp.asarray(counts, jnp.int32), (keys.shape[0], 1)), values or {})


def init_lanes(init: Any, keys: jax.Array) -> Any:
    """`init(key)` for the keys of all lanes, compiled: leaves [L, ...]."""
    # It runs once: on a CPU, LLVM would take ten times as long to polish it (12 s for a small GAN), for the same numbers.
    options = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
    return jax.jit(jax.vmap(init), compiler_options=options)(keys)
