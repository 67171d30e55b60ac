"""Results that add up over machines: folders of docs/results become workdirs, and rows come back."""

import json
import shutil
from pathlib import Path

import pytest
from absl import flags as absl_flags

from imbal_jax import evidence, experiment
from imbal_jax.artifacts import json_files
from imbal_jax.errors import UserError
from imbal_jax.flags import define, parse
from imbal_jax.report import build
from tests import small

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


def run(workdir, seeds):
    """An arm without a GAN, a few steps, no pictures."""
    config = small.get_config()
    config.baselines, config.method, config.classifier.epochs, config.seeds = (), "none", 1, seeds
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "_draw", lambda run: None)
        experiment.run(config, workdir)
    return workdir


def rows_of(folder):
    """Rows by arm and seed, without what they cost."""
    rows = json_files.read(folder / "rows.jsonl")
    assert len({(row["method"], row["seed"]) for row in rows}) == len(rows)
    cost = (*evidence.COST, "crc")
    return {
        (row["method"], row["seed"]): {n: v for n, v in row.items() if "seconds" not in n and n not in cost} for row in rows
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run of two seeds, side by side on two devices."""
    return run(tmp_path_factory.mktemp("whole") / "run", 2)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The first seed by itself, collected; its folder continued in a fresh workdir, which is not collected yet."""
    place = tmp_path_factory.mktemp("parts")
    folder = evidence.collect(run(place / "first", 1), place / "results" / "none")
    evidence.begin(folder, place / "second")
    before = (folder / "rows.jsonl").read_bytes()
    run(place / "second", 2)
    return place / "second", folder, before


def test_continued_in_another_workdir_the_rows_are_those_of_one_run(whole, parts):
    workdir, folder, before = parts
    assert evidence.collect(workdir) == folder
    assert (folder / "rows.jsonl").read_bytes().startswith(before)  # what was there stays as it is
    union, one = rows_of(folder), rows_of(whole)
    assert union.keys() == one.keys()
    for lane, row in one.items():
        assert union[lane].keys() == row.keys()
        for name, value in row.items():  # seeds side by side round as seeds alone do, or nearly
            alike = pytest.approx(value, rel=1e-4, abs=1e-6) if isinstance(value, float) else value
            assert name == "pr_curve" or union[lane][name] == alike, name


def test_each_machine_has_an_entry_with_the_rows_that_it_measured(parts):
    workdir, folder, _ = parts
    evidence.collect(workdir)
    first, second = json_files.read_json(folder / "environment.json")
    assert first["rows"] == {"none": [0]} and second["rows"] == {"none": [1]}
    assert first["versions"]["jax"] and first["date"] and "workdir" not in (first["command"] or "")
    assert json_files.read_json(folder / "config.json")["seeds"] == 2


def test_collecting_twice_changes_nothing(parts):
    workdir, folder, _ = parts
    evidence.collect(workdir)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    evidence.collect(workdir)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_curves_of_all_seeds_are_collected(parts):
    workdir, folder, _ = parts
    evidence.collect(workdir)
    lines = json_files.read(folder / "metrics.jsonl")
    assert {line["seed"] for line in lines if line["stage"] == "classifier"} == {0, 1}


def test_rows_that_contradict_each_other_are_refused(whole, tmp_path):
    folder = evidence.collect(whole, tmp_path / "folder")
    other = tmp_path / "other"
    shutil.copytree(whole, other)
    rows = json_files.read(other / "rows.jsonl")
    rows[0]["accuracy"] += 0.25
    (other / "rows.jsonl").unlink()
    json_files.append(other / "rows.jsonl", rows)
    with pytest.raises(UserError, match=r"have different rows of seed 0 of 'none' \(accuracy"):
        evidence.collect(other, folder)


def test_another_experiment_or_other_data_are_refused(whole, tmp_path):
    folder = evidence.collect(whole, tmp_path / "folder")
    other = tmp_path / "other"
    shutil.copytree(whole, other)
    config = json_files.read_json(other / "config.json")
    json_files.write_json(other / "config.json", {**config, "seed": 7})
    with pytest.raises(UserError, match=r"different experiment \(config.seed is 0 there and 7 now\)"):
        evidence.collect(other, folder)
    with pytest.raises(UserError, match="measured on other data"):
        evidence.new_rows(folder / "rows.jsonl", [{"method": "none", "seed": 9, "digest": "0"}], "there")


def test_seeds_and_arms_of_both_are_in_the_config(whole, tmp_path):
    folder = evidence.collect(whole, tmp_path / "folder")
    config = json_files.read_json(whole / "config.json")
    assert evidence.merged_config(folder, {**config, "seeds": 1, "method": "over"})["seeds"] == 2
    more = evidence.merged_config(folder, {**config, "seeds": "2:4", "method": "over"})
    assert (more["seeds"], more["method"], more["baselines"]) == (4, "none", ["over"])


def test_arms_that_were_measured_wrongly_are_replaced(whole, tmp_path):
    folder = evidence.collect(whole, tmp_path / "folder")
    old = json_files.read(folder / "rows.jsonl")
    others = [{**row, "method": "over"} for row in old]
    json_files.append(folder / "rows.jsonl", others)
    untouched = (folder / "rows.jsonl").read_bytes().splitlines()[2:]
    config = json_files.read_json(folder / "config.json")
    config["classifier"]["epochs_of"] = "own"
    json_files.write_json(folder / "config.json", {**config, "baselines": ["over"], "seeds": 5})
    entry = json_files.read_json(folder / "environment.json")[0]
    json_files.write_json(folder / "environment.json", [{**entry, "rows": {"none": [0, 1], "over": [0, 1]}}])
    again = shutil.copytree(whole, tmp_path / "again")
    (again / "rows.jsonl").unlink()
    json_files.append(again / "rows.jsonl", [*({**row, "accuracy": 0.5} for row in old), *others])  # 'over' is the same
    with pytest.raises(UserError, match="different experiment"):
        evidence.collect(again, folder)
    evidence.collect(again, folder, replace=True)
    assert [row["accuracy"] for row in json_files.read(folder / "rows.jsonl") if row["method"] == "none"] == [0.5, 0.5]
    assert (folder / "rows.jsonl").read_bytes().splitlines()[:2] == untouched
    first, second = json_files.read_json(folder / "environment.json")
    assert first["rows"] == {"over": [0, 1]} and second["rows"] == {"none": [0, 1]}
    kept = json_files.read_json(folder / "config.json")
    assert (kept["classifier"]["epochs_of"], kept["seeds"], kept["baselines"]) == ("real", 5, ["over"])


def test_a_workdir_of_before_there_was_a_field_is_collected_and_replaced(whole, tmp_path):
    folder = evidence.collect(whole, tmp_path / "folder")
    older = shutil.copytree(whole, tmp_path / "older")
    config = json.loads((older / "config.json").read_text())
    del config["classifier"]["beta2"], config["gan"]["tricks"]
    (older / "config.json").write_text(json.dumps(config))
    before = (folder / "rows.jsonl").read_bytes()
    for replace in (False, True):
        evidence.collect(older, folder, replace=replace)
        assert (folder / "rows.jsonl").read_bytes() == before


def test_what_cannot_be_continued_or_collected_is_said(whole, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="has no rows"):
        evidence.begin(tmp_path / "empty", tmp_path / "new")
    with pytest.raises(UserError, match="no finished row"):
        evidence.collect(tmp_path / "empty", tmp_path / "folder")
    with pytest.raises(UserError, match="--into=docs/results/NAME"):
        evidence.collect(whole)
    with pytest.raises(UserError, match="holds another run"):
        evidence.begin(whole, whole)


def test_results_of_before_analyses_were_recorded_have_been_analysed_once(tmp_path):
    folder = shutil.copytree(RESULTS / "fashion_mixup", tmp_path / "fashion_mixup")
    evidence.begin(folder, tmp_path / "run")
    ledger = json_files.read_json(tmp_path / "run" / "analyses.json")
    (analysis,) = ledger["analyses"]
    assert analysis["seeds"] == {"mixup(alpha=0.2)": 20} and analysis["spent"] == ["mixup(alpha=0.2)"]
    assert analysis["metric"] == "accuracy" and ledger["plan"]["seeds"] == 20
    evidence.begin(folder, tmp_path / "run")  # the same command again
    assert json_files.read_json(tmp_path / "run" / "analyses.json") == ledger


def test_curves_above_a_megabyte_are_thinned(tmp_path):
    head = {"stage": "classifier", "method": "none"}
    lines = [{**head, "seed": seed, "epoch": e, "loss": 1 / e} for seed in (0, 1) for e in range(1, 101)]
    warning = {"stage": "warning", "of": "gan", "seed": 0, "epoch": 7, "message": "odd"}
    kept = evidence.thin_out([*lines, warning], 3000)
    assert sum(len(json.dumps(line)) + 1 for line in kept) <= 3000 and warning in kept
    epochs = [line["epoch"] for line in kept if line["stage"] == "classifier" and line["seed"] == 0]
    assert epochs[0] == 1 and epochs[-1] == 100 and len({b - a for a, b in zip(epochs[1:-2], epochs[2:-1], strict=True)}) == 1
    assert evidence.thin_out(lines, 10**6) == lines


# --- the command line -------------------------------------------------------------------------------------------------


def parsed(*argv):
    values = absl_flags.FlagValues()
    define(values, ["launch.py", *argv])
    parse(["launch.py", *argv], values)
    return values


@pytest.fixture
def folder(tmp_path):
    """An old folder: its config lacks what was thought of later."""
    config = json.loads(small.get_config().to_json())
    del config["classifier"]["epochs_of"], config["classifier"]["steps"], config["stop"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_a_folder_is_continued_with_its_own_config_and_more_seeds(folder):
    config = parsed(f"--continue={folder}", "--config.seeds=5", "--config.baselines=('none', 'over')").config
    assert config.seeds == 5 and config.baselines == ("none", "over") and config.name == "small"
    assert config.classifier.epochs_of == "own"  # what the length meant before there was such a field
    assert (config.classifier.steps, config.stop) == (0, "")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--continue={}", "--config.sedes=2"], ["unknown config field 'sedes'", "'seeds'"]),
        (["--continue={}", "--config.seeds=x"], ["config.seeds must be a whole number", "(got x)"]),
        (["--continue={}", "--config=configs/mnist_cgan.py"], ["cannot be combined with --continue"]),
        (["--continue=nowhere"], ["nowhere has no config.json"]),
        (["--into=docs"], ["--into needs --collect"]),
        (["--replace", "--config=configs/mnist_cgan.py"], ["--replace needs --collect"]),
        (["--collect=x", "--config=configs/mnist_cgan.py"], ["cannot be combined"]),
        (["--collect="], ["--collect needs a folder"]),
    ],
)
def test_a_wrong_command_line_is_explained(capsys, folder, argv, words):
    with pytest.raises(SystemExit) as end:
        parsed(*(word.format(folder) for word in argv))
    out, err = capsys.readouterr()
    assert end.value.code == 2 and out == "" and err.startswith("error: ") and err.count("\n") == 1, err
    assert all(word in err for word in words), err


def test_collecting_needs_no_experiment():
    assert parsed("--collect=runs/a", "--into=docs/results/a").into == "docs/results/a"
