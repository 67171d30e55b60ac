"""Training as its users expect it: optimisers and schedules, averages, the best epoch, bfloat16, what is held out."""

import json
from functools import cache, partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import base
from imbal_jax import data, experiment
from imbal_jax.arms import Arm
from imbal_jax.artifacts import checkpoint, json_files
from imbal_jax.config import validate
from imbal_jax.data.batches import Inputs, Pool, Shared
from imbal_jax.errors import Interrupted, UserError
from imbal_jax.runtime import environment, lanes
from imbal_jax.stages import classifier_network, evaluation, training_set
from imbal_jax.stages import classifier_training as stage
from imbal_jax.stages import context as settings
from imbal_jax.train import classifier, loop, optimizer, selection
from imbal_jax.train.cost import Cost
from tests import small, toys


@pytest.fixture(scope="module", autouse=True)
def quickly_compiled():
    """What is compiled here runs for little; half of the time goes without the polish."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


# --- optimisers -------------------------------------------------------------------------------------------------------

WEIGHTS = np.array([1.0, -2.0, 0.5])


def gradient(w):
    return np.array([0.5, 1.0, -3.0]) * w + 0.1


def followed(rule, steps=4):
    """The weights after some steps, by optax."""
    w, state = jnp.asarray(WEIGHTS, jnp.float32), rule.init(jnp.asarray(WEIGHTS, jnp.float32))
    for _ in range(steps):
        updates, state = rule.update(jnp.asarray(gradient(np.asarray(w)), jnp.float32), state, w)
        w = optax.apply_updates(w, updates)
    return np.asarray(w)


def momentum(w, nesterov=False, rate=0.1, beta=0.8, decay=0.0, steps=4):
    """SGD with momentum as PyTorch documents it: buf = beta buf + g, the weight decay in g."""
    buffer = 0.0
    for _ in range(steps):
        g = gradient(w) + decay * w
        buffer = beta * buffer + g
        w = w - rate * (g + beta * buffer if nesterov else buffer)
    return w


def adam(w, coupled=0.0, decoupled=0.0, rate=0.1, beta=0.8, second=0.999, steps=4):
    """Adam (decay in the gradient) and AdamW (weights shrink by rate x decay), after Loshchilov and Hutter 2019."""
    m = v = np.zeros_like(w)
    for t in range(1, steps + 1):
        g = gradient(w) + coupled * w
        m, v = beta * m + (1 - beta) * g, second * v + (1 - second) * g**2
        w = w - rate * ((m / (1 - beta**t)) / (np.sqrt(v / (1 - second**t)) + 1e-8) + decoupled * w)
    return w


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sgd", partial(momentum, beta=0.0)),
        ("momentum", momentum),
        ("nesterov", partial(momentum, nesterov=True)),
    ],
)
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_sgd_against_its_formula(name, expected, decay):
    found = followed(optimizer.make(name, 0.1, steps=4, beta1=0.8, weight_decay=decay))
    np.testing.assert_allclose(found, expected(WEIGHTS, decay=decay), rtol=1e-5)


def test_adam_couples_its_weight_decay_and_adamw_does_not():
    make = partial(optimizer.make, learning_rate=0.1, steps=4, beta1=0.8, weight_decay=0.3)
    np.testing.assert_allclose(followed(make("adam")), adam(WEIGHTS, coupled=0.3), rtol=1e-4)
    np.testing.assert_allclose(followed(make("adamw")), adam(WEIGHTS, decoupled=0.3), rtol=1e-4)
    np.testing.assert_allclose(followed(make("adamw", beta2=0.9)), adam(WEIGHTS, decoupled=0.3, second=0.9), rtol=1e-4)
    plain = optimizer.make("adamw", 0.1, steps=4, beta1=0.8)
    np.testing.assert_array_equal(followed(plain), followed(optimizer.make("adam", 0.1, steps=4, beta1=0.8)))


def test_clipping_leaves_the_direction_and_comes_before_the_weight_decay():
    g, w = jnp.asarray([3.0, 4.0]), jnp.asarray([1.0, 2.0])
    for clip, scale in ((1.0, 0.2), (10.0, 1.0)):
        rule = optimizer.make("sgd", 1.0, steps=1, clip=clip, weight_decay=0.5)
        np.testing.assert_allclose(rule.update(g, rule.init(w), w)[0], -(scale * g + 0.5 * w), rtol=1e-6)


def test_the_defaults_keep_no_more_state_than_before():
    """A chain would change the names in checkpoints."""
    assert isinstance(optimizer.make("sgd", 0.1, steps=9).init(jnp.ones(2)), tuple)
    same = jax.tree.structure(optax.adam(0.1).init(jnp.ones(2)))
    assert jax.tree.structure(optimizer.make("adam", 0.1, steps=9).init(jnp.ones(2))) == same


@pytest.mark.parametrize(
    ("name", "schedule", "words"),
    [
        ("nesterow", "constant", "unknown optimizer 'nesterow'; did you mean 'nesterov'"),
        ("sgd", "cosin", "unknown schedule 'cosin'; did you mean 'cosine'"),
    ],
)
def test_unknown_names(name, schedule, words):
    with pytest.raises(UserError, match=words):
        optimizer.make(name, 0.1, steps=1, schedule=schedule)


# --- schedules --------------------------------------------------------------------------------------------------------


def rates(steps, **options):
    """The rate of every step, with all that lanes may differ in traced."""
    run = jax.jit(jax.vmap(lambda i, rate, total: optimizer.rate_at(i, rate, total, **options), in_axes=(0, None, None)))
    return np.asarray(run(jnp.arange(steps), jnp.float32(0.1), jnp.int32(steps)))


def test_a_constant_rate_with_a_warm_up():
    np.testing.assert_allclose(rates(10, warmup=0.4), [0.025, 0.05, 0.075, *[0.1] * 7], rtol=1e-6)
    np.testing.assert_allclose(rates(10, warmup=0.25), [0.04, 0.08, *[0.1] * 8], rtol=1e-6)  # 2.5 steps
    np.testing.assert_allclose(rates(10, warmup=0.01), 0.1, rtol=1e-6)


def test_the_cosine_begins_after_the_warm_up_and_ends_at_zero():
    expected = 0.05 * (1 + np.cos(np.pi * np.arange(8) / 8))
    np.testing.assert_allclose(rates(8, schedule="cosine"), expected, rtol=1e-5)
    found = rates(10, schedule="cosine", warmup=0.2)
    np.testing.assert_allclose(found, [0.05, 0.1, *expected[:8]][:10], rtol=1e-5)
    assert float(optimizer.rate_at(10, 0.1, 10, "cosine", 0.2)) == pytest.approx(0, abs=1e-8)


def test_the_published_long_tailed_schedule():
    """Cao et al. 2019: 200 epochs, five of warm-up, times 0.01 at epochs 160 and 180; here with odd epochs of 83 steps."""
    found = rates(200 * 83, schedule="step", milestones=(0.8, 0.9), decay=0.01, warmup=5 / 200).reshape(200, 83)
    np.testing.assert_allclose(found[5:160], 0.1, rtol=1e-6)
    np.testing.assert_allclose(found[160:180], 1e-3, rtol=1e-6)
    np.testing.assert_allclose(found[180:], 1e-5, rtol=1e-6)
    np.testing.assert_allclose(found[:5].ravel(), 0.1 * np.arange(1, 416) / 415, rtol=1e-5)


# --- the best epoch ---------------------------------------------------------------------------------------------------


def chosen(figures, patience=0):
    """(epoch kept, weights kept, whether stopped) after these figures; the weights are the epoch's number."""
    best = selection.start(jnp.zeros(()))
    for epoch, figure in enumerate(figures, 1):
        best = selection.update(best, jnp.float32(epoch), jnp.float32(figure), jnp.int32(epoch), patience)
    return int(best.epoch), float(best.variables), bool(selection.stopped(best, patience))


