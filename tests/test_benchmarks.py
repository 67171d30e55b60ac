"""The benchmarks' command line, with the worker processes replaced: no peer is installed where the tests run."""

import json
import math
import sys

import pytest

from benchmarks import __main__ as cli
from benchmarks import harness, kept, results, sweep_vs_keras

TIMES = {
    "ours": 30.0, "function": 40.0, "function_xla": 320.0, "train_on_batch": 44.0, "eager": 60.0, "eager_nchw": 75.0,
    "numpy": 900.0, "loop": 900.0, "fit_resample": 90.0, "none": 29.0, "auto": 30.0, "fit": 40.0, "indices": 50.0,
    "loader": 60.0, "tf_data": 60.0,
}  # fmt: skip
SCALING = {"computed": "gemm loop", "images_mib": 6.12, "device_mib": None}
WHOLE = {"warm_ms": 20, "scores": {"none": [0.9, 0.8], "over": [0.95, 0.945]}}


@pytest.fixture
def jobs(monkeypatch):
    """Replaces the worker processes by fixed times and gives the list of jobs asked for; 'compile' fails."""
    asked: list[harness.Job] = []

    def run_worker(job, timeout=None):
        asked.append(job)
        if job.form == "compile":
            raise harness.BenchmarkError("no compiler")
        notes = {"sweep_scaling": SCALING, "sweep_vs_keras": WHOLE}.get(job.name, {})
        sides = ["ours", job.form] if job.side == "plain" else ["ours" if job.side == "ours" else job.form]
        return [harness.Measured(TIMES[side], "CPU", 500, 2.5, notes) for side in sides]

    monkeypatch.setattr(harness, "run_worker", run_worker)
    monkeypatch.setattr(harness, "backend", lambda: "cpu")
    monkeypatch.setenv("IMBAL_DATA_DIR", "somewhere")
    monkeypatch.setattr(harness, "missing", lambda peer: [])
    return asked


