import collections
import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from imbal_jax.artifacts import checkpoint
from imbal_jax.errors import UserError

ROOT = Path(__file__).resolve().parent.parent


class State(NamedTuple):
    generator: dict
    optimiser: tuple
    key: jax.Array
    rows: np.ndarray


def make(value: float, width: int = 3) -> State:
    dense = {"Dense_0": {"kernel": jnp.full((2, width), float(value)), "bias": jnp.full((width,), -value, jnp.bfloat16)}}
    moments = (jnp.int32(7), dense, ())
    keys = jax.random.split(jax.random.key(int(value)), 2)
    return State(dense, moments, keys, np.arange(3, dtype=np.int64) + 2**40)


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert type(x) is type(y) and x.dtype == y.dtype and x.shape == y.shape
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        assert np.array_equal(np.asarray(x), np.asarray(y))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoints" / "gan"


def array_files(step: Path) -> list[Path]:
    return [path for path in step.rglob("*") if path.is_file() and path.parent.name == "d"]


def truncate(step):
    for path in array_files(step):
        os.truncate(path, path.stat().st_size // 2)


def flip(step):
    """One bit of the arrays' bytes, which Orbax alone would not notice."""
    path = max(array_files(step), key=lambda path: path.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def lose(step):
    array_files(step)[0].unlink()


def alter_record(step):
    path = step / "record.json"
    path.write_text(path.read_text().replace("epoch", "epocH"))


def empty(step):
    shutil.rmtree(step)
    step.mkdir()


def test_a_state_comes_back_as_it_was(folder):
    state = make(1.5)
    assert checkpoint.restore(folder, state) is None and checkpoint.steps(folder) == []
    checkpoint.save(folder, 3, state, {"epoch": 2, "why": ["a", None, 0.5]})
    for like in (make(0), State(*jax.eval_shape(lambda: make(0)[:3]), np.zeros(3, np.int64))):
        saved = checkpoint.restore(folder, like)
        assert saved.step == 3 and saved.meta == {"epoch": 2, "why": ["a", None, 0.5]}
        assert_same(saved.state, state)
    assert (jax.random.uniform(saved.state.key[1]) == jax.random.uniform(state.key[1])).all()


def test_restored_arrays_fit_any_layout(folder):
    mesh = jax.make_mesh((4,), ("lanes",))
    lanes = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("lanes"))
    state = {"w": jax.device_put(jnp.arange(8.0), lanes)}
    checkpoint.save(folder, 0, state, {})
    w = checkpoint.restore(folder, state).state["w"]
    assert not w.committed and len(w.devices()) == 1
    assert jnp.array_equal(jax.jit(lambda a, b: a + b, out_shardings=lanes)(w, state["w"]), 2 * jnp.arange(8.0))
    for device in jax.devices():
        assert (w + jax.device_put(jnp.ones(8), device)).devices() == {device}


@pytest.mark.parametrize(
    "state",
    [
        jnp.ones((2, 2)),
        {},
        {"none": jnp.zeros((0, 5)), "flag": jnp.bool_(True)},
        {"none": jnp.zeros((0, 5))},
        [jnp.uint8(3), (jnp.float16(2),)],
        {"a/b": {"c.d e ü": jnp.ones(2)}},
        {6: jnp.ones(2), 8: jnp.zeros(1)},
        {"key": jax.random.key(0, impl="rbg"), "raw": jax.random.PRNGKey(0)},
        collections.OrderedDict(b=jnp.ones(1), a=jnp.zeros(1)),
    ],
    ids=lambda state: str(jax.tree.structure(state))[:40],
)
def test_any_tree_of_arrays(folder, state):
    checkpoint.save(folder, 1, state, {})
    assert_same(checkpoint.restore(folder, state).state, state)


def test_the_newest_are_kept(folder):
    for step in range(5):
        checkpoint.save(folder, step, make(step), {}, keep=3)
    assert checkpoint.steps(folder) == [2, 3, 4] and sorted(os.listdir(folder)) == ["2", "3", "4"]
    assert checkpoint.restore(folder, make(0)).step == 4


def test_a_step_written_anew_replaces_the_old_one_and_those_after_it_go(folder):
    for step in range(4):
        checkpoint.save(folder, step, make(step), {}, keep=4)
    checkpoint.save(folder, 2, make(20), {}, keep=4)
    assert sorted(os.listdir(folder)) == ["0", "1", "2"]
    assert_same(checkpoint.restore(folder, make(0)).state, make(20))


def test_a_step_killed_while_it_is_replaced_is_still_there(folder):
    checkpoint.save(folder, 5, make(1), {}, keep=1)
    (folder / "5").rename(folder / "5.old")
    assert checkpoint.steps(folder) == [5]
    assert_same(checkpoint.restore(folder, make(0)).state, make(1))
    checkpoint.save(folder, 5, make(2), {}, keep=1)
    assert os.listdir(folder) == ["5"]
    assert_same(checkpoint.restore(folder, make(0)).state, make(2))


def test_a_part_is_read_alone(folder):
    state = make(4)
    checkpoint.save(folder, 1, state, {"epoch": 9})
    saved = checkpoint.restore_part(folder, jax.eval_shape(lambda: state.generator), ("generator",))
    assert (saved.step, saved.meta) == (1, {"epoch": 9})
    assert_same(saved.state, state.generator)
    bias = checkpoint.restore_part(folder, state.generator["Dense_0"]["bias"], ("generator", "Dense_0", "bias"))
    assert_same(bias.state, state.generator["Dense_0"]["bias"])
    with pytest.raises(UserError, match="no part 'discriminator': its parts are generator, key, optimiser, rows"):
        checkpoint.restore_part(folder, state.generator, ("discriminator",))
    assert checkpoint.restore_part(folder / "other", state.generator, ("generator",)) is None


@pytest.mark.parametrize("damage", [truncate, flip, lose, alter_record, empty])
def test_a_damaged_step_is_stepped_over(folder, damage, caplog):
    for step in (1, 2):
        checkpoint.save(folder, step, make(step), {"epoch": step})
    damage(folder / "2")
    saved = checkpoint.restore(folder, make(0))
    assert saved.step == 1 and saved.meta == {"epoch": 1}
    assert_same(saved.state, make(1))
    assert f"{folder / '2'} is damaged and is skipped: " in caplog.text
    damage(folder / "1")
    with pytest.raises(UserError, match=re.escape(f"{folder}: all checkpoints in it are damaged: delete this folder")):
        checkpoint.restore(folder, make(0))
    checkpoint.save(folder, 2, make(3), {"epoch": 2})
    assert_same(checkpoint.restore(folder, make(0)).state, make(3))


def test_a_mismatch_names_the_leaves(folder):
    checkpoint.save(folder, 1, make(1, width=5), {})
    with pytest.raises(UserError, match="another network or configuration") as caught:
        checkpoint.restore(folder, make(1, width=4))
    message = str(caught.value)
    assert "generator/Dense_0/kernel: (2, 5) in the checkpoint, (2, 4) expected" in message
    assert str(folder / "1") in message and "\n" not in message


def test_a_mismatch_of_dtype_presence_and_key_kind_is_named(folder):
    checkpoint.save(folder, 1, {"a": jnp.ones(2), "b": jnp.ones(1), "k": jax.random.key(0)}, {})
    like = {"a": jnp.ones(2, jnp.int32), "c": jnp.ones(1), "k": jax.random.key(0, impl="rbg")}
    with pytest.raises(UserError) as caught:
        checkpoint.restore(folder, like)
    for text in (
        "a: (2,) float32 in the checkpoint, int32 expected",
        "b: (1,) in the checkpoint, nothing expected",
        "c: nothing in the checkpoint, (1,) expected",
        "k: () key<fry> in the checkpoint, key<rbg> expected",
    ):
        assert text in str(caught.value)
    like = {str(n): jnp.ones(1) for n in range(9)}
    with pytest.raises(UserError, match="and 7 more"):
        checkpoint.restore(folder, like)


def test_two_leaves_of_one_path_are_refused(folder):
    with pytest.raises(ValueError, match="same path"):
        checkpoint.save(folder, 1, {"a/b": jnp.ones(1), "a": {"b": jnp.ones(1)}}, {})


def test_metadata_without_json_form_is_refused(folder):
    checkpoint.save(folder, 1, make(1), {})
    with pytest.raises(TypeError):
        checkpoint.save(folder, 2, make(2), {"x": object()})
    assert checkpoint.steps(folder) == [1]


@pytest.mark.parametrize(
    "problem",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        ValueError("RESOURCE_EXHAUSTED: Error writing: No space left on device [os_error_code='28']"),
    ],
)
def test_no_space_left_is_one_clear_line(folder, monkeypatch, problem):
    checkpoint.save(folder, 1, make(1), {})

    def save(path, *_, **__):
        Path(f"{path}.orbax-checkpoint-tmp").mkdir()
        raise problem

    with monkeypatch.context() as patch:
        patch.setattr(ocp, "save", save)
        with pytest.raises(UserError, match="no space left for a checkpoint .* MB free.*same command again") as caught:
            checkpoint.save(folder, 2, make(2), {})
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)
    assert checkpoint.restore(folder, make(0)).step == 1
    checkpoint.save(folder, 3, make(3), {})
    assert sorted(os.listdir(folder)) == ["1", "3"]