def test_which_epoch_is_kept():
    assert chosen([0.1, 0.5, 0.5, 0.2]) == (2, 2.0, False)  # the first of equals
    assert chosen([0.3, 0.2, 0.1, 0.9]) == (4, 4.0, False)
    assert chosen([0.3, 0.2, 0.1, 0.9], patience=2) == (1, 1.0, True)  # it had stopped
    assert chosen([0.3, 0.2, 0.4, 0.1], patience=2) == (3, 3.0, False)
    assert chosen([-np.inf, -np.inf]) == (1, 1.0, False)  # lost from the first epoch on: shown as it is


def test_what_epochs_are_compared_by():
    figures = {"val_loss": jnp.float32(2.0), "val_accuracy": jnp.float32(0.5), "val_balanced_accuracy": jnp.float32(0.25)}
    assert [float(selection.goodness(by, figures)) for by in selection.BY] == [0.25, 0.5, -2.0]
    assert float(selection.goodness("accuracy", {**figures, "val_loss": jnp.float32(np.nan)})) == -np.inf


# What the judge of these lanes finds, epoch by epoch.
RISING, EARLY, LATE = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0.9, 0.1, 0.1, 0.1, 0.1, 0.95], [0.1, 0.2, 0.8, 0.1, 0.1, 0.1]


