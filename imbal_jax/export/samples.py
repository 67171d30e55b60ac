"""Generated rows as a product: from a checkpoint and the files of its run to PNGs or an .npz, without the data set.

A row hangs on the generator, the seed of the latent vectors, its class and its number alone: of a thousand the first ten are
those that would have been drawn if ten had been asked for.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.artifacts import json_files
from imbal_jax.data.storage_types import floats, pixels
from imbal_jax.errors import UserError, nearest
from imbal_jax.export import generator_checkpoints
from imbal_jax.export.generator_checkpoints import Generator
from imbal_jax.gan import sample
from imbal_jax.report import grids, signal_plots
from imbal_jax.report.style import slug
from imbal_jax.runtime.lanes import purpose

BATCH = 64  # rows drawn at once, however few are wanted: in batches of other sizes their last digits might differ
SHEET = 10  # images of a class on the contact sheet
BAND = 200  # signals of a class whose median and band are drawn


class Wanted(NamedTuple):
    """What to draw.

    Attributes:
        folder: a run's workdir or a folder in it, see `generator_checkpoints.load`.
        out: where the files go; None: the folder 'samples' in the workdir.
        classes: names of classes, also several with commas between; none: all that can be drawn.
        each: rows of each class.
        epoch: of the checkpoint; None: the one that was chosen, else the newest, see `generator_checkpoints.load`.
        seed: whose generator; None: the first of the checkpoint's.
        latent_seed: of the latent vectors.
        format: 'png', 'npz', or None: PNGs of images with one or three channels, else an .npz.
    """

    folder: Path
    out: Path | None = None
    classes: tuple[str, ...] = ()
    each: int = 64
    epoch: int | None = None
    seed: int | None = None
    latent_seed: int = 0
    format: str | None = None


def draw(wanted: Wanted) -> Path:
    """Draw rows and write them, with a contact sheet (of signals: with a plot of them) beside them.

    PNGs are called CLASS_NUMBER.png and hold their origin as text chunks, see `origin`; samples.npz has `x` (rows as the data
    set keeps them, uint8, int16 or float32; see `stored`), `y` (int32, class numbers), `class_names` and `metadata` (JSON;
    its 'scale' gives the values of the source back: x * factor + offset, with x as floats, by channel). The same
    call gives the same bytes; whatever its name says is a whole file.

    Returns:
        the folder that they are in.

    Raises:
        UserError: no checkpoint or several, a damaged one or one of another network; an unknown class, epoch or seed; weights
            that are no numbers; a format that does not fit; a folder that cannot be made.
        OSError: a file that cannot be written, as on a full disk.
    """
    generator = generator_checkpoints.load(wanted.folder, wanted.epoch, wanted.seed)
    labels = labels_of(wanted.classes, generator)
    form = _format(wanted.format, generator.task.shape)
    out = wanted.out or generator.run / "samples"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {out}: {error.strerror}; choose another --out") from error
    told = origin(generator, wanted.latent_seed)
    names = [generator.task.class_names[label] for label in labels]
    print(
        f"generator: {told['model']}, seed {told['seed']}, epoch {told['epoch']}, digest {told['digest'][:12]}\n"
        f"drawing: {wanted.each} of each of {', '.join(names)}",
        flush=True,
    )
    rows = rows_of(generator, wanted.latent_seed)
    if form == "png":
        shown = [_pictures(out, generator, told, label, rows(label, wanted.each)) for label in labels]
        _tell_others(out, len(labels) * wanted.each)
    else:
        shown = _arrays(out / "samples.npz", generator, told, labels, [rows(label, wanted.each) for label in labels])
    _sheet(out / "grid.png", generator, told, labels, shown)
    return out


def origin(generator: Generator, latent_seed: int) -> dict[str, Any]:
    """Where rows come from: model, seed, epoch, digest of the generator, latent_seed."""
    return {
        "model": generator.model,
        "seed": generator.seed,
        "epoch": generator.epoch,
        "digest": generator_checkpoints.digest(generator.variables),
        "latent_seed": latent_seed,
    }


def labels_of(asked: Sequence[str], generator: Generator) -> tuple[int, ...]:
    """The class numbers, ascending, that names mean (each one or several with commas between); all drawable ones for none.

    Raises:
        UserError: an unknown class, or one without a GAN of its own where each has one.
    """
    known, able = generator.task.class_names, sample.drawable(generator.nets)
    whole = [[text] if text in known else text.split(",") for text in asked]  # a class's name may hold a comma
    names = [name.strip() for parts in whole for name in parts if name.strip()]
    for name in names:
        if name not in known:
            raise UserError(f"unknown class {name!r} (--class){nearest(name, known)}; the classes are {', '.join(known)}")
        if known.index(name) not in able:
            own = ", ".join(known[label] for label in able)
            raise UserError(f"class {name!r} has no GAN of its own in this run (config.gan.classes); those that have: {own}")
    return tuple(sorted({known.index(name) for name in names})) if names else able


def rows_of(generator: Generator, latent_seed: int) -> Callable[[int, int], Iterator[np.ndarray]]:
    """A function (label, count) -> rows of that class, [b, ...] at a time; one program serves all classes and counts."""
    nets, key = generator.nets, purpose(jax.random.key(latent_seed), "drawing")

    def rows(label: int, count: int) -> Iterator[np.ndarray]:
        own = (lambda leaf: leaf[nets.own.index(label)]) if nets.own else (lambda leaf: leaf)
        variables = jax.tree.map(lambda leaf: jnp.asarray(own(leaf)), generator.variables)
        for start in range(0, count, BATCH):
            place = jnp.asarray((label, start), jnp.int32)
            drawn = _batch(nets.generator, nets.latent, nets.classes, generator.dtype, variables, key, place)
            yield np.asarray(drawn)[: count - start]

    return rows


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _batch(
    network: Any, latent: int, classes: int, dtype: np.dtype, variables: Any, key: jax.Array, place: jax.Array
) -> jax.Array:
    """Rows [BATCH, ...] of the class place[0], from number place[1] on; the latents of each hang on these two alone."""
    own, numbers = jax.random.fold_in(key, place[0]), place[1] + jnp.arange(BATCH)
    z = jax.vmap(lambda number: sample.latents(jax.random.fold_in(own, number), (1, latent), "normal")[0])(numbers)
    return sample.generate(network, variables, z, jnp.full(BATCH, place[0]), classes, BATCH, dtype=dtype)


def _format(asked: str | None, shape: tuple[int, ...]) -> str:
    fits = len(shape) == 3 and shape[-1] in (1, 3)
    if asked == "png" and not fits:
        raise UserError(f"--format=png is for images with 1 or 3 channels, these rows are {shape}: use --format=npz")
    return asked or ("png" if fits else "npz")


def _pictures(out: Path, generator: Generator, told: dict[str, Any], label: int, parts: Iterator[np.ndarray]) -> np.ndarray:
    """Write a class's rows as PNGs; returns the first of them."""
    name, stem = generator.task.class_names[label], stems(generator.task.class_names)[label]
    shown: list[np.ndarray] = []
    for number, row in enumerate(row for part in parts for row in pixels(part)):
        with json_files.whole(out / f"{stem}_{number:04d}.png") as file:
            _save_png(file, row, {**told, "class": name, "number": number})
        if number < SHEET:
            shown.append(row)
    return np.stack(shown)


