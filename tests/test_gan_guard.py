"""What becomes of lanes whose GAN fails: put back, stopped, left alone; and what is told of them."""

import jax
import numpy as np
import pytest

from imbal_jax.artifacts import checkpoint, json_files
from imbal_jax.gan import monitor
from imbal_jax.report.curves import Curves
from imbal_jax.stages import gan_failure, gan_training
from imbal_jax.stages.training_set import prepare
from tests import small

FAILS = {1: (3,), 2: (1, 2)}  # seed -> epochs


def prepared(folder):
    config = small.get_config()
    config.seeds, config.gan.epochs, config.gan.grid_every = 3, 4, 1
    config.gan.on_failure = "restart"
    (folder / "plots").mkdir()
    return prepare(config, folder), Curves(folder / "metrics.jsonl", (0, 1, 2))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Four epochs of three lanes: 0 goes well; 1 fails once, at the end of epoch 3; 2 fails in 1 and 2, once too often."""
    folder = tmp_path_factory.mktemp("run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gan_failure, "MOST", 1)
        patch.setattr(
            gan_failure,
            "signs",
            lambda curves, names, epoch, means, loss: [["lost"] if epoch in FAILS.get(s, ()) else [] for s in curves.seeds],
        )
        chunk, curves = prepared(folder)
        trained = gan_training.fit(chunk, curves).gan
    return folder, chunk, curves, trained


def kept(run, epoch, lane):
    _, chunk, _, trained = run
    saved = checkpoint.restore_step(chunk.folder / "generator", {"generator": trained.generator}, epoch)
    return [np.asarray(leaf)[lane] for leaf in jax.tree.leaves(saved.state)]


def same(one, two):
    return all((a == b).all() for a, b in zip(one, two, strict=True))


def test_a_lane_that_fails_goes_back_to_its_last_good_state(run):
    assert same(kept(run, 3, 1), kept(run, 2, 1)) and not same(kept(run, 2, 1), kept(run, 1, 1))
    assert not same(kept(run, 4, 1), kept(run, 3, 1))
    for epoch in (2, 3, 4):
        assert not same(kept(run, epoch, 0), kept(run, epoch - 1, 0))


def test_a_lane_that_fails_too_often_stops_at_its_last_good_state(run):
    for epoch in (2, 3, 4):
        assert same(kept(run, epoch, 2), kept(run, 1, 2))  # put back to the beginning, then stopped there
    assert not same(kept(run, 1, 2), kept(run, 1, 0))


def test_the_curves_say_what_was_done(run):
    _, _, curves, _ = run
    lines = curves.by_lane("gan", [None])
    assert [line["epoch"] for line in lines[1]] == [1, 2, 3, 4] and [line["epoch"] for line in lines[2]] == [1, 2]
    assert lines[1][2]["restarted"] == "lost" and lines[1][2]["good_epoch"] == 2
    assert lines[2][0]["restarted"] == lines[2][1]["stopped"] == "lost" and lines[2][1]["good_epoch"] == 0
    assert monitor.broken(lines[1]) is None and "stopped after epoch 2 (lost)" in str(monitor.broken(lines[2]))
    told = [(row["seed"], row["epoch"], row["message"]) for row in json_files.read(curves.path) if row["stage"] == "warning"]
    assert (1, 3, "restarted, epoch 2 is the last good one") in told
    assert (2, 2, "stopped, epoch 0 is the last good one") in told


def test_a_finished_training_is_not_gone_over_again(run):
    folder, chunk, _, trained = run
    again = gan_training.fit(chunk, Curves(folder / "metrics.jsonl", (0, 1, 2))).gan
    assert same(jax.tree.leaves(again.generator), jax.tree.leaves(trained.generator))


def test_what_came_before_a_restart_is_no_sign_of_failure():
    lines = [{"epoch": e, "d_loss": d, "g_loss": 0.8, "loss_name": "bce"} for e, d in enumerate((0.6, None, 0.6), 1)]
    assert "NaN in epoch 2" in str(monitor.broken(lines))
    lines[1]["restarted"] = "NaN"
    assert monitor.broken(lines) is None and monitor.signs(lines) == [] and monitor.broken(lines[:2]) is None