def noisy_epoch(epoch, inputs, shared, total):
    def step(state, i, position):
        noise = jax.random.normal(jax.random.fold_in(inputs[0], i), state.params.shape)
        return state._replace(params=state.params * 0.9 + noise), {"loss": state.params[0]}

    return step


def judged(lane, epoch):
    state, (_, figures) = lane
    best = selection.update(state.best, state.params, figures[epoch - 1], epoch, 2)
    return state._replace(best=best), figures[epoch - 1], selection.stopped(best, 2)


@cache
def programs(inner):
    active = partial(classifier.active, patience=2)
    over = partial(lanes.over_lanes, devices=jax.devices()[:1], inner=inner)
    return over(loop.span_function(noisy_epoch, active)), over(judged)


def train(folder, figures, told, inner="loop", chunk_seconds=0.0, save_seconds=0.0):
    """Up to six epochs of three steps of a lane for each row of figures."""
    advance, look = programs(inner)
    inputs = (lanes.lane_keys(0, range(len(figures))), jnp.asarray(figures, jnp.float32))
    start = lambda key: classifier.State(jnp.ones(3), (), {}, None, selection.start(jnp.ones(3)))  # noqa: E731

    def evaluate_epoch(epoch, means, state):
        state, figure, stopped = look(state, inputs, jnp.asarray(epoch, jnp.int32))
        return loop.EpochEvaluation(state, {"val": np.asarray(figure)}, bool(np.all(stopped)))

    def on_epoch(epoch, means, state):
        told.append((epoch, {name: value.tolist() for name, value in means.items()}))

    def on_resume(epochs):
        del told[epochs:]

    plan = loop.Plan("test", folder, 6, 3, chunk_seconds, save_seconds)
    state = jax.vmap(start)(inputs[0])
    return loop.train(plan, advance, state, inputs, jnp.zeros(()), ("loss",), on_epoch, on_resume, evaluate_epoch)


@pytest.mark.parametrize("inner", ["loop", "vmap"])
def test_a_stopped_lane_keeps_its_best_whatever_the_others_do(tmp_path, inner):
    told: list = []
    both = train(tmp_path / "both", [EARLY, RISING], told, inner)
    assert both.epochs == 6 and both.state.best.epoch.tolist() == [1, 6]
    losses = np.array([means["loss"] for _, means in told], np.float64)
    assert np.isfinite(losses[:3]).all() and np.isnan(losses[3:, 0]).all() and np.isfinite(losses[3:, 1]).all()
    baseline_job = train(tmp_path / "alone", [EARLY], [], inner)
    assert baseline_job.epochs == 3  # all lanes have stopped
    for one, other in zip(jax.tree.leaves(baseline_job.state), jax.tree.leaves(both.state), strict=True):
        np.testing.assert_array_equal(one[0], other[0])


class Killed(BaseException):
    pass


