"""A GAN for each class: trained together, each the same whatever others there are; filtered and drawn class by class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax import checkpoint, experiment, methods, records
from imbal_jax.errors import UserError
from imbal_jax.gan import losses, sample
from imbal_jax.gan.step import Nets
from imbal_jax.stages import gan, gan_choice
from imbal_jax.stages.curves import Curves
from imbal_jax.stages.setting import prepare
from tests import small

TASK = methods.Task((50, 9, 0, 4), 1.0, ("N", "S", "V", "F"), (28, 28, 1), (1, 2, 3))


def config_of(classes):
    config = small.get_config()
    config.gan.classes = classes
    config.gan.epochs = config.gan.grid_every = 1
    config.classifier.epochs = 1
    return config


@pytest.mark.parametrize(("text", "labels"), [("", ()), ("minority", (1, 3)), ("S", (1,)), ("F, N", (0, 3)), ("S,S", (1,))])
def test_which_classes_get_a_gan(text, labels):
    assert gan.own_classes(text, TASK) == labels


def test_a_class_that_cannot_have_one():
    with pytest.raises(UserError, match="names 'X'.*the classes are N, S, V, F"):
        gan.own_classes("S, X", TASK)
    with pytest.raises(UserError, match="'V', which has no training rows"):
        gan.own_classes("V", TASK)


def test_options_that_do_not_suit_the_data():
    options = config_of("minority").gan
    gan.check_data(options, TASK)
    with pytest.raises(UserError, match="'minority', and no class is rare"):
        gan.check_data(options, TASK._replace(minority=()))
    options.augment = "translation"
    gan.check_data(options, TASK)
    with pytest.raises(UserError, match=r"gan.augment is 'translation', DiffAugment for images.*rows are \(300, 1\)"):
        gan.check_data(options, TASK._replace(shape=(300, 1)))


def test_no_gan_is_trained_where_nothing_is_to_be_generated(tmp_path, monkeypatch, caplog):
    """A GAN for class 0, which is as large as the largest: the arm is 'none', at the cost of 'none', and it is said."""
    config = config_of("0")
    config.seeds, config.baselines = 1, ("none",)
    monkeypatch.setattr(gan, "fit", lambda *args: pytest.fail("trained for nothing"))
    experiment.run(config, tmp_path)
    none, synth = records.read(tmp_path / "rows.jsonl")
    same = ("accuracy", "confusion", "examples_seen", "gan_seconds", "counts_after")
    assert [none[name] for name in same] == [synth[name] for name in same] and synth["gan_seconds"] == 0
    lines = [row for row in records.read(tmp_path / "metrics.jsonl") if row["stage"] == "warning"]
    assert len(lines) == 1 and "no GAN is trained" in lines[0]["message"] and lines[0]["method"] == "gan_synth"
    assert "equals the one without gan_synth" in caplog.text


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A whole run with a GAN for 8 and one for 9, and 6 left as it is."""
    config, workdir = config_of("8, 9"), tmp_path_factory.mktemp("run")
    config.method = "gan_synth(to={6: 4000, 8: 5000, 9: 4000}, filter='discriminator')"  # nothing makes 6
    experiment.run(config, workdir)
    return workdir


def test_rows_curves_and_pictures(run):
    rows = records.read(run / "rows.jsonl")
    assert len(rows) == 2 and all(row["counts_before"][6] == row["counts_after"][6] for row in rows)
    assert all(row["counts_after"][8] > row["counts_before"][8] for row in rows)
    lines = [row for row in records.read(run / "metrics.jsonl") if row["stage"] == "gan"]
    assert {(row["method"], row["seed"]) for row in lines} == {(f"class {k}", seed) for k in (8, 9) for seed in (0, 1)}
    assert (run / "plots" / "samples.png").exists() and (run / "plots" / "losses.png").exists()


def test_a_gan_is_the_same_whatever_others_there_are(tmp_path, run):
    setting = prepare(config_of("9"), tmp_path, seeds=(1,))
    alone, _, _ = gan.fit(setting, Curves(tmp_path / "metrics.jsonl", (1,)))
    both, _, _ = gan.fit(prepare(config_of("8, 9"), run), Curves(run / "metrics.jsonl", (0, 1)))
    for one, among in zip(jax.tree.leaves(alone.generator), jax.tree.leaves(both.generator), strict=True):
        np.testing.assert_allclose(one[0, 0], among[1, 1], rtol=1e-4, atol=1e-5)


