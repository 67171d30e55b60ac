"""The GAN stage: train the GANs of all lanes, with their checkpoints, sample grids and warnings.

One conditional GAN for all classes, or, with `config.gan.classes`, one GAN for each of those: then the lanes of the training
are the seeds of the first class, of the second, ..., and all are trained together.
"""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from imbal_jax import models
from imbal_jax.artifacts import checkpoint
from imbal_jax.data.batches import Inputs, Pool
from imbal_jax.errors import UserError, nearest
from imbal_jax.gan import losses, tricks
from imbal_jax.gan import step as gan_step
from imbal_jax.gan import train as gan_train
from imbal_jax.gan.augment import parse
from imbal_jax.methods import Task
from imbal_jax.methods.rows.gan_synth import TrainedGan
from imbal_jax.models import contract
from imbal_jax.models.layers import initializer
from imbal_jax.report.curves import Curves
from imbal_jax.runtime import lanes
from imbal_jax.stages import classifier_training, gan_failure, gan_grids, gan_selection, training_memory
from imbal_jax.stages.context import Chunk, init_lanes, inputs_of
from imbal_jax.train import loop, optimizer
from imbal_jax.train.classifier import dtype_of
from imbal_jax.train.cost import Cost

STATISTICS = 1_024  # rows that batch statistics are computed from, or those of an epoch if it has fewer
FEWEST = 4  # batches that they are at least computed from


def nets_of(config: Any, task: Task, form: str) -> gan_step.Nets:
    """The networks, optimisers and loss that `config.gan` names.

    Raises:
        UserError: an unknown model, loss, augmentation, order of batches, switch or class.
    """
    gan, classes = config.gan, len(task.counts)
    name = models.gan_for(gan.model, task.shape)
    module = models.load(name, "gan.model", "Generator", "Discriminator")
    if gan.batches not in ("shuffle", "balanced"):
        raise UserError(f"config.gan.batches must be 'shuffle' or 'balanced' (got {gan.batches!r})")
    initializer(gan.init)
    setup = tricks.setup(gan)
    common = {"classes": classes, "form": form, "init_kernel": gan.init, **_switched(module, name, setup)}
    adam = partial(optimizer.make, gan.optimizer, steps=1, beta1=gan.beta1)  # at a constant rate
    owner = f"config.gan.model is {name!r}"
    g_options = {"latent": gan.latent, "width": gan.g_width, **common, **_shape(module, task), **setup.generator}
    d_options = {"width": gan.d_width, **common, **setup.discriminator}
    return gan_step.Nets(
        generator=contract.make_network(module.Generator, owner, **g_options),
        discriminator=contract.make_network(module.Discriminator, owner, **d_options),
        g_optimizer=adam(setup.g_learning_rate),
        d_optimizer=adam(setup.d_learning_rate),
        loss=losses.make(gan.loss, real_target=gan.real_target),
        latent=gan.latent,
        classes=classes,
        d_steps=setup.d_steps,
        augment=parse(gan.augment),
        ema=gan.ema,
        separate=setup.separate,
        r1=gan.r1,
        dtype=dtype_of(config.precision),
        own=own_classes(gan.classes, task),
    )


def _switched(module: Any, name: str, setup: tricks.Setup) -> dict[str, bool]:
    """The switches of both networks."""
    if lacking := [field for field in setup.networks if field not in module.Discriminator.__dataclass_fields__]:
        raise UserError(f"config.gan.tricks.{lacking[0]} needs another config.gan.model ({name} has no such switch)")
    return setup.networks


def _shape(module: Any, task: Task) -> dict[str, Any]:
    """The shape of an example, for generators that take a shape or a size."""
    if (own := module.Generator.__dataclass_fields__.get("shape")) and len(own.default) == len(task.shape):
        return {"shape": tuple(task.shape)}
    if "size" not in module.Generator.__dataclass_fields__ or len(task.shape) != 3:
        return {}
    return {"size": task.shape[0], "colours": task.shape[-1]}