def test_an_early_end_is_the_same_wherever_it_was_cut(tmp_path, monkeypatch):
    whole: list = []
    unbroken = train(tmp_path / "unbroken", [EARLY, LATE], whole, chunk_seconds=10.0, save_seconds=30.0)
    assert unbroken.epochs == 5 and unbroken.state.best.epoch.tolist() == [1, 3]
    real, told, saves = checkpoint.save, [], []

    def save_and_die(*args, **options):
        real(*args, **options)
        saves.append(args[1])
        raise Killed

    monkeypatch.setattr(checkpoint, "save", save_and_die)
    while not saves or saves[-1] < 15:
        with pytest.raises(Killed):
            train(tmp_path / "cut", [EARLY, LATE], told)
    monkeypatch.setattr(checkpoint, "save", real)
    cut = train(tmp_path / "cut", [EARLY, LATE], told)  # finds that all is over
    assert json.dumps(told) == json.dumps(whole) and cut.epochs == 5
    for one, other in zip(jax.tree.leaves(cut.state), jax.tree.leaves(unbroken.state), strict=True):
        np.testing.assert_array_equal(one, other)


# --- the classifier's step: moving averages and bfloat16 --------------------------------------------------------------

SHAPE, COUNTS, BATCH = (6, 6, 1), (24, 16, 8), 16


class Normed(nn.Module):
    """dense -> batch norm -> relu -> dense."""

    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.Dense(8)(x.reshape(x.shape[0], -1))
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        return nn.Dense(3, name="head")(x), x.astype(jnp.float32)


def rule(rate, total):
    return optax.sgd(rate)


@cache
def states(steps, per_epoch, **options):
    """The states before and after each step on classes that differ in brightness, and the mean loss of the last epoch."""
    y = jnp.repeat(jnp.arange(3), jnp.asarray(COUNTS), total_repeat_length=sum(COUNTS))
    x = jax.random.randint(jax.random.key(3), (len(y), *SHAPE), 0, 100) + 70 * y[:, None, None, None]
    pool = Pool(jnp.arange(len(y), dtype=jnp.int32), jnp.zeros((0, *SHAPE), jnp.uint8), jnp.zeros(0, jnp.int32))
    inputs = Inputs(jax.random.key(1), pool, jnp.asarray(COUNTS), {"learning_rate": jnp.float32(0.1)})
    init = partial(classifier.init, model=Normed(), optimizer=rule(0.1, 1), shape=SHAPE, ema=options.get("ema", 0.0))
    run = jax.jit(loop.span_function(classifier.epoch_of(Normed(), rule, BATCH, **options)))
    found, losses = [jax.jit(init)(inputs.key)], []
    for i in range(steps):
        carry = loop.Carry(found[-1], {name: jnp.zeros(()) for name in classifier.METRICS})
        carry = run((carry, inputs), (Shared(x.astype(jnp.uint8), y), loop.span(i, i + 1, per_epoch, steps)))
        found.append(carry.state)
        losses.append(float(carry.sums["loss"]))
    return found, np.mean(losses[-per_epoch:])


def test_the_moving_average_is_that_of_weights_and_statistics():
    with_average, plain = states(60, 3, ema=0.15)[0], states(60, 3)[0]
    expected = classifier.variables(plain[0])
    for number in range(4):
        now = classifier.variables(plain[number + 1])
        decay = min(0.15, (1 + number) / (10 + number))
        expected = jax.tree.map(lambda a, w, decay=decay: decay * a + (1 - decay) * w, expected, now)
        found = classifier.chosen(with_average[number + 1])
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), found, expected)
    assert set(found) == {"params", "batch_stats"}


def test_bfloat16_trains_as_float32_does():
    (*_, full), loss = states(60, 3)
    (*_, mixed), nearly = states(60, 3, dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(mixed)} == {jnp.dtype("float32")}
    assert loss < 0.5 and nearly == pytest.approx(loss, rel=0.1)
    for one, other in zip(jax.tree.leaves(mixed), jax.tree.leaves(full), strict=True):
        assert np.abs(one - other).max() < 0.05 * max(1.0, np.abs(other).max())
    differs = jax.tree.map(lambda one, other: bool(np.any(one != other)), mixed.params, full.params)
    assert any(jax.tree.leaves(differs))


