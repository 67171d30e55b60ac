"""Damaged files: each reader meets 1,000 random mutations and ends in a result or in one line, within bounded memory."""

import json
import os
import random
import re
import resource
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from data_files import encoded, noise, write

from imbal_jax import data, evidence, experiment
from imbal_jax.artifacts import checkpoint, json_files
from imbal_jax.data import arrayrecord, cache, download, fer2013, idx
from imbal_jax.errors import UserError
from imbal_jax.report import analyses, build
from imbal_jax.report.curves import Curves
from imbal_jax.runtime import autotune
from imbal_jax.stages import training_set
from tests import small, test_cifar, test_data, test_fer2013, test_mitbih, test_retinopathy
from tests.test_report import fabricate

PEAK = Path("/proc/self/clear_refs")  # Linux forgets the peak of the memory used where 5 is written into it
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),  # half a minute to two minutes each on a free core
    pytest.mark.skipif(not PEAK.exists(), reason="measures the memory by Linux' /proc"),
]
MUTATIONS = int(os.environ.get("IMBAL_MUTATIONS", "1000"))
MOST_MEMORY = 300  # MB that the process may grow by; the files have less than 1 MB
TOKENS = [
    b"", b"\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\n", b"\r", b'"', b",", b";", b":", b"/", b"../",
    b"-1", b"0", b"1e999", b"NaN", b"-0", b"99999999999999999999", b"9" * 5000, b"1.5", b"None", b"null", b"[]", b"{}", b"\\",
    b"\xc3\x28", b"\xef\xbb\xbf", b"\xff\xfe", "\u2028".encode(), "٣".encode(), b"PK\x01\x02", b"()", b"[" * 3000,
]  # fmt: skip
VALUES = [
    None, True, False, 0, -1, 1, 2, 10**6, 2**31, 2**63, 10**40, 0.5, -1e-300, 1e308, "", "x", "none", "\n", "\ud800", "<b>",
    [], {}, [0], [None], [[1]], {"a": 1}, [-1] * 3, ["a", "b"],
]  # fmt: skip


class Target(NamedTuple):
    """The files that are mutated, and what reads them."""

    files: list[Path]
    read: Callable[[], object]