def own_classes(text: str, task: Task) -> tuple[int, ...]:
    """The classes with one GAN each, by `config.gan.classes`; () for one conditional GAN of all.

    Args:
        text: '', 'minority', or names of classes separated by commas.
        task: the problem.

    Raises:
        UserError: an unknown class, or one without rows.
    """
    if text == "minority":
        return tuple(label for label in task.minority if task.counts[label])
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in task.class_names:
            all_names = ", ".join(task.class_names)
            raise UserError(
                f"unknown class {name!r} (config.gan.classes){nearest(name, task.class_names)}; the classes are {all_names}"
            )
    labels = tuple(sorted({task.class_names.index(name) for name in names}))
    for label in labels:
        if not task.counts[label]:
            raise UserError(f"class {task.class_names[label]!r} (config.gan.classes) has no training rows: leave it out")
    return labels


def drawable_classes(chunk: Chunk) -> tuple[int, ...]:
    """The classes that the GANs can generate rows of; no GAN needs to be trained for this."""
    return own_classes(chunk.config.gan.classes, chunk.task) or tuple(range(len(chunk.task.counts)))


def check_data(gan: Any, task: Task) -> None:
    """Raise UserError where `config.gan.classes` or `config.gan.augment` does not fit the data."""
    if gan.classes == "minority" and not own_classes(gan.classes, task):
        raise UserError(
            "config.gan.classes='minority' needs a class with fewer than half the rows of the largest: name the classes, or "
            "leave it empty for one conditional GAN of all"
        )
    if parse(gan.augment) and len(task.shape) != 3:
        raise UserError(
            f"config.gan.augment={gan.augment!r} (DiffAugment) needs images [H, W, C] (got rows of shape {task.shape}): leave "
            "it empty"
        )


def check_shape(nets: gan_step.Nets, model: str, shape: tuple[int, ...]) -> None:
    """Raise UserError where the generator makes rows of another shape than the data has; `model` is its name."""

    def made(key: jax.Array) -> jax.Array:
        z, label = jnp.zeros((1, nets.latent)), jnp.zeros((1, nets.classes))
        return nets.generator.apply(nets.generator.init(key, z, label), z, label)

    shape_made = jax.eval_shape(made, jax.random.key(0)).shape[1:]
    if shape_made != shape:
        raise UserError(
            f"config.gan.model={model} with config.gan.latent={nets.latent} generates rows of shape {shape_made}, and the data "
            f"has {shape}: choose another network or latent length, or other options of the data"
        )


def check_contract(nets: gan_step.Nets, model: str, shape: tuple[int, ...]) -> None:
    """Raise UserError where the networks of that name do not take or return what the training needs.

    The package's own networks, which its tests check, are left out.
    """
    if "." not in model:
        return
    owner = f"config.gan.model is {model!r}"
    contract.check_pair(nets.generator, nets.discriminator, owner, nets.latent, nets.classes, shape)
    if jax.default_backend() == "cpu":
        z, x, label = (jax.ShapeDtypeStruct((1, *sizes), jnp.float32) for sizes in ((nets.latent,), shape, (nets.classes,)))
        for network, rows in ((nets.generator, z), (nets.discriminator, x)):
            contract.warn_of_plain_convolutions(owner, contract.plain_convolutions(network, rows, label))


def check_penalty(nets: gan_step.Nets, config: Any, shape: tuple[int, ...]) -> None:
    """Raise UserError for a gradient penalty on a discriminator with batch normalisation.

    The penalty needs the gradient at each example, and takes it from the sum of the batch's logits. With batch normalisation
    each example changes the others' logits through the moments. Gulrajani et al. 2017, section 4, use none in the critic for
    that reason.
    """
    if not (nets.loss.penalty or nets.r1) or not gan_train.has_batch_norm(nets, shape)[1]:
        return
    option = f"config.gan.loss={config.gan.loss!r}" if nets.loss.penalty else f"config.gan.r1={config.gan.r1:g}"
    alternative = "config.gan.loss='hinge'" if nets.loss.penalty else "config.gan.r1=0"
    raise UserError(
        f"{option} penalises the discriminator's gradient at each example, and the batch normalisation of {config.gan.model} "
        f"couples the examples of a batch: use {alternative}, or a discriminator without it (s0_cgan, ecg_gan, s2_dcgan with "
        "config.gan.tricks.batch_norm=0)"
    )


