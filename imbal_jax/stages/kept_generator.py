"""The generator that a run has kept, rebuilt from its files alone: checkpoints, config.json, environment.json."""

import hashlib
import re
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax import checkpoint, records
from imbal_jax.errors import UserError
from imbal_jax.gan.step import Nets
from imbal_jax.methods import Task
from imbal_jax.ops.conv import resolve_form
from imbal_jax.stages import gan, gan_choice, quality
from imbal_jax.stages.arms import at
from imbal_jax.stages.curves import ranges, seeds_of

FOLDER = "generator"  # where a training keeps them, a step for each epoch
MOST_NAMED = 12  # choices in a message
DESCRIBED = ("class_names", "shape", "dtype", "counts", "minority")  # what environment.json has to say of the data


class Generator(NamedTuple):
    """The generator of one seed, as it was at the end of an epoch, or of one epoch for each class that has its own.

    Attributes:
        nets: the static part of the GAN.
        variables: numpy leaves [...], or [O, ...] where O classes have one each.
        task: what the run's environment.json tells of the problem.
        dtype: of the rows.
        model: the name of the network.
        seed: whose it is.
        epoch: when; 'S 30, V 45' where the rule of `config.gan.select` chose for each class.
        run: the workdir that it belongs to.
        scale: how the rows' values were made from those of the source, see `data.dataset.Scale`; None where they are its own.
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
    """The generator that a run keeps.

    Args:
        place: a run's workdir, or a folder in it: the one with the checkpoints, one step of those, or one above them.
        epoch: None: what `config.gan.select` chose, where the training ended with a choice; else the newest.
        seed: None: the first of the checkpoint's.

    Raises:
        UserError: no checkpoint or several, a damaged one or one of another network, an unknown epoch or seed, weights that
            are no numbers.
    """
    folder = _chosen(place, seed)
    seeds = _seeds(folder)
    seed = seeds[0] if seed is None else seed
    if epoch is None and place.parent != folder and (chosen := checkpoint.steps(folder.with_name(gan_choice.FOLDER))):
        folder, epoch = folder.with_name(gan_choice.FOLDER), chosen[-1]
    else:
        epoch = _epoch(folder, place, epoch)
    run, config, task, dtype, scale = _described(folder)
    try:
        nets = gan.nets_of(config, task, resolve_form(config.conv))
    except AttributeError as error:  # a ConfigDict's, of a field that is not there
        raise _unfit(run, error) from error
    # Not by `restore`, which steps over a damaged one: here another epoch is another answer.
    found = checkpoint.restore_step(folder, {"generator": _like(nets, len(seeds))}, epoch)
    saved = found.state["generator"]
    gan.check_shape(nets, config.gan.model, task.shape)  # where the arrays fit: some networks' do whatever the latent's length
    lane = seeds.index(seed)
    if not quality.sound(saved, lane):
        raise UserError(f"{folder / str(epoch)}: the generator of seed {seed} has weights that are no numbers; choose another")
    variables = jax.tree.map(lambda leaf: leaf[lane], saved)
    when = _told(found.meta["epochs"][lane], nets, task) if "epochs" in found.meta else epoch
    return Generator(nets, variables, task, dtype, config.gan.model, seed, when, run, scale)


def digest(variables: Any) -> str:
    """SHA-256 (hex) of a generator: of its arrays by their paths, each path, type, shape and values, little-endian.

    Args:
        variables: of one lane, a pytree of numpy or jax arrays; where classes have a generator each, of all of them.
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
    """The folder of checkpoints that is meant; where there are several, the one that has the seed."""
    top = folder.parent if folder.parent.name == FOLDER and folder.name.isdecimal() and folder.is_dir() else folder
    found = [path for path in sorted([top, *top.rglob(FOLDER)]) if path.name == FOLDER and checkpoint.steps(path)]
    if not found:
        why = "has none" if folder.is_dir() else "is no folder"
        raise UserError(
            f"no generator checkpoints: {folder} {why}; looked for a folder {FOLDER!r} with numbered steps, as a run with a "
            "GAN leaves in WORKDIR/checkpoints/seeds-.../"
        )
    with_seed = found if seed is None else [path for path in found if seed in _seeds(path)]
    if not with_seed:
        there = ranges({number for path in found for number in _seeds(path)})
        raise UserError(f"{folder}: no generator of seed {seed} in it; there are those of the seeds {there}")
    if len(with_seed) > 1:
        names = [str(path.parent.relative_to(folder)) for path in with_seed]
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        raise UserError(
            f"{folder} holds the generators of several trainings: give one of these folders in it as --sample, or a --seed "
            f"that only one has: {'; '.join(names[:MOST_NAMED])}{more}"
        )
    return with_seed[0]


