"""Every file in methods/ through one table of checks, and what is particular to each."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax import lanes, methods
from imbal_jax.batches import Shared, pick
from imbal_jax.errors import UserError
from imbal_jax.gan import losses
from imbal_jax.gan import step as gan_step
from imbal_jax.methods import gan_synth, over
from imbal_jax.models import s0_cgan, s0_cnn
from imbal_jax.stages.gan import training_rows
from imbal_jax.stages.setting import unbalanced

COUNTS = (5, 2, 1)
TASK = methods.Task(COUNTS, 1.0, ("a", "b", "c"))
SPECS = {"none": "none", "over": "over", "gan_synth": "gan_synth(filter=random)"}
KEYS = lanes.lane_keys(0, [0, 1])


def problem(many=2):
    y = np.repeat(np.arange(3), COUNTS)
    x = jax.random.randint(jax.random.key(1), (8, 28, 28, 1), 0, 256).astype(jnp.uint8)
    train = unbalanced(np.tile(np.arange(8, dtype=np.int32), (many, 1)), COUNTS, (28, 28, 1))
    shared = Shared(x, jnp.asarray(y, jnp.int32))
    sizes = {"classes": 3, "width": 0.05}
    nets = gan_step.Nets(
        s0_cgan.Generator(latent=4, **sizes), s0_cgan.Discriminator(**sizes), None, None, losses.make("bce"), 4, 3
    )
    z, label = jnp.zeros((1, 4)), jnp.zeros((1, 3))

    def stacked(init):
        return jax.vmap(init)(lanes.lane_keys(5, list(range(many))))

    model = s0_cnn.Model(3, width=0.1)
    trained = {
        "gan": lambda: gan_synth.TrainedGan(
            nets,
            stacked(lambda key: nets.generator.init(key, z, label)),
            stacked(lambda key: nets.discriminator.init(key, jnp.zeros((1, 28, 28, 1)), label)),
        ),
        "plain": lambda: gan_synth.TrainedClassifier(model, stacked(lambda key: model.init(key, jnp.zeros((1, 28, 28, 1))))),
    }
    return train, methods.Context(shared, trained, lanes.over_lanes)


def balance(spec, keys=KEYS, task=TASK):
    train, context = problem(len(keys))
    return methods.resample(spec, task, keys, train, context), context


def test_the_table_has_every_method():
    assert sorted(SPECS) == methods.names()


@pytest.mark.parametrize("spec", SPECS.values())
def test_shared_checks(spec):
    train, context = balance(spec)
    total = sum(train.counts)
    assert train.pool.rows.shape == (2, total)
    assert train.pool.new_x.dtype == jnp.uint8 and train.pool.new_x.shape[2:] == (28, 28, 1)
    assert train.parents.shape[:2] == train.pool.new_y.shape
    assert np.all(train.parents < 8)
    for lane in range(2):
        pool = jax.tree.map(lambda leaf, lane=lane: leaf[lane], train.pool)
        x, y = pick(pool, context.shared, jnp.arange(total))
        assert x.dtype == jnp.float32 and float(x.max()) <= 1.0
        np.testing.assert_array_equal(y, np.repeat(np.arange(3), train.counts))  # class by class, as promised
    again, _ = balance(spec)
    for a, b in zip(jax.tree.leaves(train.pool), jax.tree.leaves(again.pool), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("spec", SPECS.values())
def test_one_lane_alone_is_the_same_lane_among_others(spec):
    among, _ = balance(spec)
    alone, _ = balance(spec, KEYS[:1])
    for a, b in zip(jax.tree.leaves(among.pool), jax.tree.leaves(alone.pool), strict=True):
        assert np.abs(np.asarray(a[0], int) - np.asarray(b[0], int)).max(initial=0) <= 1


def test_over_repeats_own_rows_up_to_the_largest_or_a_number():
    train, _ = balance("over")
    assert train.counts == (5, 5, 5)
    rows = np.asarray(train.pool.rows)
    np.testing.assert_array_equal(rows[:, :5], np.tile(np.arange(5), (2, 1)))  # the first rows stay
    assert set(rows[:, 5:10].ravel()) <= {5, 6}
    assert set(rows[:, 10:].ravel()) == {7}
    assert balance("over(to=4)")[0].counts == (5, 4, 4)
    assert balance("over(to=40)", task=TASK._replace(fraction=0.1))[0].counts == (5, 4, 4)  # a tenth of the data


def test_over_sampling_a_balanced_set_changes_nothing():
    rows = jnp.arange(6)
    np.testing.assert_array_equal(over.oversample(KEYS[0], rows, (3, 3), (3, 3)), rows)


@pytest.mark.parametrize("choice", gan_synth.FILTERS)
@pytest.mark.parametrize("latent", ["normal", "uniform"])
def test_gan_synth_fills_up_with_new_rows(choice, latent):
    train, _ = balance(f"gan_synth(to=4, filter={choice}, latent={latent})")
    assert train.counts == (5, 4, 4)
    assert train.pool.new_x.shape == (2, 5, 28, 28, 1)
    np.testing.assert_array_equal(train.pool.new_y, [[1, 1, 2, 2, 2]] * 2)
    assert (train.parents == -1).all()


def test_methods_are_applied_in_order():
    train, _ = balance("over(to=3) | gan_synth(to=4)")
    assert train.counts == (5, 4, 4)
    assert train.pool.new_y.tolist() == [[1, 2]] * 2
    assert train.pool.rows[0].tolist()[-1] == 9  # the second new row: 8 real rows lie before it


def test_gan_rows_are_repeated_or_capped_to_the_asked_number():
    class Config:
        class gan:
            per_class = 3

    class Setting:
        config, task = Config, TASK
        train = problem()[0]

    pool, counts = training_rows(Setting)  # type: ignore[arg-type]
    assert counts == (3, 3, 3)
    assert pool.rows[0].tolist() == [0, 1, 2, 5, 6, 5, 7, 7, 7]  # the first rows, or whole turns of repeats


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ovr", "unknown method 'ovr'; did you mean 'over'"),
        ("over(too=3)", "no option 'too'; did you mean 'to'"),
        ("none(a=1)", "it takes none"),
        ("over(", "cannot be read"),
        ("over(3)", "cannot be read"),
        ("over(to=[x])", "is not a number or a word"),
        ("over(to=-3)", "neither 'max' nor a positive number"),
        ("gan_synth(filter=taste)", "unknown filter 'taste'"),
        ("gan_synth(candidates=0.5)", "at least 1"),
        ("gan_synth(latent=cauchy)", "unknown latent"),
    ],
)
def test_bad_specs_say_what_is_wrong(spec, message):
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        methods.build(spec, TASK)


def test_the_readme_shows_a_method_that_works():
    text = (Path(__file__).parent.parent / "README.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.S).group(1)
    assert len(code.splitlines()) < 30
    module: dict = {}
    exec(compile(code, "README.md", "exec"), module)
    train, context = problem()
    less = module["make"](TASK).resample(KEYS, train, context)
    assert less.counts == (1, 1, 1)
    assert less.pool.rows.shape == (2, 3)
    assert set(np.asarray(less.pool.rows)[:, 0]) <= set(range(5)) and less.pool.rows[:, 2].tolist() == [7, 7]


def test_a_class_without_rows_is_named():
    with pytest.raises(UserError, match="class 'b' has no training row"):
        methods.build("over", TASK._replace(counts=(5, 0, 1)))