def test_the_network_computes_in_bfloat16():
    seen = []

    class Watched(NamedTuple):
        def apply(self, params, x, train, rngs):
            seen.append((x.dtype, params["params"]["head"].dtype))
            return x.reshape(x.shape[0], -1) @ params["params"]["head"], None

    state = classifier.State({"params": {"head": jnp.ones((4, 3))}}, (), {})
    z, _ = classifier._apply(Watched(), state, jnp.ones((2, 4)), jax.random.key(0), jnp.bfloat16)
    assert seen == [(jnp.bfloat16, jnp.bfloat16)] and z.dtype == jnp.float32


# --- what is held out -------------------------------------------------------------------------------------------------


def config_of(**fields):
    """The small experiment with doing nothing alone; fields as 'classifier__epochs'."""
    config = small.get_config()
    config.method = "none"
    for name, value in fields.items():
        group, _, field = name.rpartition("__")
        (config[group] if group else config)[field] = value
    return config


@cache
def begun():
    """60 images of each digit."""
    return settings.load_common(config_of(data__per_class=60))


def prepared(folder, base=None, **fields):
    return training_set.prepare(config_of(data__per_class=60, **fields), folder, base or begun())


def test_the_first_rows_are_held_out_before_the_cut(tmp_path):
    found = prepared(tmp_path, data__validation=250, cut__draw="random")
    assert np.array_equal(found.validation, np.tile(np.arange(250), (2, 1)))
    y = begun().data.train.y
    assert min(np.asarray(found.train.pool.rows).min(1)) >= 250
    whole = prepared(tmp_path, data__validation=250, cut__profile="none")
    assert whole.train.counts == tuple(np.bincount(y[250:], minlength=10)) and whole.task.minority != tuple(range(10))
    assert not np.array_equal(*np.asarray(found.train.pool.rows))  # the lanes' own draws


def test_classes_are_rare_by_their_training_rows(tmp_path):
    found = prepared(tmp_path, data__validation=100).task
    counts = np.array(found.counts)
    assert found.minority == tuple(np.flatnonzero(counts < counts.max() / 2)) and {6, 8, 9} < set(found.minority)
    assert prepared(tmp_path, data__validation=0.2).task.minority == (6, 8, 9)


def test_a_cut_that_names_the_commonest_class_does_not_make_it_rare(tmp_path):
    base = begun()
    y = np.repeat(np.arange(10), [72, 32, 3, *[60] * 7]).astype(np.int32)
    x = base.data.train.x[: len(y)]
    number = np.arange(len(y))
    data = base.data._replace(train=base.data.train._replace(x=x, y=y, ids=number, groups=number), fraction=1.0)
    task = prepared(tmp_path, base._replace(data=data), cut__profile="{0: 60}").task
    assert task.counts[:3] == (60, 32, 3) and task.minority == (2,)