def _chunk(folder: Path) -> Path:
    """The folder of the chunk of seeds that a training belongs to: above its own and, in a sweep, that of its point."""
    found = next((path for path in folder.parents if re.fullmatch(r"seeds-\d[\d,-]*", path.name)), None)
    if found is None:
        raise UserError(f"{folder}: no folder 'seeds-...' above it says whose generators these are; leave it in its workdir")
    return found


def _seeds(folder: Path) -> list[int]:
    """The seeds of the lanes, in order."""
    if not (seeds := seeds_of(_chunk(folder).name)):
        raise UserError(f"{folder}: {_chunk(folder).name!r} names no seeds, as seeds-0-3 does; give that folder its name back")
    return seeds


def _epoch(folder: Path, place: Path, asked: int | None) -> int:
    there = checkpoint.steps(folder)
    own = int(place.name) if place.parent == folder else None
    if None not in (own, asked) and own != asked:
        raise UserError(f"--epoch={asked}, and {place} is epoch {own}: leave one of them out")
    epoch = own if asked is None else asked
    if epoch is not None and epoch not in there:
        raise UserError(f"{folder}: no checkpoint of epoch {epoch} in it; there are those of the epochs {ranges(there)}")
    return there[-1] if epoch is None else epoch


def _told(epochs: int | list[int], nets: Nets, task: Task) -> int | str:
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
        raise UserError(f"{folder}: no config.json above it says what network it is; leave the checkpoints in their workdir")
    content, data = records.read_object(run / "config.json"), _data(run / "environment.json")
    point = folder.parent.relative_to(_chunk(folder)).as_posix()  # 'gan.latent=64, gan.ema=0.9', or '.'
    try:
        config = ConfigDict(content)
        config = at(config, _point(config, point) if point != "." else [])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _unfit(run, error) from error
    task = Task(tuple(data["counts"]), 1.0, tuple(data["class_names"]), tuple(data["shape"]), tuple(data["minority"]))
    return run, config, task, np.dtype(data["dtype"]), data.get("scale")


def _point(config: Any, place: str) -> list[tuple[str, float | str]]:
    """The point of a grid from the name of its folder: 'gan.latent=64, gan.augment=translation, cutout, gan.ema=0.9'."""
    pairs = [text.split("=", 1) for text in re.split(r", (?=[\w.]+=)", place)]
    return [(field, text if isinstance(attrgetter(field)(config), str) else float(text)) for field, text in pairs]


def _data(path: Path) -> dict[str, Any]:
    content = records.read_json(path)
    data = content.get("data", {}) if isinstance(content, dict) else None
    if not isinstance(data, dict):
        raise UserError(f"{path} is damaged (its 'data' is no object); start the run's own command once more")
    if missing := [name for name in DESCRIBED if name not in data]:
        raise UserError(
            f"{path} lacks {', '.join(missing)} of the data, as an older version wrote it: start the run's own command once "
            "more, which adds them"
        )
    return data


def _unfit(run: Path, error: Exception) -> UserError:
    why = " ".join(str(error).split())
    return UserError(f"{run / 'config.json'}: no config of this version, by which the network could be rebuilt ({why})")


def _like(nets: Nets, seeds: int) -> Any:
    """What a checkpoint of so many seeds holds: numpy arrays of its shapes and dtypes, which take no memory."""
    z, label = jnp.zeros((1, nets.latent)), jnp.zeros((1, nets.classes))
    one = jax.eval_shape(nets.generator.init, jax.random.key(0), z, label)
    lead = (seeds, len(nets.own)) if nets.own else (seeds,)
    return jax.tree.map(lambda leaf: np.broadcast_to(np.zeros((), leaf.dtype), (*lead, *leaf.shape)), one)