@pytest.mark.parametrize("name", sorted(cli.NAMES.keys() - results.REQUIRED))
def test_json_line(jobs, capsys, name):
    assert cli.main([name, "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    peer = cli.peers_of(name)[0]
    time = TIMES[harness.FORMS[peer][name][0]]
    assert json.loads(line) == {
        "name": name, "ours": 30.0, "peer": time, "peer_name": harness.PEER_NAMES[peer], "ratio": round(30 / time, 4),
        "unit": "ms/step",
    }  # fmt: skip


def test_a_sweep_is_run_with_more_and_more_seeds(jobs, capsys):
    assert cli.main(["sweep_scaling", "--json", "--repeats=1"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(job.side, job.lanes) for job in jobs] == [("ours", 2), ("ours", 4), ("ours", 8), ("single", 1)]
    assert lines[2] == {
        "name": "sweep_scaling", "ours": 30.0, "peer": 30.0, "peer_name": "our own, one by one", "ratio": 1.0,
        "unit": "ms/step per lane, 8 lanes", "required": 1.05, "first_s": 2.5, "memory_mib": 500, **SCALING,
    }  # fmt: skip


def test_whole_processes_train_as_many_seeds(jobs, capsys, monkeypatch):
    assert cli.main(["sweep_vs_keras", "--peer=torch", "--repeats=1"]) == 0
    assert [(job.side, job.form, job.lanes, job.steps) for job in jobs] == [
        ("torch", "indices", 4, 2), ("torch", "loader", 4, 2), ("ours", "auto", 4, 2), ("torch", "indices", 4, 2),
    ]  # fmt: skip
    said = capsys.readouterr().out
    assert "ratio 0.60 (required: 1.00, met)" in said and "warm_ms 20" in said
    monkeypatch.delenv("IMBAL_DATA_DIR")
    with pytest.raises(harness.BenchmarkError, match="IMBAL_DATA_DIR"):
        sweep_vs_keras.measure(jobs[0])


def test_sides_take_turns_in_the_fastest_form(jobs, capsys):
    assert cli.main(["classifier_step", "--peer=torch", "--lanes=4", "--repeats=2", "--steps=10", "--batch=8"]) == 0
    tried, timed = jobs[:3], jobs[3:]
    assert [job.form for job in tried] == ["eager", "eager_nchw", "compile"]
    ours = harness.Job("classifier_step", "ours", "auto", 4, 10, 8)
    assert timed == [ours, harness.Job("classifier_step", "torch", "eager", 1, 10, 8)] * 2
    said = capsys.readouterr()
    assert "ratio 0.50" in said.out and "4 lanes" in said.out and "no compiler" in said.err


def test_everything_writes_the_table(jobs, capsys, monkeypatch, tmp_path):
    (tmp_path / "benchmarks").mkdir()
    monkeypatch.setattr(harness, "ROOT", tmp_path)
    monkeypatch.setattr(results, "versions", lambda peer: [f"{peer} 1.0"])
    assert cli.main(["--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    counts = cli.LANES | {"sweep_scaling": cli.SWEEP_LANES["cpu"]}
    assert len(lines) == sum(len(cli.peers_of(name)) * len(counts.get(name, (1,))) for name in cli.NAMES)
    assert {line["name"] for line in lines} == set(cli.NAMES)
    text = (tmp_path / "benchmarks" / "RESULTS.md").read_text()
    assert text.count("**0.75**") == 9 and text.count("**0.50**") == 7
    assert "| 1 | 1.00 | 1.00 | 2.5 | 500 | - | 6.12 | gemm loop |" in text and "| 8 | 8.00 | 1.00 |" in text
    assert "- PyTorch: 0.1 s a seed; none: accuracy 90.0%, balanced 80.0%, over: accuracy 95.0%, balanced 94.5%" in text
    assert "keras 1.0, torch 1.0" in text and "compile inf" in text and "1/30" in text


def test_one_benchmark_measured_again_takes_its_place_in_the_table(jobs, monkeypatch, tmp_path):
    (tmp_path / "benchmarks").mkdir()
    monkeypatch.setattr(harness, "ROOT", tmp_path)
    monkeypatch.setattr(results, "versions", lambda peer: [f"{peer} 1.0"])
    for name in ("smote-mnist", "affine-28", "cgan_step"):
        assert cli.main([name, "--keep", "--repeats=2"]) == 0
    lines = (tmp_path / "benchmarks" / "results.jsonl").read_text().splitlines()
    older = json.dumps(json.loads(lines[0]) | {"when": "2020-01-01T00:00+00:00", "name": "affine-28", "peer": "keras"})
    (tmp_path / "benchmarks" / "results.jsonl").write_text(
        "\n".join([older, *lines, '{"name": "gone", "peer": "scipy"}']) + "\n"
    )
    monkeypatch.setitem(TIMES, "ours", 45.0)
    assert cli.main(["smote-mnist", "--keep", "--repeats=1"]) == 0
    text = (tmp_path / "benchmarks" / "RESULTS.md").read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith(("| smote", "| affine", "| cgan", "| gone"))]
    assert [row[0] for row in rows] == ["| cgan_step", "| smote-mnist", "| affine-28"]
    assert [row[5] for row in rows] == ["**0.75**", "**0.50**", "**1/30**"]
    numbers = [row[7].strip(" |") for row in rows]
    assert numbers[0] == numbers[2] != numbers[1]
    assert "2020" not in text and "keras 1.0" in text and "1 process a side" in text and "2 processes a side" in text


def test_kept_lines_come_back(tmp_path):
    measured = [harness.Measured(1.5, "CPU", 500, 2.5, {"computed": "gemm loop"})]
    comparison = kept.Comparison("cgan_step", 2, "torch", "eager", {"eager": 1.0, "compile": math.inf}, measured, measured)
    line = kept.Kept(comparison, kept.Conditions(8, "2026-01-02T03:04+00:00", 0.1, "a machine", ["torch 1.0"]))
    kept.add(tmp_path / "kept.jsonl", [line])
    assert kept.newest(tmp_path / "kept.jsonl", ["cgan_step"]) == [line]
    assert line.conditions.day == "2026-01-02"


def test_everything_without_the_images(jobs, capsys, monkeypatch, tmp_path):
    (tmp_path / "benchmarks").mkdir()
    monkeypatch.setattr(harness, "ROOT", tmp_path)
    monkeypatch.setattr(results, "versions", lambda peer: [])
    monkeypatch.delenv("IMBAL_DATA_DIR")
    assert cli.main(["--peer=keras"]) == 0
    assert "sweep_vs_keras is left out" in capsys.readouterr().err
    assert {job.name for job in jobs} == {name for name in cli.NAMES if "keras" in cli.peers_of(name)} - {"sweep_vs_keras"}


def test_every_case_has_a_module_and_a_peer():
    for name in cli.NAMES:
        assert (harness.ROOT / "benchmarks" / f"{name.split('-')[0]}.py").exists()
        assert cli.peers_of(name)
    with pytest.raises(SystemExit):
        cli.main(["smote-mnist", "--peer=torch"])


def test_a_missing_peer_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(harness.PACKAGES, "keras", ("no_such_package_here",))
    assert cli.main(["cgan_step"]) == 2
    said = capsys.readouterr().err
    assert "no_such_package_here" in said and "pip install -r requirements-bench.txt" in said


@pytest.mark.parametrize(
    ("arguments", "word"),
    [(["nonsense"], "classifier_step"), (["cgan_step", "--lanes=0"], "--lanes"), (["--peer=caffe"], "keras")],
)
def test_bad_arguments_exit_with_2(arguments, word, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert word in capsys.readouterr().err


def test_a_failing_worker_shows_its_end(monkeypatch, capsys):
    monkeypatch.setattr(harness, "missing", lambda peer: [])
    monkeypatch.setitem(harness.FORMS["keras"], "classifier_step", ("no_such_form",))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert cli.main(["classifier_step"]) == 1
    assert "exit code 1" in capsys.readouterr().err


def test_median_ms_waits_once_per_block_and_leaves_the_first_out(monkeypatch):
    clock = iter([0.0, 4.0, 10.0, 12.0, 20.0, 22.0, 30.0, 32.0, 40.0, 49.0])
    monkeypatch.setattr(harness.time, "perf_counter", lambda: next(clock))
    ran: list[int] = []
    assert harness.median_ms(harness.Steps(ran.append, "CPU"), 10) == pytest.approx(1000.0)
    assert ran == [2] * (harness.BLOCKS + 1)


def test_no_form_that_runs_is_an_error(monkeypatch):
    def fail(job, timeout=None):
        raise harness.BenchmarkError("broken")

    monkeypatch.setattr(harness, "run_worker", fail)
    with pytest.raises(harness.BenchmarkError, match="no form of PyTorch ran"):
        harness.fastest_form(harness.Job("cgan_step", "torch", "", 1, 10, 8), ("eager", "compile"))


def test_worker_prints_time_per_lane(capsys):
    built: list[harness.Job] = []

    def build(job):
        built.append(job)
        return harness.Steps(lambda n: None, "a device")

    flags = ["--name=cgan_step", "--side=ours", "--form=auto", "--lanes=4", "--steps=5", "--batch=8"]
    harness.work(build, flags)
    (answer,) = json.loads(capsys.readouterr().out)
    assert set(answer) == {"ms", "device", "memory", "first", "notes"} and answer["memory"] > 1
    assert answer["device"] == "a device" and math.isfinite(answer["ms"])
    assert built == [harness.Job("cgan_step", "ours", "auto", 4, 5, 8)]


def test_our_own_step_takes_turns_in_one_process(capsys, monkeypatch):
    ran: list[tuple[str, int]] = []

    def build(job):
        return harness.Steps(lambda n: ran.append((job.side, n)), job.side)

    flags = ["--name=method_step-mixup", "--side=plain", "--form=none", "--lanes=1", "--steps=40", "--batch=8"]
    harness.work(build, flags)
    answers = json.loads(capsys.readouterr().out)
    assert [each["device"] for each in answers] == ["ours", "plain"]
    assert ran == [("ours", 1), ("plain", 1), *[("ours", 2), ("plain", 2)] * (harness.PAIR_BLOCKS + 1)]


def test_ours_without_a_method_is_no_process_of_its_own(jobs, capsys):
    assert cli.main(["mixup_step", "--peer=plain", "--repeats=2"]) == 0
    assert [(job.side, job.form) for job in jobs] == [("plain", "none")] * 2
    assert "ratio 1.03 (required: 1.05, met)" in capsys.readouterr().out
