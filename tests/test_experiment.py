"""The whole path on a tiny experiment: what it leaves in the workdir, and that lanes are independent in it."""

import json

import numpy as np
import pytest

from imbal_jax import experiment
from imbal_jax.artifacts import json_files, point_file
from imbal_jax.errors import UserError
from tests import small

PLOTS = (
    "samples.png",
    "losses.png",
    "confusion.png",
    "recalls.png",
    "class_counts.png",
    "samples_epoch_001.png",
    "film_strip.png",
)
METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "g_mean", "mcc", "ece", "recall_6")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Two seeds, three arms, a GAN of two epochs."""
    workdir = tmp_path_factory.mktemp("run")
    config = small.get_config("whole")
    config.gan.epochs, config.gan.grid_every = 2, 1
    experiment.run(config, workdir)
    return config, workdir


def test_the_workdir_holds_what_is_promised(done):
    _, workdir = done
    for name in ("config.json", "environment.json", "metrics.jsonl", "rows.jsonl", "results.json", "report.html"):
        assert (workdir / name).stat().st_size > 0, name
    for name in PLOTS:
        assert (workdir / "plots" / name).read_bytes().startswith(b"\x89PNG"), name
    folder = workdir / "checkpoints" / "seeds-0-1"
    assert (folder / "generator" / "1").is_dir() and point_file.read(folder) == ([0, 1], {})


def test_results_have_the_published_form(done):
    config, workdir = done
    results = json.loads((workdir / "results.json").read_text())
    assert results["name"] == config.name and results["seeds"] == [0, 1]
    assert set(results["data"]) >= {"name", "source", "digest"}
    assert set(results["methods"]) == {*config.baselines, config.method}
    for arm in results["methods"].values():
        assert set(METRICS) <= set(arm["metrics"])
        assert set(arm["metrics"]["accuracy"]) >= {"mean", "std", "ci95", "worst"}
        assert len(arm["metrics"]["accuracy"]["ci95"]) == 2
        assert len(arm["class_counts"]["before"]) == len(arm["class_counts"]["after"]) == 10
        assert arm["seconds"] > 0
    assert set(results["generator"]) == set(results["data"]["class_names"])
    assert {"frechet", "precision", "recall", "density", "coverage"} <= set(results["generator"]["6"])


def test_rows_are_flat_one_for_each_seed_and_method(done):
    config, workdir = done
    rows = json_files.read(workdir / "rows.jsonl")
    pairs = {(row["seed"], row["method"]) for row in rows}
    assert len(rows) == len(pairs) == 2 * len({*config.baselines, config.method})
    for row in rows:
        assert {*METRICS, "seconds", "source", "digest", "failed"} <= set(row)
        assert all(not isinstance(value, dict) for value in row.values())
    gan = [row for row in rows if "gan_synth" in row["method"]]
    assert all(row["gan_seconds"] > 0 and row["seconds"] > row["classifier_seconds"] for row in gan)


def test_every_arm_takes_the_same_number_of_steps_and_counts_all_its_stages(done):
    config, workdir = done
    rows = json_files.read(workdir / "rows.jsonl")
    real = sum(rows[0]["counts_before"])
    steps = config.classifier.epochs * (real // config.classifier.batch)
    assert all(row["steps"] == steps and row["length"] == "epochs of the real rows" for row in rows)
    assert {sum(row["counts_after"]) > real for row in rows} == {True, False}
    stages = ("resample", "plain", "gan", "classifier", "second_stage")
    for row in rows:
        assert row["seconds"] == pytest.approx(sum(row[f"{stage}_seconds"] for stage in stages))
        own = steps * config.classifier.batch
        gan = row.get("gan_steps", 0) * config.gan.batch * (2 * config.gan.d_steps + 1)
        assert row["examples_seen"] == own + gan
        assert ("gan_synth" in row["method"]) == (gan > 0)


def test_running_again_trains_nothing_and_gives_the_same_rows(done):
    config, workdir = done
    before = (workdir / "rows.jsonl").read_bytes()
    curves = (workdir / "metrics.jsonl").read_bytes()
    experiment.run(config, workdir)
    assert (workdir / "rows.jsonl").read_bytes() == before
    assert (workdir / "metrics.jsonl").read_bytes() == curves


def test_a_seed_alone_gives_the_row_it_has_among_others(done, tmp_path):
    config, workdir = done
    alone = config.copy_and_resolve_references()
    alone.seeds = 1
    alone.quality.samples = 0
    experiment.run(alone, tmp_path)
    among = {row["method"]: row for row in json_files.read(workdir / "rows.jsonl") if row["seed"] == 0}
    for row in json_files.read(tmp_path / "rows.jsonl"):
        assert row["nll"] == pytest.approx(among[row["method"]]["nll"], rel=1e-3)
        assert row["accuracy"] == pytest.approx(among[row["method"]]["accuracy"], abs=0.01)


@pytest.mark.slow
def test_arms_that_differ_after_the_training_share_it(tmp_path):
    config = small.get_config()
    config.baselines = ("none", "crt(epochs=1)", "tau_norm")
    config.method = "thresholds | posthoc_logit_adjust(tau=0)"
    config.data.validation = 0.2
    config.classifier.epochs = 1
    experiment.run(config, tmp_path)
    rows = json_files.read(tmp_path / "rows.jsonl")
    assert [row["method"] for row in rows[::2]] == [*config.baselines, config.method]
    assert rows[0]["counts_before"] == [8, 8, 8, 8, 8, 8, 1, 8, 1, 1]  # of 10 and 2 rows
    assert [path.name for path in (tmp_path / "checkpoints" / "seeds-0-1" / "classifier").iterdir()] == ["none"]
    config.method = "temperature"  # one more arm in the same workdir
    experiment.run(config, tmp_path)
    assert [row["method"] for row in json_files.read(tmp_path / "rows.jsonl")[::2]][-1] == "temperature"
    shown = list(json.loads((tmp_path / "results.json").read_text())["methods"])
    assert shown == [*config.baselines, "temperature", "thresholds | posthoc_logit_adjust(tau=0)"]  # what was asked for first


def test_a_method_that_needs_validation_rows_says_so(tmp_path):
    config = small.get_config()
    config.method = "temperature"
    with pytest.raises(UserError, match=r"hold some out with --config.data.validation=0.1"):
        experiment.run(config, tmp_path)


def test_a_workdir_of_before_there_was_a_field_is_the_same_experiment_at_its_default(tmp_path):
    older = small.get_config().to_dict()
    del older["classifier"]["beta2"]
    (tmp_path / "config.json").write_text(json.dumps(older))
    config = small.get_config()
    experiment.check_workdir(config, tmp_path)
    config.classifier.beta2 = 0.99
    with pytest.raises(UserError, match=r"a different experiment \(config.classifier.beta2 is 0.999 there and 0.99 now\)"):
        experiment.check_workdir(config, tmp_path)


def table_config(folder, **arrays):
    """The default config for an .npz of vectors, short."""
    from configs import folder as own

    np.savez(folder / "table.npz", **arrays)
    config = own.get_config(str(folder / "table.npz"))
    config.seeds, config.baselines, config.method = 1, ("none",), "smote"
    config.classifier.epochs, config.classifier.width, config.quality.samples = 12, 0.25, 0
    config.conv, config.lanes = "gemm", "loop"
    return config


def test_a_table_in_natural_units_trains_with_the_default_config(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment.build, "build", lambda workdir, seconds: json_files.write_json(workdir / "results.json", {}))
    monkeypatch.setattr(experiment.terminal_table, "text", str)
    rng, y = np.random.default_rng(0), np.repeat([0, 1], [160, 80])
    small, large = rng.uniform(0, 0.45, 240), 1e6 + rng.normal(size=240) + 6 * y
    x = np.stack([small, large], axis=1)
    x[3, 0] = 1e7  # an outlier
    config = table_config(tmp_path, x=x, y=y)
    experiment.run(config, tmp_path / "run")
    rows = json_files.read(tmp_path / "run" / "rows.jsonl")
    assert {row["method"] for row in rows} == {"none", "smote"} and min(row["balanced_accuracy"] for row in rows) > 0.95
    told = json_files.read_json(tmp_path / "run" / "environment.json")["data"]
    assert told["dtype"] == "float32" and "standard deviation" in told["scale"]["how"] and told["scale"]["factor"][0] < 1
    config.classifier.model = "s0_cnn"
    with pytest.raises(UserError, match="config.classifier.model is 's0_cnn', a network for images"):
        experiment.run(config, tmp_path / "other")
    assert not (tmp_path / "other" / "rows.jsonl").exists()
