"""NaN and collapse: the run ends, the lane's row says why, and the report tells."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax import experiment
from imbal_jax.artifacts import json_files
from imbal_jax.gan import monitor
from imbal_jax.runtime import environment
from imbal_jax.stages import classifier_training, context, gan_quality, gan_training
from tests import small

GOOD, LOST_GAN, COLLAPSED, LOST_CLASSIFIER = range(4)  # what becomes of each lane

KEPT = {"seed", "method", "seconds", "classifier_seconds", "gan_seconds", "examples_seen", "counts_before", "counts_after"}
KEPT |= {"source", "digest", "point", "compile_seconds", "epoch_seconds", "lanes", "device"}


def poisoned(state, lane):
    """The state with NaN in all weights of one lane."""

    def poison(leaf):
        leaf = np.array(leaf)
        if np.issubdtype(leaf.dtype, np.floating):
            leaf[lane] = np.nan
        return jnp.asarray(leaf)

    return jax.tree.map(poison, state)


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    """Runs experiments in this process; what is compiled once serves the next."""
    kept = jax.config.jax_compilation_cache_dir
    environment.enable_compilation_cache(tmp_path_factory.mktemp("cache"))
    yield experiment.run
    jax.config.update("jax_compilation_cache_dir", kept)


@pytest.fixture(scope="module")
def mixed(run_of, tmp_path_factory):
    """A run of four lanes, three of which fail in their own way."""
    config = small.get_config()
    config.seeds = 4
    config.baselines = ("none",)
    config.gan.epochs = config.gan.grid_every = 2
    config.classifier.epochs = 1
    config.quality.samples = 10
    workdir = tmp_path_factory.mktemp("mixed")
    gan_init, classifier_init, ended = gan_training.init_lanes, classifier_training.init_lanes, gan_training._epoch_ended

    def init_classifier(init, keys):
        state = classifier_init(init, keys)
        return poisoned(state, LOST_CLASSIFIER) if len(keys) == 4 else state  # the reference has one lane

    def collapsed(chunk, curves, nets, renewed, epoch, means, state):
        losses = means["d_loss"].copy()
        losses[COLLAPSED] = 1e-5
        ended(chunk, curves, nets, renewed, epoch, {**means, "d_loss": losses}, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gan_training, "init_lanes", lambda *args: poisoned(gan_init(*args), LOST_GAN))
        patch.setattr(classifier_training, "init_lanes", init_classifier)
        patch.setattr(gan_training, "_epoch_ended", collapsed)
        run_of(config, workdir)
    return config, workdir


def rows_of(workdir, method):
    return sorted(
        (row for row in json_files.read(workdir / "rows.jsonl") if row["method"] == method), key=lambda row: row["seed"]
    )


def plain(row):
    """The row without its times."""
    return {name: value for name, value in row.items() if not name.endswith("seconds")}


def results_of(workdir):
    return json.loads((workdir / "results.json").read_text())


def test_a_lost_lane_says_why_and_has_no_figures(mixed):
    rows = rows_of(mixed[1], "gan_synth")
    assert rows[GOOD]["failed"] is None and 0 <= rows[GOOD]["accuracy"] <= 1
    assert rows[LOST_GAN]["failed"] == "gan: NaN in epoch 1"
    assert rows[LOST_CLASSIFIER]["failed"] == "classifier: NaN in its outputs"
    for lane in (LOST_GAN, LOST_CLASSIFIER):
        assert all(rows[lane][name] is None for name in ("accuracy", "nll", "recall_6", "precision_6", "confusion"))
        assert rows[lane]["counts_after"] == rows[GOOD]["counts_after"] and rows[lane]["seconds"] > 0


def test_a_collapsed_gan_is_marked_and_keeps_its_figures(mixed):
    row = rows_of(mixed[1], "gan_synth")[COLLAPSED]
    assert row["failed"] == "gan: collapsed, discriminator loss 1e-05 at the end"
    assert 0 <= row["accuracy"] <= 1 and np.sum(row["confusion"]) == 1000


def test_an_arm_without_the_gan_is_not_blamed_for_it(mixed):
    rows = rows_of(mixed[1], "none")
    assert [row["failed"] is None for row in rows] == [True, True, True, False]
    assert rows[LOST_GAN]["accuracy"] is not None


def test_results_count_failures_and_leave_them_out_of_the_means(mixed):
    _, workdir = mixed
    results, rows = results_of(workdir), rows_of(workdir, "gan_synth")
    found = results["methods"]["gan_synth"]
    assert found["failed"] == 3 and results["methods"]["none"]["failed"] == 1
    accuracy = found["metrics"]["accuracy"]
    assert accuracy["n"] == 2 and accuracy["left_out"] == 2
    assert accuracy["mean"] == pytest.approx(np.mean([rows[GOOD]["accuracy"], rows[COLLAPSED]["accuracy"]]))
    assert results["paired"]["gan_synth"]["accuracy"]["n"] == 2


def test_warnings_are_recorded(mixed):
    warnings = results_of(mixed[1])["warnings"]
    assert {(row["seed"], row["epoch"]) for row in warnings} == {(s, e) for s in (LOST_GAN, COLLAPSED) for e in (1, 2)}
    assert all("this seed has failed" in row["message"] for row in warnings if row["seed"] == LOST_GAN)
    assert all("the discriminator has won" in row["message"] for row in warnings if row["seed"] == COLLAPSED)


def test_curves_hold_null_where_there_is_no_number(mixed):
    text = (mixed[1] / "metrics.jsonl").read_text()
    assert "NaN" not in text.replace('"NaN in the losses', "")
    lines = [json.loads(line) for line in text.splitlines()]
    lost = [row for row in lines if row["stage"] == "gan" and row["seed"] == LOST_GAN]
    assert len(lost) == 2 and all(row["d_loss"] is None and row["g_loss"] is None for row in lost)
    good = [row for row in lines if row["stage"] == "gan" and row["seed"] == GOOD]
    assert all(np.isfinite(row["d_loss"]) for row in good)


@pytest.mark.slow
def test_a_lost_lane_leaves_the_others_as_they_are(mixed, run_of, tmp_path):
    """The good lane has the row that it has in a run where nothing fails."""
    config, workdir = mixed
    run_of(config, tmp_path)
    assert rows_of(tmp_path, "gan_synth")[LOST_GAN]["failed"] is None
    for method in ("none", "gan_synth"):
        there, here = (plain(rows_of(w, method)[GOOD]) for w in (workdir, tmp_path))
        assert there == here


def test_generator_quality_leaves_lost_generators_out(mixed):
    by_class = results_of(mixed[1])["generator"]
    rows = rows_of(mixed[1], "gan_synth")
    for name in ("frechet", "coverage"):
        assert rows[LOST_GAN][f"gan_{name}"] is None
        in_rows = [row[f"gan_{name}"] for seed, row in enumerate(rows) if seed != LOST_GAN]
        np.testing.assert_allclose(np.mean(in_rows), np.mean([figures[name] for figures in by_class.values()]), rtol=1e-6)
    assert "gan_coverage" not in rows_of(mixed[1], "none")[GOOD]


def test_the_report_tells(mixed):
    page = (mixed[1] / "report.html").read_text()
    assert "Failures and warnings" in page and "gan: NaN in epoch 1" in page
    assert "classifier: NaN in its outputs" in page and "gan: collapsed" in page and "the discriminator has won" in page


def test_a_run_in_which_everything_failed_still_ends(mixed, run_of, tmp_path):
    """As when all lanes are lost: rows without figures, and a page that says so."""
    config, workdir = mixed
    everything = tmp_path / "lost"
    shutil.copytree(workdir, everything)
    rows = [
        {name: value if name in KEPT else None for name, value in row.items()} | {"failed": "gan: NaN in epoch 1"}
        for row in json_files.read(workdir / "rows.jsonl")
    ]
    (everything / "rows.jsonl").unlink()
    json_files.append(everything / "rows.jsonl", rows)
    (everything / "plots" / "recalls.png").unlink()
    run_of(config, everything)
    results = results_of(everything)
    assert [arm["failed"] for arm in results["methods"].values()] == [4, 4]
    assert all(arm["metrics"]["accuracy"]["mean"] is None for arm in results["methods"].values())
    assert "gan: NaN in epoch 1" in (everything / "report.html").read_text()


@pytest.mark.slow
def test_an_absurd_learning_rate(run_of, tmp_path, monkeypatch):
    """The numbers really run away, in all lanes and in both networks; the bound that would refuse the rate is lifted."""
    for module in (context, experiment):
        monkeypatch.setattr(module, "validate", lambda config: None)
    config = small.get_config()
    config.baselines = ("none",)
    config.gan.g_learning_rate = config.gan.d_learning_rate = config.classifier.learning_rate = 1e30
    run_of(config, tmp_path)
    assert all(row["failed"].startswith("gan: NaN in epoch") for row in rows_of(tmp_path, "gan_synth"))
    assert all(row["failed"] == "classifier: NaN in its outputs" for row in rows_of(tmp_path, "none"))
    assert all(row["accuracy"] is None for row in json_files.read(tmp_path / "rows.jsonl"))
    assert (tmp_path / "report.html").stat().st_size > 0


def history(*losses, name="bce"):
    return [{"epoch": e + 1, "d_loss": d, "g_loss": 0.7, "loss_name": name} for e, d in enumerate(losses)]


def test_what_counts_as_broken():
    assert monitor.broken([]) is None and monitor.broken(history(0.5, 0.6)) is None
    assert monitor.broken(history(0.5, None, 0.6)) == "gan: NaN in epoch 2"  # as it is read back from metrics.jsonl
    assert monitor.broken(history(0.5, float("inf"))) == "gan: NaN in epoch 2"
    assert monitor.broken(history(1e-9, 0.6)) is None  # it recovered
    assert "collapsed" in str(monitor.broken(history(0.6, 1e-9)))
    assert monitor.broken(history(0.6, -3.0, name="wgan-gp")) is None  # a Wasserstein loss has no zero


def test_generators_with_a_number_lost_are_not_measured():
    weights = {"a": jnp.ones((2, 3)), "b": {"c": jnp.array([[0.0, 1.0], [jnp.nan, 1.0]])}}
    assert gan_quality.sound(weights, 0) and not gan_quality.sound(weights, 1)
