"""TensorBoard's event files hold what metrics.jsonl holds, after a kill too, and cannot hurt a training."""

import math
import struct
import sys

import numpy as np
import pytest

from imbal_jax.artifacts import json_files, tensorboard
from imbal_jax.report.curves import Curves, ranges


def events(path):
    """The events of a file, whose checksums have to be right."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        content = data[12 : 12 + length]
        checks = struct.unpack("<I", data[8:12]) + struct.unpack("<I", data[12 + length : 16 + length])
        assert checks == (masked_crc32c(data[:8]), masked_crc32c(content))
        found.append(Event.FromString(content))
        data = data[16 + length :]
    return found


def scalars(folder):
    """{(step, name): value} of a run, which lies in one file; every point once."""
    (path,) = folder.glob("*tfevents*")
    version, begun, *rest = events(path)
    assert version.file_version == "brain.Event:2" and begun.session_log.status == begun.session_log.START
    points = [((event.step, value.tag), value.simple_value) for event in rest for value in event.summary.value]
    assert len(points) == len(dict(points))
    return dict(points)


def written(path, stage, method, seed):
    """The same from metrics.jsonl."""
    rows = [r for r in json_files.read(path) if (r["stage"], r["method"], r["seed"]) == (stage, method, seed)]
    return {(r["epoch"], name): np.float32(r[name]) for r in rows for name in ("loss", "accuracy") if r[name] is not None}


def train(curves, first, last, stage="classifier", arms=("none", "over | affine"), lost=None):
    """Curves as a training writes them, from one epoch to another; `lost` is a lane that has become NaN."""
    rng = np.random.default_rng(first)
    for epoch in range(first, last + 1):
        means = {name: rng.random(len(arms) * len(curves.seeds), np.float32) for name in ("loss", "accuracy")}
        if lost is not None:
            means["loss"][lost] = np.nan
        curves.add(stage, arms, epoch, means)


@pytest.fixture
def curves(tmp_path):
    found = Curves(tmp_path / "metrics.jsonl", (0, 1, 2))
    found.resume("classifier", ("none", "over | affine"), 0)
    return found


def test_events_are_the_curves(curves, tmp_path):
    train(curves, 1, 3, lost=1)
    curves.add("gan", [None], 1, {"d_loss": np.ones(3)}, loss_name="bce")
    board = tmp_path / "tensorboard"
    assert {path.name for path in board.iterdir()} == {"gan", "classifier-none", "classifier-over_affine"}
    assert {path.name for path in (board / "gan").iterdir()} == {"seeds-0-2", "seed-0", "seed-1", "seed-2"}
    assert scalars(board / "gan" / "seeds-0-2") == {(1, "d_loss"): 1.0}
    for arm in ("none", "over | affine"):
        folder = board / ("classifier-none" if arm == "none" else "classifier-over_affine")
        seeds = [written(tmp_path / "metrics.jsonl", "classifier", arm, seed) for seed in range(3)]
        assert [scalars(folder / f"seed-{seed}") for seed in range(3)] == seeds
        means = scalars(folder / "seeds-0-2")
        assert means.keys() == seeds[0].keys() and len(means) == 6
        for point, mean in means.items():
            assert mean == pytest.approx(np.mean([lane[point] for lane in seeds if point in lane]))
    assert (1, "loss") not in scalars(board / "classifier-none" / "seed-1")


def test_a_killed_training_leaves_no_stale_and_no_double_points(curves, tmp_path):
    train(curves, 1, 5)
    folder = tmp_path / "tensorboard" / "classifier-none"
    before = scalars(folder / "seed-0")
    (path,) = (folder / "seed-0").iterdir()
    path.write_bytes(path.read_bytes()[:-7])  # in the midst of a record
    curves.resume("classifier", ("none", "over | affine"), 3)
    kept = scalars(folder / "seed-0")
    assert kept == {point: value for point, value in before.items() if point[0] <= 3}
    train(curves, 4, 6)
    after = scalars(folder / "seed-0")
    assert after == written(tmp_path / "metrics.jsonl", "classifier", "none", 0) and after.items() > kept.items()
    assert {step for step, _ in scalars(folder / "seeds-0-2")} == set(range(1, 7))


def test_beginning_again_removes_what_other_chunks_of_the_seeds_left(curves, tmp_path):
    train(curves, 1, 2)
    folder = tmp_path / "tensorboard" / "classifier-none"
    later = Curves(curves.path, tuple(range(3, 13)))
    later.resume("classifier", ["none"], 0)
    train(later, 1, 2, arms=["none"])
    assert {path.name for path in folder.iterdir()} == {
        "seeds-0-2",
        "seed-0",
        "seed-1",
        "seed-2",
        "seeds-3-12",
    }  # 10: no own runs
    alone = Curves(curves.path, (2,))
    alone.resume("classifier", ["none"], 0)
    train(alone, 1, 1, arms=["none"])
    assert {path.name for path in folder.iterdir()} == {"seed-0", "seed-1", "seed-2", "seeds-3-12"}
    assert {step for step, _ in scalars(folder / "seed-2")} == {1} and {step for step, _ in scalars(folder / "seed-0")} == {
        1,
        2,
    }
    assert (tmp_path / "tensorboard" / "classifier-over_affine" / "seeds-0-2").is_dir()


@pytest.mark.parametrize(("numbers", "text"), [((0,), "0"), ((2, 1, 0), "0-2"), ((0, 1, 2, 5, 8, 9), "0-2,5,8-9")])
def test_seeds_in_short(numbers, text):
    assert ranges(numbers) == text


@pytest.mark.parametrize("trouble", ["absent", "full"])
def test_trouble_is_told_and_harmless(curves, tmp_path, monkeypatch, trouble):
    told = []
    monkeypatch.setattr(tensorboard.logging, "log_first_n", lambda level, text, n, *args: told.append((n, text % args)))
    if trouble == "absent":
        for name in [name for name in sys.modules if name.startswith("tensorboardX")] or ["tensorboardX"]:
            monkeypatch.setitem(sys.modules, name, None)
    else:
        (tmp_path / "tensorboard").write_text("no folder")
    train(curves, 1, 1)
    curves.resume("classifier", ["none"], 1)
    assert len(json_files.read(curves.path)) == 6
    assert {n for n, _ in told} == {1}  # each said once in a process
    assert all("install the package tensorboardX" in text or "metrics.jsonl has all curves" in text for _, text in told)


def test_half_a_record_is_taken_back(tmp_path, monkeypatch):
    tensorboard.append(tmp_path, [(1, {"loss": 0.5})])
    (path,) = tmp_path.iterdir()
    before = path.read_bytes()

    class Full:
        """A file on a full disk: a part is written, then no more."""

        def __init__(self, place, mode):
            self.file = open(place, mode, buffering=0)  # noqa: SIM115

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.file.close()

        def tell(self):
            return self.file.tell()

        def write(self, data):
            self.file.write(data[:9])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensorboard, "open", Full, raising=False)
    monkeypatch.setattr(tensorboard.logging, "log_first_n", lambda *args: None)
    tensorboard.append(tmp_path, [(2, {"loss": 0.4})])
    assert path.read_bytes() == before and math.isclose(scalars(tmp_path)[1, "loss"], 0.5)
