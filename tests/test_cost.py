"""What an arm costs: each stage that it needs, once."""

import time

import pytest

from imbal_jax import methods
from imbal_jax.arms import arms
from imbal_jax.report.curves import Curves
from imbal_jax.stages import arm_group, training_set
from imbal_jax.train import cost
from imbal_jax.train.cost import Cost
from tests import small
from tests.test_methods import BASE

SPECS = ("none", "posthoc_logit_adjust", "crt", "smote(space=features)", "gan_synth(filter=classifier)", "mixup")


def test_a_row_adds_up_the_stages():
    stages = {"resample": Cost(1.0), "gan": Cost(20.0, 300), "classifier": Cost(4.0, 50), "second_stage": Cost(0.5, 7)}
    row = cost.of_arm(stages, ("gan",))
    assert row["seconds"] == 25.5 and row["examples_seen"] == 357 and row["shared_stages"] == ["gan"]
    assert row["gan_seconds"] == 20.0 and row["second_stage_seconds"] == 0.5


def test_the_stopwatch_leaves_out_what_was_asked_for_and_compilation():
    compiled = [0.0]
    clock = cost.stopwatch(lambda: compiled[0])
    assert clock.without(lambda: time.sleep(0.2) or 7)() == 7
    compiled[0] = 0.0
    time.sleep(0.05)
    assert 0.04 < clock.seconds() < 0.2
    compiled[0] = 0.03
    assert clock.seconds() < 0.2


@pytest.mark.parametrize("spec", ["crt(epochs=4, batch=4)", "lws(epochs=4, batch=4)"])
def test_a_second_stage_counts_its_rows(spec):
    (method,) = methods.build(spec, BASE)
    assert method.examples == 4 * 12


def test_the_classifier_that_a_resampler_asks_for_is_part_of_its_cost(tmp_path, monkeypatch):
    config = small.get_config()
    config.baselines, config.method = SPECS, "none"
    chunk = training_set.prepare(config, tmp_path)
    asked = []

    def fit_plain(chunk, curves):
        asked.append(None)
        raise LookupError  # the training itself is another test's

    monkeypatch.setattr(arm_group.classifier_training, "fit_plain", fit_plain)
    curves = Curves(tmp_path / "metrics.jsonl", chunk.seeds)
    with pytest.raises(LookupError):
        arm_group.resample_training_sets(chunk, curves, "smote(space=features)", lambda: None)
    train, before = arm_group.resample_training_sets(chunk, curves, "over", lambda: None)
    assert asked == [None] and set(before) == {"resample"} and before["resample"].seconds > 0
    every = {arm.spec: arm for arm in arms(config)}
    shared = lambda spec, *before: arm_group.shared_stages(chunk, every[spec], dict.fromkeys(before, Cost()))  # noqa: E731
    assert shared("none") == shared("posthoc_logit_adjust") == shared("crt") == ("classifier",) and shared("mixup") == ()
    assert shared("smote(space=features)", "plain") == ("plain",)
    assert shared("gan_synth(filter=classifier)", "plain", "gan") == ("plain",)  # no other arm has that GAN
