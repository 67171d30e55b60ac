"""Draws rows from a generator checkpoint of a run and writes them as PNGs or an .npz; the data set is not needed.

A row depends only on the generator, the seed of the latent vectors, its class and its number: the first ten rows of a thousand
are the same as those of a call for ten.
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

BATCH = 64  # rows drawn at once, always: in batches of other sizes their last digits might differ
SHEET = 10  # images of a class on the contact sheet
BAND = 200  # signals of a class whose median and band are drawn


class Wanted(NamedTuple):
    """The rows to draw.

    Attributes:
        folder: a run's workdir or a folder in it, see `generator_checkpoints.load`.
        out: the output folder; None: the folder 'samples' in the workdir.
        classes: names of classes, each text one or several separated by commas; (): all that can be drawn.
        each: rows of each class.
        epoch: of the checkpoint; None: the chosen one, or the newest, see `generator_checkpoints.load`.
        seed: of the generator; None: the first one of the checkpoint.
        latent_seed: of the latent vectors.
        format: 'png', 'npz', or None: PNGs for images with one or three channels, otherwise an .npz.
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
    """Draw rows and write them, with a contact sheet of images or a plot of signals.

    PNGs are called CLASS_NUMBER.png and hold their origin as text chunks, see `origin`. samples.npz has `x` (rows in the data
    set's dtype, uint8, int16 or float32; see `data.storage_types`), `y` (int32, class numbers), `class_names` and `metadata`
    (JSON; with its 'scale', x * factor + offset gives the values of the source, with x as floats, by channel). The same call
    gives the same bytes. Files get their name once they are complete.

    Returns:
        the output folder.

    Raises:
        UserError: no checkpoint or several, a damaged one or one of another network; an unknown class, epoch or seed; weights
            that are not finite; a format that does not fit the rows; a folder that cannot be created.
        OSError: a file cannot be written, as on a full disk.
    """
    generator = generator_checkpoints.load(wanted.folder, wanted.epoch, wanted.seed)
    labels = labels_of(wanted.classes, generator)
    file_format = _format(wanted.format, generator.task.shape)
    out = wanted.out or generator.run / "samples"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out={out} cannot be created ({error.strerror}): choose another folder") from error
    source = origin(generator, wanted.latent_seed)
    names = [generator.task.class_names[label] for label in labels]
    print(
        f"generator: {source['model']}, seed {source['seed']}, epoch {source['epoch']}, digest {source['digest'][:12]}\n"
        f"drawing: {wanted.each} of each of {', '.join(names)}",
        flush=True,
    )
    rows = rows_of(generator, wanted.latent_seed)
    if file_format == "png":
        first_rows = [_pictures(out, generator, source, label, rows(label, wanted.each)) for label in labels]
        _note_earlier_pictures(out, len(labels) * wanted.each)
    else:
        first_rows = _arrays(out / "samples.npz", generator, source, labels, [rows(label, wanted.each) for label in labels])
    _sheet(out / "grid.png", generator, source, labels, first_rows)
    return out


def origin(generator: Generator, latent_seed: int) -> dict[str, Any]:
    """The origin of rows: model, seed, epoch, digest of the generator, latent_seed."""
    return {
        "model": generator.model,
        "seed": generator.seed,
        "epoch": generator.epoch,
        "digest": generator_checkpoints.digest(generator.variables),
        "latent_seed": latent_seed,
    }


def labels_of(texts: Sequence[str], generator: Generator) -> tuple[int, ...]:
    """The class numbers, ascending, of names (each text one or several, by commas); without names, all drawable ones.

    Raises:
        UserError: an unknown class, or with one GAN per class, a class without a GAN.
    """
    class_names, drawable = generator.task.class_names, sample.drawable(generator.nets)
    split_texts = [[text] if text in class_names else text.split(",") for text in texts]  # a class name may contain a comma
    names = [name.strip() for parts in split_texts for name in parts if name.strip()]
    for name in names:
        if name not in class_names:
            raise UserError(
                f"unknown class {name!r} (--class){nearest(name, class_names)}; the classes are {', '.join(class_names)}"
            )
        if class_names.index(name) not in drawable:
            with_gan = ", ".join(class_names[label] for label in drawable)
            raise UserError(
                f"class {name!r} has no GAN in this run (config.gan.classes): the classes with a GAN are {with_gan}"
            )
    return tuple(sorted({class_names.index(name) for name in names})) if names else drawable


