"""Rebuilds a run's generator from the files of the run: checkpoints, point.json, config.json and environment.json."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.arms import at
from imbal_jax.artifacts import checkpoint, json_files, point_file
from imbal_jax.errors import UserError
from imbal_jax.gan.step import Nets
from imbal_jax.methods import Task
from imbal_jax.ops.conv import resolve_form
from imbal_jax.report.curves import ranges
from imbal_jax.stages import gan_quality, gan_selection, gan_training

FOLDER = "generator"  # the folder of a training's generator checkpoints, a step for each epoch
MOST_NAMED = 12  # folders listed in a message
DESCRIBED = ("class_names", "shape", "dtype", "counts", "minority")  # fields of the data in environment.json that are needed


class Generator(NamedTuple):
    """The generator of one seed at the end of an epoch; with one GAN per class, each at an epoch of its own.

    Attributes:
        nets: the static part of the GAN.
        variables: numpy leaves [...], or [O, ...] where O classes have one GAN each.
        task: the problem, from the run's environment.json.
        dtype: of the rows.
        model: the name of the network.
        seed: that it was trained on.
        epoch: of the checkpoint; 'S 30, V 45' where `config.gan.select` chose one for each class.
        run: its workdir.
        scale: the scaling of the source's values, see `data.dataset.Scale`; None where they were not scaled.
    """

    nets: Nets
    variables: Any
    task: Task
    dtype: np.dtype
    model: str
    seed: int
    epoch: int | str
    run: Path
    scale: dict[str, Any] | None = None


def load(place: Path, epoch: int | None = None, seed: int | None = None) -> Generator:
    """The generator of a run.

    Args:
        place: a run's workdir, or a folder in it: the folder of checkpoints, one step in it, or a folder above it.
        epoch: None: the one that `config.gan.select` chose, if the training is finished; otherwise the newest.
        seed: None: the first one of the checkpoint.

    Raises:
        UserError: no checkpoint or several, a damaged one or one of another network, an unknown epoch or seed, weights that
            are not finite.
    """
    folder = _chosen(place, seed)
    seeds = _seeds(folder)
    seed = seeds[0] if seed is None else seed
    if epoch is None and place.parent != folder and (chosen := checkpoint.steps(folder.with_name(gan_selection.FOLDER))):
        folder, epoch = folder.with_name(gan_selection.FOLDER), chosen[-1]
    else:
        epoch = _epoch(folder, place, epoch)
    run, config, task, dtype, scale = _described(folder)
    try:
        nets = gan_training.nets_of(config, task, resolve_form(config.conv))
    except AttributeError as error:  # of a ConfigDict without the field
        raise _unfit(run, error) from error
    # Not by `restore`, which skips damaged checkpoints: another epoch would be another result.
    restored = checkpoint.restore_step(folder, {"generator": _like(nets, len(seeds))}, epoch)
    saved = restored.state["generator"]
    # After the restore: the arrays of some networks fit whatever the length of the latent vector.
    gan_training.check_shape(nets, config.gan.model, task.shape)
    lane = seeds.index(seed)
    if not gan_quality.sound(saved, lane):
        raise UserError(
            f"{folder / str(epoch)}: the generator of seed {seed} has weights that are not finite: choose another epoch or seed"
        )
    variables = jax.tree.map(lambda leaf: leaf[lane], saved)
    epoch_shown = _epochs_text(restored.meta["epochs"][lane], nets, task) if "epochs" in restored.meta else epoch
    return Generator(nets, variables, task, dtype, config.gan.model, seed, epoch_shown, run, scale)


def digest(variables: Any) -> str:
    """SHA-256 (hex) of a generator: of the path, dtype, shape and little-endian values of each array, sorted by path.

    Args:
        variables: of one lane, a pytree of numpy or jax arrays; with one GAN per class, those of all classes.
    """
    leaves = jax.tree_util.tree_flatten_with_path(variables)[0]
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}
    total = hashlib.sha256()
    for name, array in sorted(named.items()):
        little = array.astype(array.dtype.newbyteorder("<"))
        total.update(f"{name} {little.dtype.str} {little.shape}\n".encode())
        total.update(little.tobytes())
    return total.hexdigest()


def _chosen(folder: Path, seed: int | None) -> Path:
    """The folder of checkpoints in or above `folder`; of several, the one with the seed."""
    top = folder.parent if folder.parent.name == FOLDER and folder.name.isdecimal() and folder.is_dir() else folder
    folders = [path for path in sorted([top, *top.rglob(FOLDER)]) if path.name == FOLDER and checkpoint.steps(path)]
    if not folders:
        why = "has none" if folder.is_dir() else "is not a folder"
        raise UserError(
            f"no generator checkpoints: {folder} {why}; give a folder that contains {FOLDER!r} with numbered steps, such as "
            "the workdir of a run with a GAN, which writes them to WORKDIR/checkpoints/seeds-.../"
        )
    with_seed = folders if seed is None else [path for path in folders if seed in _seeds(path)]
    if not with_seed:
        known_seeds = ranges({number for path in folders for number in _seeds(path)})
        raise UserError(f"{folder} has no generator of seed {seed}: its seeds are {known_seeds}")
    if len(with_seed) > 1:
        names = [str(path.parent.relative_to(folder)) for path in with_seed]
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        raise UserError(
            f"{folder} holds the generators of several trainings: give one of these folders in it as --sample, or a --seed "
            f"that only one of them has: {'; '.join(names[:MOST_NAMED])}{more}"
        )
    return with_seed[0]


def _seeds(folder: Path) -> list[int]:
    """The seeds of the lanes of a folder of generator checkpoints, in order."""
    return point_file.read(folder.parent).seeds


def _epoch(folder: Path, place: Path, requested: int | None) -> int:
    epochs = checkpoint.steps(folder)
    epoch_of_place = int(place.name) if place.parent == folder else None
    if None not in (epoch_of_place, requested) and epoch_of_place != requested:
        raise UserError(f"--epoch={requested} contradicts {place}, which is epoch {epoch_of_place}: leave one of them out")
    epoch = epoch_of_place if requested is None else requested
    if epoch is not None and epoch not in epochs:
        raise UserError(f"{folder} has no checkpoint of epoch {epoch}: its epochs are {ranges(epochs)}")
    return epochs[-1] if epoch is None else epoch


def _epochs_text(epochs: int | list[int], nets: Nets, task: Task) -> int | str:
    if isinstance(epochs, int):
        return epochs
    if len(epochs) == 1:
        return epochs[0]
    return ", ".join(f"{task.class_names[label]} {epoch}" for label, epoch in zip(nets.own, epochs, strict=True))


def _described(folder: Path) -> tuple[Path, Any, Task, np.dtype, dict[str, Any] | None]:
    """A folder's workdir, its config at the folder's point of the grid, the task, the rows' dtype, their scale."""
    from ml_collections import ConfigDict

    run = next((path for path in folder.parents if (path / "config.json").is_file()), None)
    if run is None:
        raise UserError(f"{folder}: no folder above it has a config.json, which describes the network: leave it in its workdir")
    content, data = json_files.read_object(run / "config.json"), _data(run / "environment.json")
    point = point_file.read(folder.parent).point
    try:
        config = at(ConfigDict(content), point.items())
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _unfit(run, error) from error
    task = Task(tuple(data["counts"]), 1.0, tuple(data["class_names"]), tuple(data["shape"]), tuple(data["minority"]))
    return run, config, task, np.dtype(data["dtype"]), data.get("scale")