def in_groups():
    """The same rows, in groups of three of a class."""
    base = begun()
    rows = base.data.train
    y = np.sort(rows.y)
    return base._replace(data=base.data._replace(train=rows._replace(y=y, groups=np.arange(len(y)) // 3)))


def test_groups_are_held_out_whole(tmp_path):
    base = in_groups()
    seeds = tuple(range(12))
    fields = {"data__validation": 0.2, "cut__profile": "none"}
    config = config_of(data__per_class=60, **fields)
    found = training_set.prepare(config, tmp_path, base, seeds=seeds)
    held, groups, y = np.asarray(found.validation), base.data.train.groups, base.data.train.y
    rows = np.asarray(found.train.pool.rows)
    for mine, others in zip(held, rows, strict=True):
        assert not set(groups[mine]) & set(groups[others]) and not set(mine) & set(others)
        assert len(set(mine)) == len(mine) and len(set(others)) == len(others)
        # The same numbers in all lanes, near the share, and few rows on neither side.
        assert np.array_equal(np.bincount(y[others], minlength=10), found.train.counts)
        np.testing.assert_allclose(np.bincount(y[mine]), 0.2 * 60, atol=3)
    assert 560 <= held.shape[1] + rows.shape[1] <= 600
    assert 2 < len({tuple(mine) for mine in held}) <= training_set.SPLITS  # seeds have splits of their own
    baseline_job = training_set.prepare(config, tmp_path, base, seeds=(7,))  # whichever seeds there are beside it
    assert np.array_equal(baseline_job.validation[0], held[7]) and np.array_equal(baseline_job.train.pool.rows[0], rows[7])
    other = training_set.prepare(config_of(data__per_class=60, seed=1, **fields), tmp_path, base, seeds=seeds)
    assert not np.array_equal(held, np.asarray(other.validation))


def test_the_random_cut_of_a_lane_is_from_its_own_split(tmp_path):
    base = in_groups()
    config = config_of(data__per_class=60, data__validation=0.2, cut__draw="random")
    both = training_set.prepare(config, tmp_path, base, seeds=(0, 1, 2, 3))
    baseline_job = training_set.prepare(config, tmp_path, base, seeds=(2,))
    assert np.array_equal(baseline_job.train.pool.rows[0], both.train.pool.rows[2])
    groups = base.data.train.groups
    for mine, others in zip(np.asarray(both.validation), np.asarray(both.train.pool.rows), strict=True):
        assert not set(groups[mine]) & set(groups[others])


def test_the_rest_of_a_group_is_not_trained_on_beside_the_first_rows(tmp_path):
    found = prepared(tmp_path, in_groups(), data__validation=31, cut__profile="none")
    assert found.validation.shape == (2, 31) and np.asarray(found.train.pool.rows).min() == 33


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"data__validation": 1.0}, "a share below 1, or a whole number of at least 2 rows"),
        ({"data__validation": 2.5}, "a share below 1, or a whole number of at least 2 rows"),
        ({"data__validation": -0.1}, "config.data.validation must be at least 0 \\(got -0.1\\)"),
        ({"data__validation": 600}, "must be below the number of training rows, 600"),
        ({"classifier__momentum": 1.0}, "config.classifier.momentum must be below 1 \\(got 1.0\\)"),
        ({"classifier__ema": -0.5}, "config.classifier.ema must be at least 0 \\(got -0.5\\)"),
        ({"classifier__weight_decay": float("nan")}, "config.classifier.weight_decay must be a finite number \\(got nan\\)"),
        ({"classifier__clip": -1.0}, "config.classifier.clip must be at least 0 \\(got -1.0\\)"),
        ({"classifier__patience": -1}, "config.classifier.patience must be at least 0 \\(got -1\\)"),
        ({"classifier__warmup": 3.0}, "warmup must be shorter than the training of 3 epochs"),
        ({"classifier__milestones": (0.9, 0.8)}, "milestones must be increasing shares"),
        ({"classifier__milestones": (0.8, 1.0)}, "milestones must be increasing shares"),
        ({"classifier__milestones": ("0.8",)}, "milestones must be increasing shares"),
        ({"classifier__milestones": (), "classifier__schedule": "step"}, "schedule 'step' needs config.classifier.miles"),
    ],
)
def test_numbers_out_of_range(tmp_path, fields, words):
    with pytest.raises(UserError, match=words):
        training_set.prepare(config_of(data__per_class=60, **fields), tmp_path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"classifier__select": "bset"}, r"select must be one of last, best \(got 'bset'\); did you mean 'best'"),
        ({"classifier__select_by": "acuracy"}, r"select_by must be one of .* \(got 'acuracy'\); did you mean 'accuracy'"),
        ({"classifier__select": "best"}, "select needs validation rows: hold some out with --config.data.validation=0.1"),
        ({"gan__select": "frechet"}, "gan.select needs validation rows: hold some out"),
        ({"gan__on_failure": "restrat"}, "on_failure must be one of .*did you mean 'restart'"),
        ({"classifier__patience": 3}, "patience=3 needs config.classifier.select='best'"),
        ({"precision": "bf61"}, "config.precision must be one of .*did you mean 'bf16'"),
        ({"classifier__mean": (0.5,)}, r"mean and .std must have the same length \(got 1 and 0 numbers\)"),
        ({"classifier__mean": (0.5,), "classifier__std": (0.0,)}, "must be finite, std above 0"),
        ({"data_devices": 2, "parallel": "pmap"}, "must be 'shard_map'"),
        ({"data_devices": 3}, r"data_devices must divide config.classifier.batch=\d+ \(got 3\)"),
        ({"classifier__optimizer": "nestrov"}, "did you mean 'nesterov'"),
        ({"quality__schedule": "cosinus"}, "did you mean 'cosine'"),
    ],
)
def test_words_are_checked_before_anything_is_loaded(fields, words):
    with pytest.raises(UserError, match=words):
        validate(config_of(**fields))


