"""The choice of the computing form: what is measured, what is kept, who decides; with times made up but for one test."""

import json
import math

import jax
import pytest

from imbal_jax.errors import UserError
from imbal_jax.runtime import autotune

EVEN = {("gemm", "loop"): 1.0, ("gemm", "vmap"): 1.0, ("lax", "loop"): 1.0, ("lax", "vmap"): 1.0}


class Accelerator:
    """What `choose` reads of a device."""

    platform, device_kind = "gpu", "A quick one"


@pytest.fixture
def measured(monkeypatch):
    """Makes up the seconds of each pair and gives (times, what was measured: (pair, lanes, size))."""
    times, asked = dict(EVEN), []

    def ready(pair, lanes, device, size):
        asked.append((pair, lanes, size))
        took = times[pair] * (autotune.TRIAL.work / autotune.CPU.work if size is autotune.TRIAL else 1)
        return (lambda: took) if math.isfinite(took) else None

    monkeypatch.setattr(autotune, "_ready", ready)
    return times, asked


@pytest.fixture
def cpu():
    return jax.local_devices()[0]


def chosen(choice):
    return choice.conv, choice.inner


def test_really_measured_on_this_device(monkeypatch, cpu):
    tiny = autotune.Size(2, 7, (2, 3), 1)
    monkeypatch.setattr(autotune, "CPU", tiny)
    monkeypatch.setattr(autotune, "TRIAL", tiny._replace(batch=1))
    monkeypatch.setattr(autotune, "HOPELESS", math.inf)
    monkeypatch.setattr(autotune, "CPU_LIMIT", 60.0)
    choice = autotune.choose(2, cpu, None, inner="loop")
    assert choice.measured and set(choice.seconds) == {"gemm loop", "lax loop"}
    assert all(0 < took < 60 for took in choice.seconds.values())


@pytest.mark.parametrize(("faster", "expected"), [(0.95, ("gemm", "loop")), (0.8, ("gemm", "vmap"))])
def test_a_small_difference_goes_to_the_rule(measured, cpu, faster, expected):
    measured[0]["gemm", "vmap"] = faster
    assert chosen(autotune.choose(4, cpu, None)) == expected


def test_the_rule_of_an_accelerator(measured):
    assert chosen(autotune.choose(1, Accelerator(), None)) == ("lax", "vmap")
    assert chosen(autotune.choose(100, Accelerator(), None)) == ("gemm", "vmap")
    measured[0]["lax", "vmap"] = 0.5
    assert chosen(autotune.choose(100, Accelerator(), None)) == ("lax", "vmap")
    assert {size for _, _, size in measured[1]} == {autotune.ACCELERATOR}


def test_hopeless_pairs_are_only_tried(measured, cpu):
    measured[0].update({("lax", "loop"): 100.0, ("lax", "vmap"): 100.0})
    choice = autotune.choose(2, cpu, None)
    assert choice == autotune.Choice("gemm", "loop", {"gemm loop": 1.0, "gemm vmap": 1.0}, True)
    assert {pair for pair, _, size in measured[1] if size is autotune.CPU} == {("gemm", "loop"), ("gemm", "vmap")}
    assert {lanes for _, lanes, _ in measured[1]} == {2}


def test_after_the_limit_no_further_pair_is_begun(measured, cpu, monkeypatch):
    monkeypatch.setattr(autotune, "CPU_LIMIT", -1.0)
    measured[0]["gemm", "vmap"] = 0.1
    assert autotune.choose(2, cpu, None) == autotune.Choice("gemm", "loop", {"gemm loop": 1.0}, True)


def test_what_the_config_asks_for_is_not_measured(measured, cpu):
    assert autotune.choose(4, cpu, None, conv="lax", inner="vmap") == autotune.Choice("lax", "vmap", {}, False)
    assert autotune.choose(1, cpu, None, conv="gemm") == autotune.Choice("gemm", "loop", {}, False)
    assert not measured[1]
    assert set(autotune.choose(4, cpu, None, conv="gemm").seconds) == {"gemm loop", "gemm vmap"}
    assert set(autotune.choose(4, cpu, None, inner="vmap").seconds) == {"gemm vmap", "lax vmap"}
    assert set(autotune.choose(1, cpu, None).seconds) == {"gemm loop", "lax loop"}


def test_lax_on_a_cpu_is_measured_on_little(measured, cpu):
    autotune.choose(4, cpu, None, conv="lax")
    assert {size for _, _, size in measured[1]} == {autotune.TRIAL}


def test_a_pair_that_cannot_run_is_left_out(measured):
    measured[0]["gemm", "vmap"] = math.inf
    choice = autotune.choose(4, Accelerator(), None)
    assert choice.measured and "gemm vmap" not in choice.seconds and chosen(choice) != ("gemm", "vmap")
    measured[0].update(dict.fromkeys(EVEN, math.inf))
    assert autotune.choose(4, Accelerator(), None) == autotune.Choice("gemm", "vmap", {}, False)


def test_an_unknown_form(cpu):
    with pytest.raises(UserError, match="config.conv"):
        autotune.choose(4, cpu, None, conv="fft")


def test_the_second_start_measures_nothing(measured, cpu, tmp_path):
    measured[0].update({("gemm", "vmap"): 0.5, ("lax", "loop"): 100.0})
    first = autotune.choose(8, cpu, tmp_path)
    measured[1].clear()
    assert autotune.choose(4, cpu, tmp_path) == first == autotune.choose(64, cpu, tmp_path)
    assert not measured[1]
    autotune.choose(4, cpu, tmp_path, conv="gemm")  # another question
    autotune.choose(1, cpu, tmp_path)
    autotune.choose(4, Accelerator(), tmp_path)
    assert measured[1] and len(json.loads((tmp_path / autotune.FILE).read_text())) == 4


@pytest.mark.parametrize("text", ["{", "[1]", '{"KEY": 3}', '{"KEY": {"gemm loop": "fast"}}'])
def test_a_damaged_cache_does_no_harm(measured, cpu, tmp_path, text):
    autotune.choose(4, cpu, tmp_path)
    (key,) = json.loads((tmp_path / autotune.FILE).read_text())
    (tmp_path / autotune.FILE).write_text(text.replace("KEY", key))
    measured[1].clear()
    assert autotune.choose(4, cpu, tmp_path).measured
    assert measured[1] and set(json.loads((tmp_path / autotune.FILE).read_text())) == {key}


def test_an_unwritable_cache_does_no_harm(measured, cpu, tmp_path):
    (tmp_path / "file").write_text("")
    assert autotune.choose(4, cpu, tmp_path / "file" / "folder").measured


def test_a_failing_program_is_logged(monkeypatch, cpu):
    def broken(lane, steps):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: too little memory\nand much more")

    monkeypatch.setattr(autotune, "_steps", lambda form: broken)
    assert autotune.choose(4, cpu, None) == autotune.Choice("gemm", "loop", {}, False)