def rows_of(generator: Generator, latent_seed: int) -> Callable[[int, int], Iterator[np.ndarray]]:
    """A function (label, count) -> rows of that class, [b, ...] at a time; one program serves all classes and counts."""
    nets, key = generator.nets, purpose(jax.random.key(latent_seed), "drawing")

    def rows(label: int, count: int) -> Iterator[np.ndarray]:
        of_class = (lambda leaf: leaf[nets.own.index(label)]) if nets.own else (lambda leaf: leaf)
        variables = jax.tree.map(lambda leaf: jnp.asarray(of_class(leaf)), generator.variables)
        for start in range(0, count, BATCH):
            class_and_start = jnp.asarray((label, start), jnp.int32)
            drawn = _batch(nets.generator, nets.latent, nets.classes, generator.dtype, variables, key, class_and_start)
            yield np.asarray(drawn)[: count - start]

    return rows


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _batch(
    network: Any, latent: int, classes: int, dtype: np.dtype, variables: Any, key: jax.Array, class_and_start: jax.Array
) -> jax.Array:
    """Rows [BATCH, ...] of the class place[0], from number place[1] on; the latent vector of each depends only on these two."""
    class_key, numbers = jax.random.fold_in(key, class_and_start[0]), class_and_start[1] + jnp.arange(BATCH)
    z = jax.vmap(lambda number: sample.latents(jax.random.fold_in(class_key, number), (1, latent), "normal")[0])(numbers)
    return sample.generate(network, variables, z, jnp.full(BATCH, class_and_start[0]), classes, BATCH, dtype=dtype)


def _format(requested: str | None, shape: tuple[int, ...]) -> str:
    fits = len(shape) == 3 and shape[-1] in (1, 3)
    if requested == "png" and not fits:
        raise UserError(f"--format=png needs images with 1 or 3 channels (got rows of shape {shape}): use --format=npz")
    return requested or ("png" if fits else "npz")


def _pictures(out: Path, generator: Generator, source: dict[str, Any], label: int, parts: Iterator[np.ndarray]) -> np.ndarray:
    """Write a class's rows as PNGs; returns the first ones."""
    name, stem = generator.task.class_names[label], file_stems(generator.task.class_names)[label]
    first_rows: list[np.ndarray] = []
    for number, row in enumerate(row for part in parts for row in pixels(part)):
        with json_files.whole(out / f"{stem}_{number:04d}.png") as file:
            _save_png(file, row, {**source, "class": name, "number": number})
        if number < SHEET:
            first_rows.append(row)
    return np.stack(first_rows)


def _save_png(file: Any, row: np.ndarray, texts: dict[str, Any]) -> None:
    """Write uint8 [H, W, C] with texts by keyword."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    for keyword, text in texts.items():
        chunks.add_text(keyword, str(text))
    Image.fromarray(row[..., 0] if row.shape[-1] == 1 else row).save(file, "PNG", pnginfo=chunks)


def _arrays(
    path: Path, generator: Generator, source: dict[str, Any], labels: Sequence[int], parts: Sequence[Iterator[np.ndarray]]
) -> list[np.ndarray]:
    """Write all rows into one .npz; returns the rows of each class."""
    rows = [np.concatenate(list(of_class)) for of_class in parts]
    y = np.repeat(np.asarray(labels, np.int32), [len(of_class) for of_class in rows])
    scale = {} if generator.scale is None else {"scale": generator.scale}
    names, metadata = np.array(generator.task.class_names), np.array(json.dumps({**source, **scale}))
    with json_files.whole(path) as file:
        np.savez(file, x=np.concatenate(rows), y=y, class_names=names, metadata=metadata)
    return rows


def _sheet(path: Path, generator: Generator, source: dict[str, Any], labels: Sequence[int], rows: Sequence[np.ndarray]) -> None:
    """Draw the first rows of each class; nothing for rows that are neither images nor signals."""
    task = generator.task
    names, rare = [task.class_names[label] for label in labels], {labels.index(k) for k in task.minority if k in labels}
    title = f"seed {source['seed']}, epoch {source['epoch']}, latent seed {source['latent_seed']}"
    if len(task.shape) == 2:
        first = np.asarray(floats(np.stack([of_class[:BAND, :, 0] for of_class in rows])))
        signal_plots.overlaid(path, first, None, names, rare, title)
    elif len(task.shape) == 3 and task.shape[-1] in (1, 3):
        grids.sample_grid(path, pixels(np.stack([of_class[:SHEET] for of_class in rows])), None, names, rare, title)


def file_stems(class_names: Sequence[str]) -> list[str]:
    """The beginnings of the classes' file names: the class names without special characters.

    Where these are empty, or equal on a disk that does not distinguish 'a' from 'A', the class numbers are put before them.
    """
    short = [slug(name) for name in class_names]
    if all(short) and len({name.casefold() for name in short}) == len(short):
        return short
    return [f"{label}-{name}".rstrip("-") for label, name in enumerate(short)]


def _note_earlier_pictures(out: Path, written: int) -> None:
    """Print a note if the folder holds pictures of earlier calls, perhaps of another epoch, with higher numbers."""
    if more := len(list(out.glob("*_[0-9][0-9][0-9][0-9]*.png"))) - written:
        print(f"note: {out} also holds {more} pictures of earlier calls")