def _save_png(file: Any, row: np.ndarray, texts: dict[str, Any]) -> None:
    """Write uint8 [H, W, C] with texts by keyword."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    for keyword, text in texts.items():
        chunks.add_text(keyword, str(text))
    Image.fromarray(row[..., 0] if row.shape[-1] == 1 else row).save(file, "PNG", pnginfo=chunks)


def _arrays(
    path: Path, generator: Generator, told: dict[str, Any], labels: Sequence[int], parts: Sequence[Iterator[np.ndarray]]
) -> list[np.ndarray]:
    """Write all rows into one .npz; returns each class's."""
    rows = [np.concatenate(list(of_class)) for of_class in parts]
    y = np.repeat(np.asarray(labels, np.int32), [len(of_class) for of_class in rows])
    more = {} if generator.scale is None else {"scale": generator.scale}
    names, metadata = np.array(generator.task.class_names), np.array(json.dumps({**told, **more}))
    with json_files.whole(path) as file:
        np.savez(file, x=np.concatenate(rows), y=y, class_names=names, metadata=metadata)
    return rows


def _sheet(path: Path, generator: Generator, told: dict[str, Any], labels: Sequence[int], rows: Sequence[np.ndarray]) -> None:
    """Draw the first rows of each class; nothing of rows that are neither images nor signals."""
    task = generator.task
    names, rare = [task.class_names[label] for label in labels], {labels.index(k) for k in task.minority if k in labels}
    title = f"seed {told['seed']}, epoch {told['epoch']}, latent seed {told['latent_seed']}"
    if len(task.shape) == 2:
        first = np.asarray(floats(np.stack([of_class[:BAND, :, 0] for of_class in rows])))
        signal_plots.overlaid(path, first, None, names, rare, title)
    elif len(task.shape) == 3 and task.shape[-1] in (1, 3):
        grids.sample_grid(path, pixels(np.stack([of_class[:SHEET] for of_class in rows])), None, names, rare, title)


def stems(class_names: Sequence[str]) -> list[str]:
    """What the files of each class begin with: its name without what a file's name cannot hold, and where such names are
    empty or the same (on a disk that does not tell 'a' from 'A'), its number before it.
    """
    short = [slug(name) for name in class_names]
    if all(short) and len({name.casefold() for name in short}) == len(short):
        return short
    return [f"{label}-{name}".rstrip("-") for label, name in enumerate(short)]


def _tell_others(out: Path, written: int) -> None:
    """Say that pictures of earlier calls are there too: of another epoch, perhaps, and with numbers that go on from these."""
    if more := len(list(out.glob("*_[0-9][0-9][0-9][0-9]*.png"))) - written:
        print(f"note: {more} pictures of earlier calls are in {out} too")
