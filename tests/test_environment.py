import errno
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from imbal_jax.runtime import environment, program_cache

ROOT = Path(__file__).resolve().parent.parent


def test_the_description_is_json_and_complete(monkeypatch):
    monkeypatch.setattr(sys, "argv", [f"{Path.home()}/runs/launch.py", "--config=a b.py"])
    found = json.loads(json.dumps(environment.describe()))
    assert found["python"] == sys.version.split()[0]
    assert found["versions"]["jax"] == jax.__version__ and found["versions"]["orbax-checkpoint"]
    assert (found["backend"], found["device_kind"], found["processes"]) == ("cpu", "cpu", 1)
    assert found["devices"] == found["local_devices"] == 4
    assert found["cores"] >= 1 and found["memory_gb"] > 0 and found["cpu"]
    assert "~/runs/launch.py '--config=a b.py'" in found["command"] and str(Path.home()) not in found["command"]


def test_a_package_that_is_not_there_has_no_version():
    assert environment._version("no-such-package-here") is None


def git(root, *arguments):
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "init.defaultBranch=main"]
    command = ["git", "-C", root, *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_commit_and_dirty_flag(tmp_path):
    assert environment._commit(tmp_path) == (None, None)
    git(tmp_path, "init", "-q")
    assert environment._commit(tmp_path) == (None, None)  # no commit yet
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "a")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert environment._commit(tmp_path) == (head, False)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "x").write_text("")  # what a run leaves behind does not make the sources dirty
    assert environment._commit(tmp_path) == (head, False)
    (tmp_path / "a").write_text("2")
    assert environment._commit(tmp_path) == (head, True)


def test_without_git_there_is_no_commit(tmp_path, monkeypatch):
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment._commit(tmp_path) == (None, None)


def test_the_compile_clock_counts_from_its_start():
    jax.jit(lambda x: x * 3 + 1)(jnp.ones(3)).block_until_ready()
    read = environment.start_compile_clock()
    assert read() == {"compile_seconds": 0.0, "trace_seconds": 0.0, "cache_hits": 0, "cache_misses": 0}
    function = jax.jit(lambda x: jnp.sin(x) * 5 - 2)
    function(jnp.ones(3)).block_until_ready()
    once = read()
    assert once["compile_seconds"] > 0 and once["trace_seconds"] > 0
    function(jnp.ones(3)).block_until_ready()
    assert read()["compile_seconds"] == once["compile_seconds"]


def test_a_jax_without_such_events_is_borne(monkeypatch, caplog):
    monkeypatch.delattr(jax.monitoring, "register_event_duration_secs_listener")
    assert environment.start_compile_clock()()["compile_seconds"] == 0
    assert "compilation is not timed" in caplog.text


PROGRAM = textwrap.dedent("""
    import json, jax, jax.numpy as jnp, pathlib, sys
    from imbal_jax.runtime import environment
    before = jax.jit(lambda x: x + 1)(jnp.ones(2)) if sys.argv[1] == "late" else None
    folder = environment.enable_compilation_cache()
    read = environment.start_compile_clock()
    jax.jit(lambda x: jnp.cos(x @ x.T).sum())(jnp.ones((3, 4))).block_until_ready()
    print(json.dumps({**read(), "folder": str(folder), "files": len(list(folder.iterdir()))}))
""")


@pytest.mark.parametrize("when", ["early", "late"])
def test_a_second_process_finds_what_the_first_compiled(tmp_path, when):
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "IMBAL_CACHE_DIR": str(tmp_path / "cache")}
    runs = []
    for _ in range(2):
        command = [sys.executable, "-W", "error", "-c", PROGRAM, when]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)
        runs.append(json.loads(done.stdout))
    first, second = runs
    assert first["folder"].startswith(str(tmp_path / "cache" / "xla")) and first["files"] > 0
    assert first["cache_misses"] > 0 and first["cache_hits"] == 0
    assert second["cache_misses"] == 0 and second["cache_hits"] == first["cache_misses"]


def test_a_cache_that_cannot_be_written_is_left_out(tmp_path, monkeypatch, caplog):
    before = jax.config.jax_compilation_cache_dir

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(type(tmp_path), "mkdir", refuse)
    assert environment.enable_compilation_cache(tmp_path / "c") is None
    assert "compiled programs are not cached" in caplog.text and "Read-only file system" in caplog.text
    assert jax.config.jax_compilation_cache_dir == before


