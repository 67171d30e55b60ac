"""All fields of an experiment's config; the defaults, the checks before a run, the help and docs/config.md derive from them.

One row per field. The fields of a data set are declared in its file in imbal_jax/data, as `FIELDS`. To add an option of a
training, add a row here and use the field in the code; nothing else has to change.
"""

import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from imbal_jax import data
from imbal_jax.errors import UserError, nearest
from imbal_jax.fields import Field, bounds_of, check_value, choices_of

EXPERIMENT = (
    Field("name", "experiment", "Names the run and its workdir."),
    Field("seed", 0, "Root of all randomness; every seed of the sweep is derived from it.", 0, 2**32 - 1),
    Field(
        "seeds",
        1,
        "Number of seeds, which are trained together; or a range, as for job arrays: '8:16' are the seeds 8 to 15.",
        check="imbal_jax.seed_range.of",
    ),
    Field("baselines", (), "Balancing methods to compare, as specs: ('none', 'over', 'smote | mixup(alpha=0.2)')."),
    Field("method", "none", "The method of interest, run after the baselines."),
    Field("baseline", "", "The method that the others are compared with; '': 'none' if it is run, else the first."),
    Field("metric", "balanced_accuracy", "Metric that the report is sorted by and the comparisons are decided in."),
    Field("margin", 0.002, "Smallest difference of interest: differences inside +-margin count as equivalent.", 0, 1),
    Field("unequal_steps", False, "Whether arms with different numbers of training steps are compared."),
    Field(
        "stop",
        "",
        "Stop rule: 'decided(margin=0.002, every=8)' adds seeds until every comparison is decided.",
    ),
    Field("grid", "", "Values to combine: \"{'mixup.alpha': (0.1, 0.4), 'classifier.learning_rate': (0.003, 0.01)}\"."),
    Field(
        "expected",
        {},
        "Published figures, shown beside the results: name -> accuracy, or name -> {metric: value, 'arm': spec}.",
    ),
)

DATA = (
    Field(
        "data.name",
        "mnist",
        "Data set: a file in imbal_jax/data, or a dotted path.",
        choices="imbal_jax.data.names",
        extendable=True,
    ),
    Field("data.source", "auto", "One of the data set's sources; 'auto': the first that is available."),
    Field("data.dir", "", "Directory of the data; '': the environment variable IMBAL_DATA_DIR, else the usual places."),
    Field("data.per_class", 0, "Training rows of each class to keep, the first ones; 0: all.", 0, 10**8),
    Field(
        "data.validation",
        0.0,
        "Rows held out for early stopping, calibration and the choice of a GAN's epoch. Below 1: a share of each class, taken "
        "after the subsampling (before it, in whole groups, if the rows have groups). From 2 on: a number of rows, the first "
        "ones, taken before it.",
        0,
        10**8,
    ),
)

CUT = (
    Field(
        "cut.profile",
        "none",
        "Induced imbalance: none, {6: 100, 8: 100}, exponential(factor=100), step(factor=100, minority=0.5).",
    ),
    Field(
        "cut.draw", "first", "Which rows are kept: the first ones, or random ones for each seed.", choices=("first", "random")
    ),
)