def mutated(draw: random.Random, content: bytes) -> bytes:
    """The content with one to four random changes."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at, length = draw.randrange(len(changed) + 1), draw.choice([1, 1, 2, 4, 8, 64, len(changed)])
        kind = draw.randrange(8)
        if kind == 0 and changed:
            changed[min(at, len(changed) - 1)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            changed[at : at + length] = draw.randbytes(length if length < 99 else 9)
        elif kind == 2:
            del changed[at : at + length]
        elif kind == 3:
            changed[at:at] = changed[(start := draw.randrange(len(changed) + 1)) : start + length]
        elif kind == 4:
            changed[at : at + draw.choice([0, 1, 2, 4])] = draw.choice(TOKENS)
        elif kind == 5 and (numbers := list(re.finditer(rb"-?\d+", changed))):
            number = draw.choice(numbers)
            changed[number.start() : number.end()] = draw.choice(TOKENS)
        elif kind == 6:  # a field of a binary head, most often near the start or the end
            near = draw.choice([draw.randrange(64), len(changed) - draw.randrange(1, 200), at])
            changed[near : near + 4] = draw.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x40"])
        else:
            lines = changed.split(b"\n")
            draw.shuffle(lines) if draw.random() < 0.2 else lines.insert(draw.randrange(len(lines)), draw.choice(lines))
            changed = bytearray(b"\n".join(lines))
    return bytes(changed)


def altered(draw: random.Random, value: object) -> object:
    """The JSON value with one part replaced, removed, doubled or renamed."""
    if not isinstance(value, dict | list) or not value or draw.random() < 0.1:
        return draw.choice(VALUES)
    places = list(value) if isinstance(value, dict) else range(len(value))
    place, copy = draw.choice(places), value.copy()
    if (kind := draw.randrange(8)) == 0:
        del copy[place]
    elif kind == 1 and isinstance(copy, list):
        copy.insert(place, copy[place])
    elif kind == 1:
        copy[draw.choice([f"{place}x", "", "seed", *places])] = copy.pop(place)
    else:
        copy[place] = altered(draw, value[place])
    return copy


def altered_json(draw: random.Random, content: bytes) -> bytes:
    """The JSON text, or one line of several, altered in its values, or now and then in its bytes."""
    if draw.random() < 0.3 or not content.startswith((b"{", b"[")):
        return mutated(draw, content)
    lines = content.splitlines() if content.startswith(b"{") and content.count(b"\n{") else [content]
    number = draw.randrange(len(lines))
    lines[number] = json.dumps(altered(draw, json.loads(lines[number]))).encode()
    return b"\n".join([*lines, b""])


def memory(field: str) -> float:
    """VmRSS, or VmHWM (its peak), of this process in MB."""
    return int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def fuzz(target: Target, mutate: Callable[[random.Random, bytes], bytes], seed: int = 0, never_raises: bool = False) -> None:
    """Mutate one of the files, read, put it back; again and again."""
    draw, contents = random.Random(seed), {path: path.read_bytes() for path in target.files}
    target.read()  # whole, it can be read
    PEAK.write_text("5")
    before = memory("VmRSS")
    for number in range(MUTATIONS):
        path = draw.choice(target.files)
        path.write_bytes(mutate(draw, contents[path]))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                target.read()
        except UserError as error:
            assert not never_raises and "\n" not in str(error) and 10 < len(str(error)) < 3000, str(error)[:500]
        except BaseException:
            print(f"mutation {number} of {path.name}: {path.read_bytes()[:300]!r}")
            raise
        finally:
            path.write_bytes(contents[path])
    assert memory("VmHWM") - before < MOST_MEMORY


@pytest.fixture(autouse=True)
def bounded():
    """A read that asks for 4 GB more is a MemoryError, and not the end of other programs."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (int(memory("VmSize") + 4096) * 2**20, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No data or cache of the machine's own, and no network."""
    monkeypatch.delenv("IMBAL_DATA_DIR", raising=False)
    monkeypatch.setenv("IMBAL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "online", lambda *_: False)


def name(make: Callable[..., object]) -> str:
    return make.__name__


# --- data -------------------------------------------------------------------------------------------------------------


def folder(path: Path, **options: object) -> Callable[[], object]:
    return lambda: data.load("folder", options={"path": str(path)} | options)


def pictures(form: str = "PNG", ending: str = "png", many: int = 4) -> dict[str, bytes]:
    return {f"{c}/{n}.{ending}": encoded(noise(n + 9 * (c == "b"), 9, 8, 3), form) for c in "ab" for n in range(many)}


def npz(at):
    np.savez(at / "a.npz", x=noise(0, 12, 6, 5, 3), y=np.arange(12) % 3, group=np.arange(12), x_test=noise(1, 6, 6, 5, 3),
             y_test=np.arange(6) % 3, group_test=np.arange(50, 56))  # fmt: skip
    return Target([at / "a.npz"], folder(at / "a.npz"))


def npz_of_words(at):
    np.savez_compressed(at / "a.npz", x=np.random.default_rng(0).normal(size=(12, 4)), y=np.array(["cat", "dog"] * 6))
    return Target([at / "a.npz"], folder(at / "a.npz"))


def zip_of_images(at):
    return Target([write(at / "d.zip", pictures() | {"groups.csv": group_table()})], folder(at / "d.zip"))


def image_files(at):
    forms = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "tif": "TIFF", "webp": "WEBP", "bmp": "BMP", "ppm": "PPM"}
    for ending, form in (forms | {"jp2": "JPEG2000"}).items():
        write(at / "d", pictures(form, ending, 2))
    deep = np.random.default_rng(0).integers(0, 5000, (9, 8), np.uint16)
    write(at / "d", {f"{c}/deep.png": encoded(deep) for c in "ab"})
    return Target(sorted((at / "d").glob("a/*")), folder(at / "d"))