def names(chunk: Chunk) -> list[str | None]:
    """The names of the GANs in metrics.jsonl, with their classes if there is one GAN per class."""
    labels = own_classes(chunk.config.gan.classes, chunk.task)
    if not labels:
        return [chunk.point_text or None]
    return [f"{chunk.point_text} class {chunk.task.class_names[label]}".strip() for label in labels]


class Fitted(NamedTuple):
    """A trained GAN and its cost.

    Attributes:
        gan: the networks.
        cost: of the GANs of one seed; examples are rows of the discriminator's and the generator's steps.
        plain: cost of the classifier that the selection of the state needed; zero if it needed none.
        steps: the generator's steps as fields of a row: 'gan_steps', or 'gan_steps_S' if class S has its own GAN.
    """

    gan: TrainedGan
    cost: Cost
    plain: Cost
    steps: dict[str, int]


def fit(chunk: Chunk, curves: Curves) -> Fitted:
    """Train to the end of `config.gan.epochs`, resuming where an earlier run stopped."""
    gan = chunk.config.gan
    parts = _parts(chunk)
    gan_count = max(1, len(parts.nets.own))
    with_all_gans = chunk._replace(min_lanes=chunk.min_lanes * gan_count)  # one lane for each seed and GAN
    judges = [gan_failure.evaluate_epoch(with_all_gans, curves, names(chunk))] if gan.on_failure != "warn" else []
    plain_cost = Cost()
    if gan.select != "last":
        for label, message in gan_selection.not_judged(chunk, parts.nets.own).items():
            of = None if label is None else f"class {chunk.task.class_names[label]}"
            logging.warning("gan%s: %s", "" if of is None else f", {of}", message)
            for seed in chunk.seeds:
                curves.warn("gan", seed, 0, message, of)
        plain, plain_cost = classifier_training.fit_plain(chunk, curves)
        options = {"recompute": update} if (update := _recompute(chunk, parts)) else {}
        judges.append(
            gan_selection.evaluate_epoch(with_all_gans, parts.nets, plain, gan.grid_every, gan.epochs, parts.inputs, **options)
        )
    renewed = _renewed(with_all_gans, parts)
    trained = loop.train(
        chunk.plan("gan", chunk.folder / "gan", gan.epochs, max(parts.steps.values())),
        _program(with_all_gans, parts),
        init_lanes(parts.init, parts.inputs.key),
        parts.inputs,
        chunk.shared,
        gan_step.METRICS,
        partial(_epoch_ended, chunk, curves, parts.nets, renewed),
        partial(curves.resume, "gan", names(chunk)),
        loop.in_turn(judges),
    )
    state: gan_step.State = trained.state
    steps = {name: trained.epochs * count for name, count in parts.steps.items()}
    seen = sum(steps.values()) * parts.batch * (2 * parts.nets.d_steps + 1)
    clock = loop.stopwatch(chunk.common.compiling)
    chosen = gan_selection.chosen(state)
    if state.best is None:  # otherwise the selection has recomputed them
        chosen = jax.block_until_ready(renewed(chosen))
    cost = Cost((trained.seconds + clock()) / len(chunk.seeds), seen)
    generator, discriminator = (_by_seed(parts.nets, of) for of in chosen)
    if state.best is not None:
        epochs = np.asarray(_by_seed(parts.nets, state.best.epoch)).tolist()
        checkpoint.save(chunk.folder / gan_selection.FOLDER, gan.epochs, {"generator": generator}, {"epochs": epochs}, keep=1)
    return Fitted(TrainedGan(parts.nets, generator, discriminator), cost, plain_cost, steps)