def test_a_share_that_holds_out_no_row_is_refused(tmp_path):
    with pytest.raises(UserError, match="holds out no row .*: a class needs at least two rows"):
        experiment.checked_arms(prepared(tmp_path, data__validation=0.1, cut__profile=str(dict.fromkeys(range(10), 1))))


def test_further_fields_go_to_the_data_set(monkeypatch):
    given = {}

    def load(name, **options):
        given.update(options)
        raise Interrupted("here")

    monkeypatch.setattr(data, "load", load)
    with pytest.raises(Interrupted):
        settings.load_common(config_of())
    assert "options" not in given
    config = base.get_config("fer2013")
    config.data.test, config.data.duplicates = "public", "flag"
    with pytest.raises(Interrupted):
        settings.load_common(config)
    assert given["options"] == {"test": "public", "duplicates": "flag"}


# --- whole trainings --------------------------------------------------------------------------------------------------


def test_twins_are_left_out_of_the_figures(tmp_path):
    rng = np.random.default_rng(0)
    duplicates = rng.random(1000) < 0.3
    base = begun()._replace(data=begun().data._replace(duplicates=duplicates), programs={})
    found = prepared(tmp_path, base)
    model = toys.Linear(10)
    params = jax.vmap(lambda key: model.init(key, jnp.zeros((1, 28, 28, 1))))(found.keys)
    train = found.train
    spent = {"cost": Cost(), "second": Cost(), "epoch_seconds": 1.0, "steps": 1, "unit": "steps", "lanes": 2}
    params_of_arms = jax.tree.map(lambda leaf: leaf[None], params)
    fitted = stage.Fitted(model, params_of_arms, train, selected=np.array([[3, 5]]), **spent)
    rows = evaluation.evaluate(found, fitted, [Arm("none")])[0]
    y = base.data.test.y
    x = jnp.asarray(base.data.test.x / 255.0, jnp.float32)
    logits = np.asarray(jax.vmap(lambda params: model.apply(params, x)[0])(params))
    for lane, row in enumerate(rows):
        right = logits[lane].argmax(axis=1) == y
        assert row["accuracy"] == pytest.approx(right[~duplicates].mean()) and np.sum(row["confusion"]) == (~duplicates).sum()
        assert row["accuracy_with_twins"] == pytest.approx(right.mean())
        recalls = [[right[(y == k) & keep].mean() for k in range(10)] for keep in (~duplicates, y >= 0)]
        assert row["balanced_accuracy"] == pytest.approx(np.mean(recalls[0]), rel=1e-5)
        assert row["balanced_accuracy_with_twins"] == pytest.approx(np.mean(recalls[1]), rel=1e-5)
        assert row["epoch_selected"] == (3, 5)[lane]