GAN = (
    Field(
        "gan.model",
        "s0_cgan",
        "Networks of the generator and the discriminator: a file in imbal_jax/models, or a dotted path.",
        choices="imbal_jax.models.gans",
        extendable=True,
    ),
    Field("gan.g_width", 1.0, "Factor on the channels of the generator.", 0.01, 100),
    Field("gan.d_width", 1.0, "Factor on the channels of the discriminator.", 0.01, 100),
    Field("gan.classes", "", "One GAN per class for these: 'minority' or 'S, V, F'; '': one conditional GAN of all classes."),
    Field("gan.separate", False, "Give the discriminator real and generated rows in separate batches."),
    Field("gan.init", "glorot_uniform", "Initial kernels.", choices="imbal_jax.models.layers.INITIALIZERS"),
    Field("gan.latent", 128, "Length of the latent vector.", 1, 100_000),
    Field("gan.epochs", 30, "Passes over the GAN's rows; with `classes`, of each GAN over the rows of its class.", 1, 10**6),
    Field("gan.steps_per_epoch", 0, "Generator steps per epoch; 0: as many as one pass has.", 0, 40_000),
    Field("gan.batch", 128, "Real rows per step.", 1, 10**6),
    Field("gan.loss", "bce", "Loss, or a dotted path.", choices="imbal_jax.gan.losses.names", extendable=True),
    Field("gan.real_target", 1.0, "Label of real rows in 'bce' and 'lsgan'; 0.9 is one-sided label smoothing.", 0, 1),
    Field("gan.optimizer", "adam", "Optimiser of both networks.", choices="imbal_jax.train.optimizer.NAMES"),
    Field("gan.g_learning_rate", 3e-4, "Learning rate of the generator.", 0, 1000),
    Field("gan.d_learning_rate", 3e-4, "Learning rate of the discriminator.", 0, 1000),
    Field("gan.beta1", 0.9, "Adam's decay of the first moment, or the momentum.", 0, below=1),
    Field("gan.d_steps", 1, "Discriminator steps per generator step.", 1, 1000),
    Field(
        "gan.batches",
        "shuffle",
        "Order of rows: shuffled epochs, or batches in which every class is equally likely.",
        choices=("shuffle", "balanced"),
    ),
    Field(
        "gan.per_class",
        0,
        "Train on exactly this number of rows of each class, repeated or left out; 0: on the training set as it is.",
        0,
        10**8,
    ),
    Field("gan.augment", "", "DiffAugment for images: 'brightness, contrast, translation, cutout', or some of them."),
    Field("gan.r1", 0.0, "Weight of the R1 penalty (squared gradient at real rows); 0: none; published: 10.", 0, 10**6),
    Field("gan.ema", 0.0, "Decay of the moving average of the generator's weights; 0: none.", 0, below=1),
    Field(
        "gan.select",
        "last",
        "The state that rows are generated with: the last, or the one with the lowest Frechet distance to the validation rows.",
        choices="imbal_jax.stages.gan_selection.SELECT",
    ),
    Field(
        "gan.on_failure",
        "warn",
        "For a seed whose GAN shows signs of failure: warn, stop its training, or restart from its last good state.",
        choices="imbal_jax.stages.gan_failure.ON_FAILURE",
    ),
    Field("gan.grid_every", 5, "Epochs between generator checkpoints and sample grids.", 1, 10**6),
    Field(
        "gan.tricks",
        {},
        "Switches for the advice on DCGANs, 0 or 1 each, for networks that have them: see imbal_jax/gan/tricks.py.",
    ),
)

CLASSIFIER = (
    Field(
        "classifier.model",
        "auto",
        "Network: a file in imbal_jax/models, or a dotted path; 'auto' chooses by the shape of the rows.",
        choices="imbal_jax.models.classifiers",
        extendable=True,
    ),
    Field("classifier.width", 1.0, "Factor on the network's channels.", 0.01, 100),
    Field("classifier.init", "he_fan_out", "Initial kernels.", choices="imbal_jax.models.layers.INITIALIZERS"),
    Field(
        "classifier.mean",
        (),
        "Inputs are standardised to (x - mean) / std: one number, or one per channel; (): no standardisation.",
    ),
    Field("classifier.std", (), "See `classifier.mean`."),
    Field("classifier.epochs", 20, "Passes over the real rows; every arm gets the same number of steps.", 1, 10**6),
    Field(
        "classifier.epochs_of",
        "real",
        "Rows that an epoch passes over: the real ones, or each arm's own (as in many papers; arms then differ in steps).",
        choices="imbal_jax.train.length.EPOCHS_OF",
    ),
    Field(
        "classifier.steps", 0, "Optimiser steps of every arm's training, instead of `epochs`; 0: those of `epochs`.", 0, 10**8
    ),
    Field("classifier.batch", 128, "Rows per step.", 1, 10**6),
    Field("classifier.optimizer", "adam", "Optimiser.", choices="imbal_jax.train.optimizer.NAMES"),
    Field("classifier.learning_rate", 1e-3, "Peak learning rate.", 0, 1000),
    Field("classifier.momentum", 0.9, "Momentum of 'momentum' and 'nesterov'; Adam's decay of the first moment.", 0, below=1),
    Field("classifier.beta2", 0.999, "Decay of the second moment in 'adam' and 'adamw'.", 0, below=1),
    Field("classifier.weight_decay", 0.0, "Weight decay of all parameters; decoupled in 'adamw'.", 0, 1000),
    Field("classifier.schedule", "cosine", "Learning rate over training.", choices="imbal_jax.train.optimizer.SCHEDULES"),
    Field("classifier.warmup", 0.0, "Epochs in which the learning rate rises to its peak; may be a fraction.", 0, 10**6),
    Field(
        "classifier.milestones", (0.8, 0.9), "Shares of the training at which schedule 'step' multiplies the rate by `decay`."
    ),
    Field("classifier.decay", 0.1, "See `classifier.milestones`.", 0, 1000),
    Field("classifier.clip", 0.0, "Largest global norm of the gradients; 0: no limit.", 0, 10**9),
    Field(
        "classifier.ema",
        0.0,
        "Decay of a moving average of the weights, which is evaluated instead of them; 0: none.",
        0,
        below=1,
    ),
    Field(
        "classifier.select",
        "last",
        "Which epoch is evaluated: the last, or the best one on the validation rows (data.validation).",
        choices="imbal_jax.train.selection.SELECT",
    ),
    Field("classifier.select_by", "balanced_accuracy", "Metric of 'best'.", choices="imbal_jax.train.selection.BY"),
    Field("classifier.patience", 0, "Epochs without improvement after which a seed stops training; 0: never.", 0, 10**6),
)