def test_the_default_cache_lies_in_the_home(tmp_path, monkeypatch):
    settings: dict = {}
    monkeypatch.delenv("IMBAL_CACHE_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(jax.config, "update", settings.__setitem__)
    monkeypatch.setattr(environment.program_cache, "install", lambda folder: True)
    folder = environment.enable_compilation_cache()
    assert folder.parent == tmp_path / ".cache" / "imbal_jax" / "xla" and folder.is_dir() and not list(folder.iterdir())
    assert settings["jax_compilation_cache_dir"] == str(folder)
    assert settings["jax_persistent_cache_min_compile_time_secs"] == 0
    assert settings["jax_persistent_cache_min_entry_size_bytes"] == -1


# --- what becomes of a damaged, full or read-only cache ---------------------------------------------------------------


CHECKED = textwrap.dedent("""
    import json, jax, jax.numpy as jnp, sys, zlib
    from absl import logging
    from jax._src import compilation_cache
    from imbal_jax.runtime import environment
    # A compression that notices no damage, as zstandard's is: none at all.
    compilation_cache.compress_executable = compilation_cache.decompress_executable = lambda data: data
    folder = environment.enable_compilation_cache()
    read = environment.start_compile_clock()
    x = jnp.ones((3, 4))
    answer = float(jax.jit(lambda x: jnp.cos(x @ x.T).sum())(x))
    print(json.dumps({**read(), "answer": answer, "folder": str(folder)}))
""")


def compiled(tmp_path, before=lambda: None):
    """What a process tells that finds the cache as `before` leaves it, and its standard error."""
    before()
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "IMBAL_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-W", "error", "-c", CHECKED]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=variables)
    return json.loads(done.stdout), done.stderr


def entries(tmp_path):
    return sorted((tmp_path / "cache").rglob("*-cache"))


def test_damaged_programs_are_compiled_anew(tmp_path):
    """One bit in each of them, wherever it is; and one that was cut off."""
    first, _ = compiled(tmp_path)
    whole = {path: path.read_bytes() for path in entries(tmp_path)}
    assert len(whole) == first["cache_misses"] > 1

    def damage():
        for i, (path, data) in enumerate(whole.items()):
            place = len(data) * (i + 1) // (len(whole) + 1)
            damaged = bytearray(data)
            damaged[place] ^= 16
            path.write_bytes(damaged[: place if i == 0 else None])

    second, err = compiled(tmp_path, damage)
    assert second["answer"] == first["answer"] and second["cache_hits"] == 0
    assert err.count("is damaged") == 1 and "compiled again" in err and "Traceback" not in err
    third, _ = compiled(tmp_path)
    assert third["cache_hits"] == first["cache_misses"] and third["cache_misses"] == 0


def test_an_entry_is_of_its_key_alone():
    entry = program_cache.seal_entry("a", b"program")
    assert program_cache.open_entry("a", entry) == b"program" and program_cache.open_entry("b", entry) is None
    assert program_cache.open_entry("a", b"program") is None and program_cache.open_entry("a", entry[:20]) is None
    for bit in range(8 * len(entry)):
        damaged = bytearray(entry)
        damaged[bit // 8] ^= 1 << bit % 8
        assert program_cache.open_entry("a", bytes(damaged)) is None


def test_a_full_cache_is_one_line_and_is_still_read(tmp_path, caplog):
    class Full:
        entries = {"kept": program_cache.seal_entry("kept", b"program")}
        tried = 0

        def get(self, key):
            return self.entries.get(key)

        def put(self, key, value):
            self.tried += 1
            (tmp_path / f"{key}-cache").write_bytes(value[:9])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    base = Full()
    cache = program_cache.CheckedCache(base, tmp_path)
    for i in range(5):
        cache.put(f"key{i}", b"x" * 100)
        assert cache.get("kept") == b"program"
    assert base.tried == 1 and not list(tmp_path.iterdir())  # not even the part that was written
    assert caplog.text.count("no longer cached") == 1 and "No space left" in caplog.text


def test_a_cache_that_cannot_be_read_counts_as_empty(tmp_path, caplog):
    class Broken:
        def get(self, key):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    cache = program_cache.CheckedCache(Broken(), tmp_path)
    assert cache.get("a") is cache.get("b") is None
    assert caplog.text.count("cannot be read") == 1


def test_a_read_only_cache_is_still_read(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(type(tmp_path), "write_bytes", lambda *_: (_ for _ in ()).throw(OSError(errno.EROFS, "read-only")))
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    installed = []
    monkeypatch.setattr(environment.program_cache, "install", lambda folder: not installed.append(folder))
    folder = environment.enable_compilation_cache(tmp_path)
    assert installed == [folder] and folder.is_dir()
    assert "cannot write to" in caplog.text and "the programs in it are used" in caplog.text


def test_a_jax_whose_cache_cannot_be_checked_keeps_no_programs(tmp_path, monkeypatch, caplog):
    from jax._src import compilation_cache

    before = jax.config.jax_compilation_cache_dir
    monkeypatch.delattr(compilation_cache, "get_file_cache")
    assert environment.enable_compilation_cache(tmp_path) is None
    assert jax.config.jax_compilation_cache_dir == before and "not cached" in caplog.text