class Constant:
    """A network that gives its variables, whatever it is asked."""

    @staticmethod
    def apply(variables, x, label):
        return jnp.broadcast_to(variables, (x.shape[0], 2))


class Sum:
    """A discriminator that adds its variables to the row's first number."""

    @staticmethod
    def apply(variables, x, label):
        return x[:, 0] + variables


def test_each_class_is_drawn_and_scored_by_its_own():
    nets = Nets(Constant(), Sum(), None, None, losses.make("bce"), 3, 4, own=(1, 3))
    z = jnp.zeros((5, 3))
    rows = sample.draw(nets, jnp.array([[0.25], [0.75]]), z, (0, 2, 0, 3), dtype=jnp.float32)
    assert rows[:, 0].tolist() == [0.25, 0.25, 0.75, 0.75, 0.75]
    scores = sample.scores(nets, jnp.array([10.0, 20.0]), rows, (0, 2, 0, 3))
    assert scores.tolist() == [10.25, 10.25, 20.75, 20.75, 20.75]
    assert sample.evenly(nets, 2) == (0, 2, 0, 2)
    with pytest.raises(UserError, match="class number 0 has no GAN"):
        sample.draw(nets, jnp.zeros((2, 1)), z, (5, 0, 0, 0), dtype=jnp.float32)


def test_a_generator_of_another_shape_is_refused(tmp_path):
    config = config_of("")
    setting = prepare(config, tmp_path, seeds=(0,))
    nets = gan.nets_of(config, setting.task, "gemm")
    gan.check_shape(nets, "s0_cgan", setting.task.shape)
    with pytest.raises(UserError, match=r"makes rows of shape \(28, 28, 1\), and the data has \(300, 1\)"):
        gan.check_shape(nets, "s0_cgan", (300, 1))


@pytest.mark.parametrize("classes", ["8, 9", pytest.param("", marks=pytest.mark.slow)])
def test_the_state_nearest_to_held_out_rows_is_drawn_from(tmp_path, monkeypatch, classes):
    config = config_of(classes)
    config.seeds, config.data.validation = 1, 0.2
    config.gan.select, config.gan.epochs = "frechet", 3
    setting, curves, drawn = prepare(config, tmp_path), Curves(tmp_path / "metrics.jsonl", (0,)), {}
    save = gan.checkpoint.save
    (tmp_path / "plots").mkdir()

    def keep(folder, step, tree, *args, **more):
        if folder.name == "generator":
            drawn[step] = tree["generator"]
        save(folder, step, tree, *args, **more)

    monkeypatch.setattr(gan.checkpoint, "save", keep)
    trained, _, _ = gan.fit(setting, curves)
    kept = checkpoint.restore(setting.folder / "chosen", {"generator": trained.generator})
    best_of = np.asarray(kept.meta["epochs"])[0]
    for mine, theirs in zip(jax.tree.leaves(kept.state["generator"]), jax.tree.leaves(trained.generator), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for place, name in enumerate(gan.names(setting)):
        lines = curves.by_lane("gan", [name])[0]
        best = int(np.argmin([line["val_frechet"] for line in lines])) + 1
        assert best == (best_of[place] if classes else best_of)
        of = (lambda leaf, place=place: leaf[0, place]) if classes else (lambda leaf: leaf[0])
        for mine, theirs in zip(jax.tree.leaves(trained.generator), jax.tree.leaves(drawn[best]), strict=True):
            np.testing.assert_array_equal(of(np.asarray(mine)), of(np.asarray(theirs)))


def test_a_choice_that_cannot_be_made():
    gan_choice.check("last", 0)
    with pytest.raises(UserError, match="'frechett' did you mean|unknown config.gan.select 'frechett'"):
        gan_choice.check("frechett", 5)
    with pytest.raises(UserError, match="needs validation rows"):
        gan_choice.check("frechet", 0)


def test_no_more_rows_are_drawn_for_a_choice_than_the_classes_are_worth():
    assert gan_choice.rows_a_side(500, [18, 22]) == 100 and gan_choice.rows_a_side(500, [18, 300]) == 300
    assert gan_choice.rows_a_side(500, [4000]) == 500 and gan_choice.rows_a_side(60, [18]) == 60
    assert gan_choice.rows_a_side(0, [18]) == 20
