"""Proof that a change of the code changes no result: one tiny run of each config, before and after, row by row.

    python -m benchmarks.same_rows --make=/tmp/before          one workdir per config; finished ones are kept
    python -m benchmarks.same_rows --make=/tmp/after           the same commands with the changed code
    python -m benchmarks.same_rows /tmp/before /tmp/after      0: equal to the last digit; 1: the first differences

Seconds, memory and digests are not compared. Configs of data that needs files are left out without IMBAL_DATA_DIR. Some ten
minutes on two cores; `--only=demo,folder` makes these alone.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imbal_jax.artifacts import json_files

# What a refactoring may change in a row: times, sizes of programs, digests.
UNCOMPARED = ("seconds", "_mb", "_bytes", "crc", "digest", "per_s")

SMALL = (
    "--config.seeds=2",
    "--config.classifier.epochs=1",
    "--config.classifier.batch=16",
    "--config.conv=gemm",
    "--config.lanes=loop",
)
NARROW = ("--config.classifier.width=0.1",)
GAN = (
    "--config.gan.epochs=1",
    "--config.gan.grid_every=1",
    "--config.gan.batch=8",
    "--config.gan.latent=4",
    "--config.gan.g_width=0.1",
    "--config.gan.d_width=0.1",
    "--config.quality.samples=10",
    "--config.quality.epochs=1",
)
PAIR = tuple(word for word in GAN if "latent" not in word)  # networks that fix the size of their latent vector
DIGITS = ("--config.data.source=embedded", "--config.data.per_class=20", "--config.cut.profile={6: 1500, 8: 1500, 9: 1500}")
GARMENTS = ("--config.data.per_class=100", "--config.data.validation=200")
BEATS = ("--config.data.records=100 106 114 124 208 209 213 217 222 223",)
FACES = ("--config.data.per_class=20",)
TAIL = (
    "--config.data.dir={data}",
    "--config.data.verify=False",
    "--config.cut.profile=step(factor=3)",
    "--config.classifier.warmup=0",
    "--config.baselines=('crop(pad=4) | flip', 'crop(pad=4) | flip | crt', 'crop(pad=4) | flip | ldam | drw')",
)
EYES = ("--config.data.size=32", "--config.quality.samples=10")

# name -> the config, what makes it tiny, the folder of $IMBAL_DATA_DIR that it needs
RUNS: Mapping[str, tuple[str, tuple[str, ...], str]] = {
    "demo": ("mnist_cgan.py:demo", (), ""),
    "mnist_cgan": ("mnist_cgan.py", (*SMALL, *NARROW, *GAN, *DIGITS), ""),
    "mnist_cgan_oversampled": ("mnist_cgan.py:oversampled", (*SMALL, *NARROW, *GAN, *DIGITS, "--config.gan.per_class=20"), ""),
    "mnist_cgan_better": ("mnist_cgan.py:better", (*SMALL, *NARROW, *GAN, *DIGITS), ""),
    "methods_mnist": ("methods_mnist.py", (*SMALL, *NARROW, *GAN, *DIGITS), ""),
    "methods_mnist_best": ("methods_mnist.py:best", (*SMALL, *NARROW, *DIGITS), ""),
    "compare_mnist": ("compare_mnist.py", (*SMALL, *NARROW, *DIGITS), ""),
    "seed_sweep": ("seed_sweep.py", (*SMALL, *NARROW, *DIGITS, "--config.lanes=vmap"), ""),
    "fashion_mixup": ("fashion_mixup.py", (*SMALL, *GARMENTS), "raw"),
    "fashion_mixup_alpha": ("fashion_mixup.py:alpha", (*SMALL, *GARMENTS), "raw"),
    "fashion_mixup_longtail": ("fashion_mixup.py:longtail", (*SMALL, *GARMENTS), "raw"),
    "fer2013_affine": ("fer2013_affine.py", (*SMALL, *NARROW, *FACES), "."),
    "ecg_gan": ("ecg_gan.py", (*SMALL, *NARROW, *PAIR, *BEATS), "mitdb"),
    "ecg_gan_better": ("ecg_gan.py:better", (*SMALL, *NARROW, *GAN, *BEATS), "mitdb"),
    "ecg_gan_rr": ("ecg_gan.py:rr", (*SMALL, *NARROW, *BEATS), "mitdb"),
    "ecg_gan_intra": ("ecg_gan.py:intra", (*SMALL, *NARROW, *PAIR, *BEATS), "mitdb"),
    "retinopathy_dcgan": ("retinopathy_dcgan.py", (*SMALL, *NARROW, *GAN, *EYES), "retinopathy"),
    "gan_tricks": ("gan_tricks.py:small", (*SMALL, *GAN, *EYES), "retinopathy"),
    "gan_tricks_later": ("gan_tricks.py:small_later", (*SMALL, *GAN, *EYES), "retinopathy"),
    "folder": ("folder.py:{images}", (*SMALL, *NARROW), ""),
    "folder_signals": ("folder.py:{signals}", (*SMALL, *NARROW), ""),
    "folder_vectors": ("folder.py:{vectors}", (*SMALL,), ""),
    "cifar_lt": ("cifar_lt.py", (*SMALL, *NARROW, *TAIL), ""),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs what the command line asks for and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="two folders that --make has made, to compare")
    parser.add_argument("--make", type=Path, metavar="FOLDER", help="run the commands, each into FOLDER/NAME")
    parser.add_argument("--only", default="", metavar="NAME,NAME", help=f"of {', '.join(RUNS)}")
    args = parser.parse_args(argv)
    names = args.only.split(",") if args.only else list(RUNS)
    if args.make:
        return make(args.make.absolute(), names)
    if len(args.folders) != 2:
        parser.error("two folders to compare are needed, or --make=FOLDER")
    return compare(args.folders[0], args.folders[1], names)


def make(folder: Path, names: Sequence[str]) -> int:
    """Runs the named commands, each into a workdir of its own; those that are finished are left alone."""
    paths = write_data(folder / "data")
    failed = []
    for name in names:
        config, overrides, needs = RUNS[name]
        place = Path(os.environ.get("IMBAL_DATA_DIR") or "/nowhere") / needs
        if needs and not place.exists():
            print(f"{name}: left out, {needs} is not in $IMBAL_DATA_DIR", flush=True)
            continue
        if (folder / name / "results.json").exists():
            continue
        words = [word.format(**paths) if word.startswith("--config.data.dir") else word for word in overrides]
        flags = [f"--config=configs/{config.format(**paths)}", *words, f"--workdir={folder / name}"]
        command = [sys.executable, "launch.py", *flags]
        done = subprocess.run(command, capture_output=True, text=True)
        print(f"{name}: {'ok' if done.returncode == 0 else done.stderr.strip().splitlines()[-1]}", flush=True)
        failed += [name] if done.returncode else []
    return 1 if failed else 0


def write_data(folder: Path) -> dict[str, str]:
    """Small data sets from a fixed seed: .npz files of images, signals and vectors, and CIFAR-10 in its published form."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {"data": str(folder)}
    shapes = {"images": (16, 16, 3), "signals": (64, 2), "vectors": (6,)}
    for name, shape in shapes.items():
        paths[name] = str(folder / f"{name}.npz")
        random = np.random.default_rng(0)
        y = np.repeat(np.arange(3), (60, 40, 12))
        x = random.normal(size=(len(y), *shape)) + y.reshape(-1, *[1] * len(shape)) / 2
        if name == "images":
            x = np.clip(x * 40 + 128, 0, 255).astype(np.uint8)
        if not Path(paths[name]).exists():
            np.savez(paths[name], x=x, y=y)
    batches = folder / "cifar-10-batches-bin"
    batches.mkdir(exist_ok=True)
    for number, name in enumerate([*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"]):
        random = np.random.default_rng(number)
        rows = np.column_stack([np.repeat(np.arange(10), 6), random.integers(0, 256, (60, 3072))]).astype(np.uint8)
        (batches / name).write_bytes(rows.tobytes())
    return paths


def compare(before: Path, after: Path, names: Sequence[str]) -> int:
    """Prints the first differences between the rows of two folders; returns 1 if there are any, or nothing to compare."""
    compared, different = 0, 0
    for name in names:
        files = [folder / name / "rows.jsonl" for folder in (before, after)]
        if not files[0].exists() and not files[1].exists():
            continue
        compared += 1
        problems = list(differences(*(_rows(file) for file in files)))
        different += bool(problems)
        print(f"{name}: {'equal' if not problems else '; '.join(problems[:3])}")
    print(f"{compared - different} of {compared} equal")
    return 1 if different or not compared else 0


def differences(before: Mapping[tuple, dict], after: Mapping[tuple, dict]) -> Iterator[str]:
    """What differs between two runs' rows, as lines; nothing if they are equal."""
    if before.keys() != after.keys():
        yield f"arms or seeds {sorted(before.keys() ^ after.keys())[:3]} are in one of the two only"
    for key in before.keys() & after.keys():
        a, b = before[key], after[key]
        for field in sorted(a.keys() | b.keys()):
            if not any(word in field for word in UNCOMPARED) and a.get(field) != b.get(field):
                yield f"{key[0]}, seed {key[1]}: {field} {str(a.get(field))[:60]} -> {str(b.get(field))[:60]}"


def _rows(path: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    if not path.exists():
        return {}
    rows = json_files.read(path)
    return {(row.get("method"), row.get("seed"), row.get("point"), json.dumps(row.get("epoch"))): row for row in rows}


if __name__ == "__main__":
    sys.exit(main())