QUALITY = (
    Field(
        "quality.samples",
        500,
        "Real and generated rows of each class that the generator's quality is measured on; 0: no measurement.",
        0,
        10**6,
    ),
    Field("quality.k", 5, "Number of neighbours of precision, recall, density and coverage.", 1, 100_000),
    Field("quality.epochs", 3, "Epochs of the feature extractor, a classifier trained on all real rows.", 1, 10**6),
    Field("quality.batch", 128, "Rows per step of the feature extractor's training.", 1, 10**6),
    Field("quality.optimizer", "adam", "Optimiser of the feature extractor.", choices="imbal_jax.train.optimizer.NAMES"),
    Field("quality.learning_rate", 1e-3, "Learning rate of the feature extractor.", 0, 1000),
    Field(
        "quality.schedule",
        "cosine",
        "Schedule of the feature extractor's learning rate.",
        choices="imbal_jax.train.optimizer.SCHEDULES",
    ),
)

RUNTIME = (
    Field(
        "precision",
        "f32",
        "Precision of the trainings; weights stay float32. tf32 is for GPUs.",
        choices="imbal_jax.train.classifier.PRECISIONS",
    ),
    Field(
        "conv",
        "auto",
        "Implementation of convolutions; 'auto' chooses the faster one by a short measurement.",
        choices=("auto", "gemm", "lax"),
    ),
    Field(
        "lanes",
        "auto",
        "Seeds within a device: vectorised, or one after another; 'auto' chooses by a short measurement.",
        choices=("auto", "vmap", "loop"),
    ),
    Field("lanes_per_device", 0, "Seeds that are trained at once on a device; 0: as many as fit into its memory.", 0, 100_000),
    Field("parallel", "shard_map", "How seeds are distributed over devices.", choices=("shard_map", "pmap")),
    Field("data_devices", 1, "Devices per seed; each batch is divided among them.", 1, 100_000),
    Field("chunk_seconds", 10.0, "Target duration of one uninterrupted run on the device, in seconds.", 0, 10**9),
    Field("save_seconds", 30.0, "Minimum time between two checkpoints of a training, in seconds.", 0, 10**9),
)

PARTS: Mapping[str, tuple[Field, ...]] = {
    "experiment": EXPERIMENT,
    "data": DATA,
    "cut": CUT,
    "gan": GAN,
    "classifier": CLASSIFIER,
    "quality": QUALITY,
    "runtime": RUNTIME,
}


def fields_of(data_name: str = "") -> tuple[Field, ...]:
    """All fields of a config on this data set; without a name, those that do not depend on the data set."""
    data_fields = data.fields(data_name) if data_name else ()
    return tuple(field for part in PARTS.values() for field in part) + data_fields


def defaults(data_name: str) -> dict[str, Any]:
    """The nested dict of all defaults of a config on this data set."""
    tree: dict[str, Any] = {}
    for field in fields_of(data_name):
        *groups, name = field.name.split(".")
        subtree = tree
        for group in groups:
            subtree = subtree.setdefault(group, {})
        subtree[name] = dict(field.default) if isinstance(field.default, Mapping) else field.default
    tree["data"]["name"] = data_name
    return tree


def validate(config: Any) -> None:
    """Check everything about a config that does not depend on the data.

    Args:
        config: a ConfigDict.

    Raises:
        UserError: an unknown or missing field, a value of a wrong type, out of its bounds or not among its choices, or two
            fields that contradict each other.
    """
    values = dict(flat(config.to_dict()))
    check_value(DATA[0], values.get("data.name", ""))
    declared = {field.name: field for field in fields_of(values["data.name"])}
    for name, value in values.items():
        if name not in declared:
            raise UserError(f"unknown config field {name!r}{nearest(name, declared)}; `--help_config` lists all fields")
        check_value(declared[name], value)
    if missing := [name for name in declared if name not in values]:
        raise UserError(
            f"the config has no field {missing[0]!r}: begin with get_config of configs/base.py, which sets all fields"
        )
    for rule in RULES:
        rule(config)