def group_table():
    return b"file,group\n" + b"".join(b"%s/%d.png,%d\n" % (c, n, n // 2) for c in (b"a", b"b") for n in range(4))


def group_file(at):
    write(at / "d", pictures() | {"groups.csv": group_table()})
    return Target([at / "d" / "groups.csv"], folder(at / "d"))


def label_table(at):
    images = {f"images/{name.replace('/', '_')}": content for name, content in pictures().items()}
    rows = [f"{name[7:]},{name[7]},{'test' if '3' in name else 'train'},{name[9]}" for name in images]
    write(at / "d", images | {"labels.csv": "\n".join(["file_name,label,split,patient", *rows]).encode()})
    return Target([at / "d" / "labels.csv"], folder(at / "d"))


def metadata_table(at):
    label_table(at)
    (at / "d" / "labels.csv").rename(at / "d" / "metadata.csv")
    return Target([at / "d" / "metadata.csv"], folder(at / "d", groups="metadata.csv:patient"))


def idx_files(at):
    (path := at / "images").write_bytes(test_data.GOOD)
    (packed := at / "images.gz").write_bytes(test_data.PACKED)
    return Target([path, packed], lambda: (idx.read(path), idx.read(packed)))


def array_record(at):
    arrays = [array for n in (12, 6) for array in (noise(n, n, 28, 28), np.arange(n, dtype=np.uint8) % 10)]
    test_data.write_tfds(at, arrays)
    shards = arrayrecord.find([at], "mnist")
    return Target([path for paths in shards for path in paths], lambda: arrayrecord.read(shards))


def cifar_binary(at):
    files, _ = test_cifar.batches(10)
    write(at / "cifar10", files)
    return Target(sorted((at / "cifar10").iterdir()), lambda: load_cifar(at, "binary"))


def cifar_archive(at):
    files, _ = test_cifar.batches(100)
    (at / "cifar100").mkdir()
    path = test_cifar.pack(at / "cifar100" / "cifar-100-binary.tar.gz", files, "cifar-100-binary")
    return Target([path], lambda: load_cifar(at, "archive", 100))


def load_cifar(at, source, classes=10):
    options = {"classes": classes, "verify": False}
    return data.load("cifar", directory=str(at), source=source, options=options)


def fer2013_csv(at):
    (path := at / "fer2013.csv").write_bytes(b"\n".join(test_fer2013.csv().split(b"\n")[:12]))
    return Target([path], lambda: fer2013._parse(path))


def wfdb(at):
    for name, marks in (("101", test_mitbih.TRAIN), ("100", test_mitbih.TEST)):
        test_mitbih.write_record(at / "mitdb", name, marks)
    return Target(sorted((at / "mitdb").iterdir()), lambda: test_mitbih.load(at))


def retinopathy_table(at):
    write(at / "retinopathy", test_retinopathy.photographs() | {"trainLabels.csv": test_retinopathy.table()})
    read = lambda: data.load("retinopathy", directory=str(at), options={"size": 16})  # noqa: E731
    return Target([at / "retinopathy" / "trainLabels.csv"], read)


DATA = [npz, npz_of_words, zip_of_images, image_files, group_file, label_table, metadata_table, idx_files, array_record,
        cifar_binary, cifar_archive, fer2013_csv, wfdb, retinopathy_table]  # fmt: skip


@pytest.mark.parametrize("make", DATA, ids=name)
def test_a_data_source(make, tmp_path):
    fuzz(make(tmp_path), mutated, int(os.environ.get("IMBAL_FUZZ_SEED", "0")))


def test_cached_arrays(tmp_path):
    """Damage in the cache costs time, nothing else."""
    made = {"x": noise(0, 20, 4), "y": np.array(["a", "b"]), "none": np.zeros(0)}
    read = lambda: cache.kept(["key"], lambda: made)  # noqa: E731
    read()
    (path,) = (tmp_path / "cache").rglob("*.npz")

    def check():
        found = read()
        assert found.keys() == made.keys() and all(np.array_equal(found[name], made[name]) for name in made)

    fuzz(Target([path], check), mutated, never_raises=True)


# --- results ----------------------------------------------------------------------------------------------------------


def report(at):
    fabricate(at, seeds=2)
    build.build(at)
    files = [at / f"{name}.json" for name in ("config", "environment", "generator", "analyses", "results")]
    return Target([*files, at / "rows.jsonl", at / "metrics.jsonl"], lambda: build.build(at))


def joined_report(at):
    for name in "ab":
        (at / name).mkdir()
        fabricate(at / name, seeds=2)
        build.build(at / name)
    files = [at / "a" / f"{name}.json" for name in ("config", "environment", "generator", "analyses", "results")]
    read = lambda: build.join([at / "a", at / "b"], at / "c")  # noqa: E731
    return Target([*files, at / "a" / "rows.jsonl", at / "a" / "metrics.jsonl"], read)


def resumed_run(at):
    """What a start reads before it trains."""
    config = small.get_config()
    prepared = training_set.prepare(config, at)
    experiment.write_run_files(prepared)
    row = {"seed": 0, "method": "over", "accuracy": 0.5, "digest": prepared.data.digest, "counts_before": [1] * 10}
    (at / "rows.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(row | {"seed": 1}) + "\n")
    curves = Curves(at / "metrics.jsonl", (0, 1))
    for epoch in (1, 2, 3):
        curves.add("gan", [None], epoch, {"d_loss": np.array([0.5, 0.25])})
        curves.add("classifier", ["over"], epoch, {"loss": np.array([0.5, 0.25])})

    def read():
        experiment.check_workdir(config, at)
        if "form" in (before := json_files.read_object(at / "environment.json")):
            autotune.restore_choice(before["form"], at / "environment.json")
        experiment.write_run_files(prepared)
        experiment.gather_rows("start", at / "rows.jsonl")
        curves.by_lane("gan", [None], 2)
        curves.resume("classifier", ["over"], 2)
        analyses.history(analyses.read(at), config.to_dict(), [row], {"metric": "a", "baseline": "none", "margin": 0.01})

    files = [at / name for name in ("config.json", "environment.json", "analyses.json", "rows.jsonl", "metrics.jsonl")]
    return Target(files, read)


def continued_folder(at):
    """--continue and --collect."""
    (kept := at / "kept").mkdir()
    fabricate(kept, seeds=2)
    build.build(kept)
    evidence.begin(kept, at / "work")
    (kept / "environment.json").rename(at / "work" / "environment.json")
    shutil.copy(kept / "config.json", at / "work")
    files = [path for side in ("kept", "work") for path in sorted((at / side).glob("*.json*"))]

    def read():
        shutil.rmtree(at / "a", ignore_errors=True)
        shutil.copytree(at / "kept", at / "b", dirs_exist_ok=True)
        evidence.begin(kept, at / "a")
        evidence.collect(at / "work", at / "b")
        shutil.rmtree(at / "b", ignore_errors=True)

    return Target(files, read)


def checkpoints(at):
    state = {"a": np.arange(6.0).reshape(2, 3), "key": jax.random.key(0)}
    checkpoint.save(at / "c", 3, state, {"loss": 0.5})
    files = sorted(path for path in (at / "c").rglob("*") if path.is_file())
    return Target(files, lambda: checkpoint.restore(at / "c", state))


RESULTS = [report, joined_report, resumed_run, continued_folder, checkpoints]


@pytest.mark.parametrize("make", RESULTS, ids=name)
def test_results(make, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "_draw", lambda run: None)  # plots take most of the time
    fuzz(make(tmp_path), altered_json, int(os.environ.get("IMBAL_FUZZ_SEED", "0")))
