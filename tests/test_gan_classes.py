"""A GAN for each class: trained together, each the same whatever others there are; filtered and drawn class by class."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax import experiment, methods
from imbal_jax.arms import Arm
from imbal_jax.artifacts import checkpoint, json_files
from imbal_jax.errors import UserError
from imbal_jax.gan import losses, sample
from imbal_jax.gan import step as gan_step
from imbal_jax.gan.step import Nets
from imbal_jax.report.curves import Curves
from imbal_jax.stages import arm_group, gan_selection, gan_training
from imbal_jax.stages.training_set import prepare
from tests import small, toys

TASK = methods.Task((50, 9, 0, 4), 1.0, ("N", "S", "V", "F"), (28, 28, 1), (1, 2, 3))


def config_of(classes):
    config = small.get_config()
    config.gan.classes = classes
    config.gan.epochs = config.gan.grid_every = 1
    config.classifier.epochs = 1
    return config


@pytest.mark.parametrize(("text", "labels"), [("", ()), ("minority", (1, 3)), ("S", (1,)), ("F, N", (0, 3)), ("S,S", (1,))])
def test_which_classes_get_a_gan(text, labels):
    assert gan_training.own_classes(text, TASK) == labels


def test_a_class_that_cannot_have_one():
    with pytest.raises(UserError, match=r"unknown class 'X' \(config.gan.classes\); the classes are N, S, V, F"):
        gan_training.own_classes("S, X", TASK)
    with pytest.raises(UserError, match="class 'V' .* has no training rows"):
        gan_training.own_classes("V", TASK)


def test_options_that_do_not_suit_the_data():
    options = config_of("minority").gan
    gan_training.check_data(options, TASK)
    with pytest.raises(UserError, match="config.gan.classes='minority' needs a class"):
        gan_training.check_data(options, TASK._replace(minority=()))
    options.augment = "translation"
    gan_training.check_data(options, TASK)
    with pytest.raises(UserError, match=r"gan.augment='translation'.*needs images.*rows of shape \(300, 1\)"):
        gan_training.check_data(options, TASK._replace(shape=(300, 1)))


def test_no_gan_is_trained_where_nothing_is_to_be_generated(tmp_path, caplog):
    """A GAN for class 0, which is as large as the largest: the arm is 'none', at the cost of 'none', and it is said."""
    config = config_of("0")
    config.seeds = 1
    chunk, curves = prepare(config, tmp_path), Curves(tmp_path / "metrics.jsonl", (0,))
    trained = lambda: pytest.fail("trained for nothing")  # noqa: E731
    (row,) = arm_group.run(chunk, curves, [Arm("gan_synth")], trained, trained)
    seen = sum(chunk.train.counts) // 16 * 16 * config.classifier.epochs
    assert row["gan_seconds"] == 0 and row["examples_seen"] == seen and row["counts_after"] == row["counts_before"]
    lines = [row for row in json_files.read(tmp_path / "metrics.jsonl") if row["stage"] == "warning"]
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
    rows = json_files.read(run / "rows.jsonl")
    assert len(rows) == 2 and all(row["counts_before"][6] == row["counts_after"][6] for row in rows)
    assert all(row["counts_after"][8] > row["counts_before"][8] for row in rows)
    lines = [row for row in json_files.read(run / "metrics.jsonl") if row["stage"] == "gan"]
    assert {(row["method"], row["seed"]) for row in lines} == {(f"class {k}", seed) for k in (8, 9) for seed in (0, 1)}
    assert (run / "plots" / "samples.png").exists() and (run / "plots" / "losses.png").exists()


def test_a_gan_is_the_same_whatever_others_there_are(tmp_path, run):
    chunk = prepare(config_of("9"), tmp_path, seeds=(1,))
    baseline_job = gan_training.fit(chunk, Curves(tmp_path / "metrics.jsonl", (1,))).gan
    both = gan_training.fit(prepare(config_of("8, 9"), run), Curves(run / "metrics.jsonl", (0, 1))).gan
    for one, among in zip(jax.tree.leaves(baseline_job.generator), jax.tree.leaves(both.generator), strict=True):
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
    chunk = prepare(config, tmp_path, seeds=(0,))
    nets = gan_training.nets_of(config, chunk.task, "gemm")
    gan_training.check_shape(nets, "s0_cgan", chunk.task.shape)
    with pytest.raises(UserError, match=r"generates rows of shape \(28, 28, 1\), and the data has \(300, 1\)"):
        gan_training.check_shape(nets, "s0_cgan", (300, 1))


def few_held_out(tmp_path):
    """Of the classes 8 and 9 two rows each are held out; of 1 there are 12."""
    config = config_of("8, 1")
    config.seeds, config.data.per_class, config.data.validation = 1, 60, 0.2
    config.gan.select, config.gan.epochs, config.gan.grid_every = "frechet", 2, 1
    return prepare(config, tmp_path), Curves(tmp_path / "metrics.jsonl", (0,))


def test_training_rows_never_stand_in_for_held_out_ones(tmp_path):
    chunk, _ = few_held_out(tmp_path)
    assert gan_selection.judged_classes(chunk) == (0, 1, 2, 3, 4, 5, 7)
    y, held = chunk.data.train.y, set(np.asarray(chunk.validation[0]))
    for label in (1, 8):
        rows = gan_selection._compared(chunk, (label,), 20)
        assert rows.shape == (1, 1, 20) and set(rows.ravel()) <= held and (y[rows] == label).all()
    assert gan_selection.rule(chunk, (1, 8)) == "frechet; last for 8" and gan_selection.rule(chunk, (8,)) == "last"
    assert gan_selection.rule(chunk, (1,)) == gan_selection.rule(chunk, ()) == "frechet"
    told = gan_selection.not_judged(chunk, (1, 8))
    assert list(told) == [8] and "fewer than 10 held-out rows of class 8" in told[8] and "the last state is used" in told[8]
    of_all = gan_selection.not_judged(chunk, ())[None]
    assert "of class 6, 8, 9" in of_all and "the other classes decide" in of_all
    chunk.config.gan.select = "last"
    assert gan_selection.rule(chunk, (1, 8)) == "last"


@pytest.mark.slow
def test_the_last_state_is_drawn_from_without_enough_held_out_rows(tmp_path, caplog):
    chunk, curves = few_held_out(tmp_path)
    (tmp_path / "plots").mkdir()
    trained, _, _ = gan_training.fit(chunk, curves)
    kept = checkpoint.restore(chunk.folder / "chosen", {"generator": trained.generator})
    of_8, of_1 = (curves.by_lane("gan", [f"class {label}"])[0] for label in (8, 1))
    assert np.asarray(kept.meta["epochs"])[0, 1] == 2 and all(line["val_frechet"] is None for line in of_8)
    assert all(line["val_frechet"] > 0 for line in of_1)
    assert "gan, class 8: fewer than 10 held-out rows of class 8" in caplog.text and "class 1:" not in caplog.text
    lines = [row for row in json_files.read(tmp_path / "metrics.jsonl") if "held-out" in row.get("message", "")]
    assert {line["method"] for line in lines} == {"class 8"}


def test_a_look_without_figure_keeps_the_newest_state():
    """Classes that do not count have no part in the figure; with none that counts each newer state is taken."""
    task = methods.Task((20, 20, 20), 1.0, ("a", "b", "c"), (3,), ())
    _, context = toys.problem(task, 1)
    trained = context.trained["gan"]()
    generator, evaluate_epoch = (jax.tree.map(lambda leaf: leaf[0], of) for of in (trained.generator, trained.discriminator))
    model = toys.Linear(3)
    params = model.init(jax.random.key(0), jnp.zeros((1, 3)))
    labels, rows = jnp.arange(3), jnp.arange(60).reshape(3, 20)
    state = gan_step.State(generator, evaluate_epoch, None, None, None)
    state = gan_selection.start(state)

    @jax.jit
    def run(counted, epoch, state, rows):
        lane = (state, (jax.random.key(1), params, rows, labels, counted, ()))
        return gan_selection._look(trained.nets, model, lambda nets, inputs, real: nets, lane, (context.shared, epoch))

    def look(counted, epoch, state=state, rows=rows):
        return run(jnp.asarray(counted, jnp.float32), jnp.asarray(epoch, jnp.int32), state, rows)

    first, figure = look([1, 1, 0], 1)
    other, same = look([1, 1, 0], 1, rows=rows.at[2].set(rows[0]))  # the third class does not count
    assert np.isfinite(figure) and figure == same and first.best.figure == -figure == other.best.figure
    one, two = look([1, 0, 0], 1)[1], look([0, 1, 0], 1)[1]
    np.testing.assert_allclose(figure, (one + two) / 2, rtol=1e-5)
    after = state
    for epoch in (1, 2, 3):
        after, figure = look([0, 0, 0], epoch, after)
        assert np.isnan(figure) and after.best.epoch == epoch


@pytest.mark.parametrize("classes", ["8, 9", pytest.param("", marks=pytest.mark.slow)])
def test_the_state_nearest_to_held_out_rows_is_drawn_from(tmp_path, monkeypatch, classes):
    config = config_of(classes)
    config.seeds, config.data.validation = 1, 0.2
    config.gan.select, config.gan.epochs, config.quality.samples = "frechet", 3, 20
    monkeypatch.setattr(gan_selection, "FEWEST", 1)  # a row of each class is held out here
    chunk, curves, drawn = prepare(config, tmp_path), Curves(tmp_path / "metrics.jsonl", (0,)), {}
    save = gan_training.checkpoint.save
    (tmp_path / "plots").mkdir()

    def keep(folder, step, tree, *args, **more):
        if folder.name == "generator":
            drawn[step] = tree["generator"]
        save(folder, step, tree, *args, **more)

    monkeypatch.setattr(gan_training.checkpoint, "save", keep)
    trained = gan_training.fit(chunk, curves).gan
    kept = checkpoint.restore(chunk.folder / "chosen", {"generator": trained.generator})
    best_of = np.asarray(kept.meta["epochs"])[0]
    for mine, theirs in zip(jax.tree.leaves(kept.state["generator"]), jax.tree.leaves(trained.generator), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    for place, name in enumerate(gan_training.names(chunk)):
        lines = curves.by_lane("gan", [name])[0]
        best = int(np.argmin([line["val_frechet"] for line in lines])) + 1
        assert best == (best_of[place] if classes else best_of)
        of = (lambda leaf, place=place: leaf[0, place]) if classes else (lambda leaf: leaf[0])
        for mine, theirs in zip(jax.tree.leaves(trained.generator), jax.tree.leaves(drawn[best]), strict=True):
            np.testing.assert_array_equal(of(np.asarray(mine)), of(np.asarray(theirs)))


def test_no_more_rows_are_drawn_for_a_choice_than_the_classes_are_worth():
    assert gan_selection.rows_a_side(500, [18, 22]) == 100 and gan_selection.rows_a_side(500, [18, 300]) == 300
    assert gan_selection.rows_a_side(500, [4000]) == 500 and gan_selection.rows_a_side(60, [18]) == 60
    assert gan_selection.rows_a_side(0, [18]) == 20