def _by_seed(nets: gan_step.Nets, variables: Any) -> Any:
    """Leaves [L, ...] unchanged; with one GAN for each of O classes, [O L, ...] -> [L, O, ...]."""
    if not nets.own:
        return variables
    return jax.tree.map(lambda leaf: leaf.reshape(len(nets.own), -1, *leaf.shape[1:]).swapaxes(0, 1), variables)


def bytes_for(chunk: Chunk, seeds: int) -> int:
    """Bytes that the GANs' training takes on each device with so many seeds; `chunk` is of one seed."""
    parts = _parts(chunk)
    lane_count = seeds * max(1, len(parts.nets.own))
    return training_memory.bytes_for(chunk, _program(chunk, parts), parts.init, parts.inputs, gan_step.METRICS, lane_count)


def lane_steps(chunk: Chunk) -> int:
    """The generator steps of the GANs of one seed, summed over the GANs, which all take as many as the longest."""
    parts = _parts(chunk)
    return chunk.config.gan.epochs * max(parts.steps.values()) * max(1, len(parts.nets.own))


class _Parts(NamedTuple):
    nets: gan_step.Nets
    batch: int
    steps: dict[str, int]  # in an epoch, see `Fitted.steps`
    init: Any
    inputs: Inputs


def _parts(chunk: Chunk) -> _Parts:
    gan = chunk.config.gan
    pool, counts = training_rows(chunk)
    nets = nets_of(chunk.config, chunk.task, chunk.common.form.conv)
    init = partial(gan_train.init, nets=nets, shape=chunk.task.shape)
    init = partial(_with_room, init, gan.select != "last", gan.on_failure != "warn")
    sizes = {f"gan_steps_{chunk.task.class_names[label]}": counts[label] for label in nets.own}
    sizes = sizes or {"gan_steps": pool.rows.shape[1]}
    batch = gan.batch if nets.own else min(gan.batch, max(1, sizes["gan_steps"] // nets.d_steps))
    # Each class's GAN sees its own rows once an epoch, independently of the other classes.
    steps = {name: gan.steps_per_epoch or max(1, size // (batch * nets.d_steps)) for name, size in sizes.items()}
    if nets.own:
        return _Parts(nets, batch, steps, init, _inputs_by_class(chunk, nets.own, pool, counts, list(steps.values())))
    return _Parts(nets, batch, steps, init, inputs_of(chunk.keys, pool, counts))


def _with_room(init: Any, best: bool, guard: bool, key: jax.Array) -> gan_step.State:
    state = init(key)
    guarded = gan_failure.start(state) if guard else state
    return gan_selection.start(guarded) if best else guarded


def _recompute(chunk: Chunk, parts: _Parts) -> gan_selection.Recompute | None:
    """Recomputes a lane's batch statistics, see `gan.train.with_statistics`; None if neither network has any."""
    key = ("gan norms", parts.nets.generator, parts.nets.discriminator)
    if not any(chunk.program(key, lambda: gan_train.has_batch_norm(parts.nets, chunk.task.shape))):
        return None
    rows = min(STATISTICS, max(parts.steps.values()) * parts.nets.d_steps * parts.batch)
    batches = max(FEWEST, -(-rows // parts.batch))
    order = chunk.config.gan.batches
    return partial(gan_train.with_statistics, parts.nets, batch=parts.batch, order=order, count=batches)


def _renewed(chunk: Chunk, parts: _Parts) -> Callable[[tuple[Any, Any]], tuple[Any, Any]]:
    """A function that recomputes the batch statistics of the lanes' generators and discriminators."""
    recompute = _recompute(chunk, parts)
    if recompute is None:
        return lambda variables: variables

    def one(lane: Any, shared: Any) -> tuple[Any, Any]:
        _, (variables, inputs) = lane
        return recompute(variables, inputs, shared)

    key = ("gan batch statistics", str(chunk.config.gan), parts.nets.own, parts.batch)
    run = chunk.program(key, lambda: chunk.over_lanes(one))
    return lambda variables: run((), (variables, parts.inputs), chunk.shared)


def _inputs_by_class(chunk: Chunk, own: tuple[int, ...], pool: Pool, counts: tuple[int, ...], steps: list[int]) -> Inputs:
    """The seeds of the first class's GAN, of the second's, ...: a class's GAN does not depend on the other classes.

    `steps` are those of an epoch, for each class.
    """
    keys = [lanes.purposes(chunk.keys, f"gan of class {chunk.task.class_names[label]}") for label in own]
    by_class = {"own": own, "steps": steps}
    values = {name: jnp.repeat(jnp.asarray(each, jnp.float32), len(chunk.seeds)) for name, each in by_class.items()}
    pools = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * len(own)), pool)
    return inputs_of(jnp.concatenate(keys), pools, counts, values)


def _program(chunk: Chunk, parts: _Parts) -> Any:
    order = chunk.config.gan.batches
    epoch_of = gan_train.epoch_of(parts.nets, parts.batch, order)
    precision = chunk.precision
    key = ("gan", str(chunk.config.gan), parts.nets.own, parts.batch, precision)
    active = gan_failure.active if chunk.config.gan.on_failure != "warn" else None
    steps_of = (lambda inputs: inputs.values["steps"].astype(jnp.int32)) if parts.nets.own else None
    return chunk.program(key, lambda: chunk.over_lanes(loop.span_function(epoch_of, active, steps_of), precision=precision))


def training_rows(chunk: Chunk) -> tuple[Pool, tuple[int, ...]]:
    """The GAN's training set: the lane's training rows, or exactly `gan.per_class` of each class.

    A larger class gives its first rows, a smaller one is repeated: 100 rows 50 times make 5,000. The number refers to the
    published training set and shrinks in proportion with a subset, like the induced imbalance.
    """
    pool, counts = chunk.train.pool, chunk.train.counts
    if not chunk.config.gan.per_class:
        return pool, counts
    each = max(1, round(chunk.config.gan.per_class * chunk.task.fraction))
    starts = np.cumsum((0, *counts[:-1]))
    index = np.concatenate([start + np.arange(each) % n for start, n in zip(starts, counts, strict=True) if n])
    return pool._replace(rows=pool.rows[:, index]), tuple(each if n else 0 for n in counts)


def _epoch_ended(
    chunk: Chunk,
    curves: Curves,
    nets: gan_step.Nets,
    renewed: Callable[[tuple[Any, Any]], tuple[Any, Any]],
    epoch: int,
    means: dict[str, np.ndarray],
    state: Any,
) -> None:
    gan_names, loss = names(chunk), chunk.config.gan.loss
    signs_by_lane = gan_failure.signs(curves, gan_names, epoch, means, loss)
    actions = [{}] * len(signs_by_lane) if state.guard is None else gan_failure.actions(state.guard, epoch, signs_by_lane)
    curves.add("gan", gan_names, epoch, means, actions, loss_name=loss)
    for (name, seed), lane_signs, line in zip(itertools.product(gan_names, curves.seeds), signs_by_lane, actions, strict=True):
        for message in gan_failure.messages(lane_signs, line):
            message = f"{name}: {message}" if nets.own else message
            logging.warning("gan, seed %d, epoch %d: %s", seed, epoch, message)
            curves.warn("gan", seed, epoch, message, name)
    if epoch % chunk.config.gan.grid_every == 0 or epoch == chunk.config.gan.epochs:
        weights = _by_seed(nets, renewed((gan_step.sampler(state), state.discriminator))[0])
        checkpoint.save(chunk.folder / "generator", epoch, {"generator": weights}, {"epoch": epoch}, keep=1000)
        if not chunk.pictured:
            return
        title = f"seed {chunk.seeds[0]}, epoch {epoch}"
        gan_grids.draw(chunk, nets, weights, chunk.workdir / "plots" / f"samples_epoch_{epoch:03d}.png", title)
