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

LOADED = {field.name.removeprefix("data.") for field in DATA}  # fields that every data set has


class Common(NamedTuple):
    """What all chunks of seeds share.

    Attributes:
        data: the data set, on the host.
        devices: for the lanes; `config.data_devices` of them for each lane.
        shared: the real training rows, copied to each device.
        form: how convolutions are computed, and how lanes run inside a device.
        programs: key -> compiled function, so that a sweep compiles each program once.
        compiling: seconds that the process has spent on compiling so far.
        stopping: whether the process has received a signal to end.
        pace: measured rates, for estimates of the time left.
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
        workdir: the folder of the results.
        folder: of this chunk's checkpoints.
        common: what all chunks share.
        seeds: one per lane.
        keys: typed keys [L].
        train: the lanes' training sets after the induced imbalance, before any balancing, without the validation rows.
        validation: held-out row numbers [L, V] of the training data. A share is taken from each lane's set after the induced
            imbalance; if the rows have groups, whole groups are taken before it, one of several such splits for each lane
            (see `_set_aside`). A number of rows are the first ones, the same in all lanes. V = 0 without `data.validation`.
            All lanes have the same number of rows of each class.
        task: the problem, as methods see it.
        pictured: whether pictures are drawn of this chunk, which is so for the one with the first seed.
        min_lanes: minimum number of lanes of a program: shorter chunks are filled up, so that nothing is compiled again.
        turn: the arms that are trained, 'arm 2 of 7', for the progress line; '' with a single arm.
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
        """The precision of the trainings on these devices: 'f32', 'tf32' or 'bf16'."""
        return classifier.precision_on(self.common.devices[0], self.config.precision)

    def over_lanes(self, function: Any, devices: list[jax.Device] | None = None, precision: str = "f32") -> Any:
        """`lanes.over_lanes` with the config's options.

        Args:
            function: of one lane.
            devices: instead of the common ones, one for each lane.
            precision: of a training; everything else is float32 on every device.
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
        """The plan of a training whose state is saved in `folder`; see `loop.Plan`."""
        config, common = self.config, self.common
        if (total := steps or epochs * per_epoch) >= 2**31:
            raise UserError(f"{label} must have at most {2**31 - 1} steps (got {total}): lower the epochs or steps")
        owner = config.gan if kind == "gan" else config.classifier  # the feature extractor has the classifier's network
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
        """The compiled function (or another object) of that key; made once, at its first use."""
        if key not in self.common.programs:
            self.common.programs[key] = make()
        made = self.common.programs[key]
        return made._replace(min_lanes=self.min_lanes) if isinstance(made, lanes.Spread) else made


def load_common(
    config: Any,
    most_lanes: int | None = None,
    form: autotune.Choice | None = None,
    compiling: Callable[[], float] = lambda: 0.0,
    stopping: Callable[[], bool] = lambda: False,
) -> Common:
    """Load the data, put its training rows on the devices, and choose how to compute.

    Args:
        config: the experiment's ConfigDict.
        most_lanes: largest number of lanes that run at once; default: all seeds.
        form: an earlier choice to reuse; default: by the config, or measured.
        compiling, stopping: see `Common`.

    Raises:
        UserError: a value that its field does not allow, missing or damaged data.
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
    lane_count = most_lanes or len(seeds_asked.of(config.seeds))
    devices = lanes.devices_for(lane_count, config.data_devices)
    shared = lanes.replicate(Shared(jnp.asarray(dataset.train.x), jnp.asarray(dataset.train.y)), devices)
    lanes_per_device = -(-lane_count * config.data_devices // len(devices))
    products = classifier.products_of(classifier.precision_on(devices[0], config.precision))
    wanted = {"conv": config.conv, "inner": config.lanes, "precision": products}
    form = form or autotune.choose(lanes_per_device, devices[0], environment.kept_programs(), **wanted)
    return Common(dataset, devices, shared, form, {}, compiling, stopping, Pace(environment.kept_programs()))


def inputs_of(keys: jax.Array, pool: Pool, counts: Sequence[int], values: Mapping[str, jax.Array] | None = None) -> Inputs:
    """The inputs of a training's lanes: keys [L], pools and values with leaves [L, ...], the same class counts for all."""
    return Inputs(keys, pool, jnp.tile(jnp.asarray(counts, jnp.int32), (keys.shape[0], 1)), values or {})


def init_lanes(init: Any, keys: jax.Array) -> Any:
    """`init(key)` for the keys of all lanes, compiled: leaves [L, ...]."""
    # It runs once: on a CPU, full optimisation by LLVM takes ten times as long (12 s for a small GAN), for the same numbers.
    options = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
    return jax.jit(jax.vmap(init), compiler_options=options)(keys)