MAPPINGS = frozenset(field.name for field in fields_of() if isinstance(field.default, Mapping))


def flat(tree: Mapping[str, Any], whole: Collection[str] = MAPPINGS, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """('gan.epochs', 30) for every field.

    Args:
        tree: a nested dict of fields.
        whole: fields with mappings as values that are not descended into.
        prefix: of the names.
    """
    for name, value in tree.items():
        if isinstance(value, Mapping) and f"{prefix}{name}" not in whole:
            yield from flat(value, whole, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _check_validation(config: Any) -> None:
    held = config.data.validation
    if held >= 1 and (held < 2 or held != int(held)):
        raise UserError(f"config.data.validation must be a share below 1, or a whole number of at least 2 rows (got {held})")


def _check_schedule(config: Any) -> None:
    options = config.classifier
    if not options.steps and options.warmup >= options.epochs:
        raise UserError(
            f"config.classifier.warmup must be shorter than the training of {options.epochs} epochs (got {options.warmup:g})"
        )
    shares = tuple(options.milestones)
    numbers = all(isinstance(share, int | float) and 0 < share < 1 for share in shares)
    if not numbers or list(shares) != sorted(set(shares)):
        raise UserError(
            f"config.classifier.milestones must be increasing shares between 0 and 1, such as (0.8, 0.9) (got {shares})"
        )
    if options.schedule == "step" and not shares:
        raise UserError("config.classifier.schedule 'step' needs config.classifier.milestones, such as (0.8, 0.9)")


def _check_selection(config: Any) -> None:
    options = config.classifier
    if options.patience and options.select != "best":
        raise UserError(f"config.classifier.patience={options.patience} needs config.classifier.select='best'")
    for field, needs_rows in (("classifier.select", options.select == "best"), ("gan.select", config.gan.select == "frechet")):
        if needs_rows and not config.data.validation:
            raise UserError(f"config.{field} needs validation rows: hold some out with --config.data.validation=0.1")


def _check_standardisation(config: Any) -> None:
    mean, std = config.classifier.mean, config.classifier.std
    if len(mean) != len(std):
        raise UserError(f"config.classifier.mean and .std must have the same length (got {len(mean)} and {len(std)} numbers)")
    finite = [isinstance(value, int | float) and abs(value) < float("inf") for value in (*mean, *std)]
    if not all(finite) or not all(value > 0 for value in std):
        raise UserError(f"config.classifier.mean and .std must be finite, std above 0 (got {tuple(mean)} and {tuple(std)})")


def _check_devices(config: Any) -> None:
    if config.data_devices > 1 and config.parallel == "pmap":
        raise UserError(f"config.parallel must be 'shard_map' with config.data_devices={config.data_devices} (got 'pmap')")
    if config.classifier.batch % config.data_devices:
        raise UserError(
            f"config.data_devices must divide config.classifier.batch={config.classifier.batch} (got {config.data_devices})"
        )


RULES: tuple[Callable[[Any], None], ...] = (
    _check_validation,
    _check_schedule,
    _check_selection,
    _check_standardisation,
    _check_devices,
)


def help_text(name: str = "", data_name: str = "") -> str:
    """The documentation of a field, of a part such as 'gan', or of all fields.

    Raises:
        UserError: the field does not exist.
    """
    fields = fields_of(data_name)
    chosen = [field for field in fields if name in ("", field.name) or field.name.startswith(f"{name}.")]
    if not chosen:
        raise UserError(f"unknown config field {name!r}{nearest(name, [field.name for field in fields])}")
    return "\n".join(f"{field.name} = {field.default!r}{_allowed(field)}\n{_indented(field.doc)}" for field in chosen)


def _indented(text: str) -> str:
    return textwrap.fill(text, 80, initial_indent="    ", subsequent_indent="    ", break_long_words=False)


def _allowed(field: Field) -> str:
    if choices := choices_of(field):
        return f"   ({', '.join(map(str, choices))})"
    if field.minimum is not None and field.maximum is not None:
        return f"   ({field.minimum:g} to {field.maximum:,.12g})"
    return f"   ({bounds})" if (bounds := bounds_of(field)) else ""