SELECTING = {
    "classifier__select": "best", "classifier__patience": 2, "classifier__epochs": 8, "classifier__learning_rate": 0.05,
    "classifier__optimizer": "nesterov", "classifier__ema": 0.9, "classifier__weight_decay": 1e-4, "classifier__clip": 5.0,
    "classifier__schedule": "step", "classifier__warmup": 0.5, "data__validation": 0.3,
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs experiments of a linear network, without their pages; what is compiled once serves the next."""
    kept = jax.config.jax_compilation_cache_dir
    environment.enable_compilation_cache(tmp_path_factory.mktemp("cache"))

    def page(workdir, compiled):
        json_files.write_json(workdir / "results.json", {})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifier_network, "model_of", lambda config, classes, form, shape: toys.Linear(classes))
        patch.setattr(experiment.build, "build", page)
        patch.setattr(experiment.terminal_table, "text", str)
        yield experiment.run
    jax.config.update("jax_compilation_cache_dir", kept)


@pytest.fixture(scope="module")
def selected(run, tmp_path_factory):
    """Two arms of two seeds that differ in the learning rate, everything switched on."""
    workdir = tmp_path_factory.mktemp("selected")
    config = config_of(**SELECTING, grid="{'classifier.learning_rate': (0.05, 0.2)}")
    bases = []
    with pytest.MonkeyPatch.context() as patch:
        real = experiment.load_common
        patch.setattr(experiment, "load_common", lambda *args: bases.append(real(*args)) or bases[-1])
        run(config, workdir)
    return config, workdir, bases[0]


def test_rows_and_curves_tell_the_epoch(selected):
    _, workdir, base = selected
    rows = json_files.read(workdir / "rows.jsonl")
    assert len(rows) == 4 and [key[0] for key in base.programs if isinstance(key, tuple)].count("train") == 1
    for row in rows:
        curves = [line for line in json_files.read(workdir / "metrics.jsonl") if line["method"] == row["method"]]
        curves = [line for line in curves if line["seed"] == row["seed"] and line["val_loss"] is not None]
        figures = [line["val_balanced_accuracy"] for line in curves]
        assert row["epoch_selected"] == 1 + int(np.argmax(figures))
        assert len(figures) == min(8, row["epoch_selected"] + 2)
        assert all(0 <= line["val_accuracy"] <= 1 and line["val_loss"] > 0 and line["loss"] > 0 for line in curves)


def test_a_lane_stops_where_it_stops_alone(run, selected, tmp_path):
    config, workdir, _ = selected
    baseline_job = config.copy_and_resolve_references()
    baseline_job.seeds, baseline_job.grid, baseline_job.classifier.learning_rate = 1, "", 0.2
    run(baseline_job, tmp_path)
    (row,) = json_files.read(tmp_path / "rows.jsonl")
    among = [row for row in json_files.read(workdir / "rows.jsonl") if "0.2" in row["method"] and row["seed"] == 0]
    assert row["epoch_selected"] == among[0]["epoch_selected"]
    assert row["nll"] == pytest.approx(among[0]["nll"], rel=1e-3)


def test_asked_to_end_the_best_epoch_is_kept(run, selected, tmp_path):
    config, workdir, _ = selected
    config = config.copy_and_resolve_references()
    config.chunk_seconds = 0.0
    asked, starts = [], 0

    def stopping():
        asked.append(None)
        return len(asked) % 4 == 0

    while True:
        starts += 1
        try:
            run(config, tmp_path, stopping)
            break
        except Interrupted:
            continue

    def plain(path):
        return [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in json_files.read(path)]

    assert starts > 2
    for name in ("rows.jsonl", "metrics.jsonl"):
        assert plain(tmp_path / name) == plain(workdir / name)


def test_names_of_precision():
    class Gpu:
        platform = "gpu"

    cpu = jax.devices("cpu")[0]
    assert [classifier.dtype_of(name) for name in ("f32", "tf32", "bf16")] == [jnp.float32, jnp.float32, jnp.bfloat16]
    assert [classifier.precision_on(cpu, name) for name in ("f32", "tf32", "bf16")] == ["f32", "f32", "bf16"]
    assert [classifier.precision_on(Gpu(), name) for name in ("f32", "tf32", "bf16")] == ["f32", "tf32", "bf16"]
    assert [classifier.products_of(name) for name in ("f32", "tf32", "bf16")] == ["float32", "tensorfloat32", "float32"]