def _data(path: Path) -> dict[str, Any]:
    content = json_files.read_json(path)
    data = content.get("data", {}) if isinstance(content, dict) else None
    if not isinstance(data, dict):
        raise UserError(f"{path} is damaged ('data' is not an object): start the run's own command once more")
    if missing := [name for name in DESCRIBED if name not in data]:
        raise UserError(
            f"{path} lacks {', '.join(missing)} of the data (an earlier version wrote it): start the run's own command once "
            "more, which adds them"
        )
    return data


def _unfit(run: Path, error: Exception) -> UserError:
    why = " ".join(str(error).split())
    return UserError(f"{run / 'config.json'} is not a config of this version ({why}): use the version that wrote it")


def _like(nets: Nets, seeds: int) -> Any:
    """The content of a checkpoint of so many seeds: numpy arrays of its shapes and dtypes, which take no memory."""
    z, label = jnp.zeros((1, nets.latent)), jnp.zeros((1, nets.classes))
    shapes = jax.eval_shape(nets.generator.init, jax.random.key(0), z, label)
    leading = (seeds, len(nets.own)) if nets.own else (seeds,)
    return jax.tree.map(lambda leaf: np.broadcast_to(np.zeros((), leaf.dtype), (*leading, *leaf.shape)), shapes)