def test_too_little_space_is_seen_before_anything_is_written(folder, monkeypatch):
    usage = collections.namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(2**30, 2**30, 2**20))
    with pytest.raises(UserError, match="no space left for a checkpoint"):
        checkpoint.save(folder, 1, make(1), {})
    assert os.listdir(folder) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_cannot_be_written(folder, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(type(folder), "mkdir", refuse)
    with pytest.raises(UserError, match=rf"cannot write checkpoints \({os.strerror(number)}\)"):
        checkpoint.save(folder, 1, make(1), {})


def test_a_file_in_place_of_the_folder(folder):
    folder.parent.mkdir()
    folder.write_text("")
    with pytest.raises(UserError, match="cannot write checkpoints"):
        checkpoint.save(folder, 1, make(1), {})


def test_a_killed_save_leaves_a_whole_checkpoint(folder):
    """kill -9 at seven moments of one series of saves; every leaf of a step holds its number, so a mixture shows."""
    program = textwrap.dedent(f"""
        import sys, pathlib
        import numpy as np
        from imbal_jax.artifacts import checkpoint
        folder, like = pathlib.Path({str(folder)!r}), {{str(n): np.zeros(200_000, np.float32) for n in range(5)}}
        saved = checkpoint.restore(folder, like)
        step = saved.step if saved else 0
        assert all((leaf == step).all() for leaf in saved.state.values()) if saved else True
        print("at", step, flush=True)
        while True:
            step += 1
            state = {{name: leaf + step for name, leaf in like.items()}}
            checkpoint.save(folder, step, state, {{"step": step}}, keep=1)
            print("saved", step, flush=True)
    """)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    last = 0
    for delay in (0.0, 0.004, 0.009, 0.015, 0.022, 0.03, 0.05):
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        lines = [process.stdout.readline() for _ in range(3)]
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        rest, errors = process.communicate()
        lines += rest.splitlines()
        words = [line.split() for line in lines if line.strip()]
        assert words and words[0][0] == "at", errors
        assert int(words[0][1]) >= last  # what was reported as saved was found by the next process
        last = max(int(number) for word, number in words)
        like = {str(n): np.zeros(200_000, np.float32) for n in range(5)}
        saved = checkpoint.restore(folder, like)
        assert saved.step >= last and saved.meta == {"step": saved.step}
        assert all((leaf == saved.step).all() for leaf in saved.state.values())
    checkpoint.save(folder, last + 2, like, {}, keep=1)
    assert os.listdir(folder) == [str(last + 2)]


@pytest.mark.parametrize("name", ["a[b]", "[!a]", "a*b", "a?b", "a\\b", "{x}", "ü", "a b#%20", os.fsdecode(b"\xfc")])
def test_a_folder_with_special_characters_in_its_name(tmp_path, name):
    """Written and read there, read after a move to there, and read after a move from there."""
    there, plain, state = tmp_path / name / "c", tmp_path / "plain" / "c", {"a": np.arange(5.0), "b": jnp.ones((2, 3))}
    like = {"a": np.zeros(5), "b": jnp.zeros((2, 3))}
    checkpoint.save(there, 1, state, {})
    checkpoint.save(plain, 2, state, {})
    for number, folder in ((1, there), (2, plain)):
        found = checkpoint.restore(folder, like)
        assert found.step == number and np.array_equal(found.state["a"], np.arange(5.0)) and np.all(found.state["b"] == 1)
    there.rename(tmp_path / "aside")
    plain.rename(there)
    found = checkpoint.restore_part(there, like["b"], ("b",))
    assert found.step == 2 and np.all(found.state == 1)
    assert checkpoint.restore(tmp_path / "aside", like).step == 1
