"""How long arms are trained: the same number of steps, unless epochs of their own rows are asked for."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from imbal_jax.data import batches
from imbal_jax.errors import UserError
from imbal_jax.runtime import lanes
from imbal_jax.train import length, loop

OPTIONS = {"batch": 32, "epochs": 3, "epochs_of": "real", "steps": 0, "warmup": 0.0}


@pytest.mark.parametrize("own", [32 * 7, 1000, 5000])
def test_arms_take_as_many_steps_whatever_they_make_of_the_rows(own):
    found = length.of(options(), real=1000, own=own)
    assert (found.steps, found.per_epoch, found.batch, found.unit) == (3 * 31, 31, 32, "epochs of the real rows")
    assert found.per_pass == own // 32 and found.epochs == 3


def test_steps_are_given_in_so_many_words():
    found = length.of(options(steps=100), real=1000, own=224)
    assert (found.steps, found.per_epoch, found.per_pass, found.unit) == (100, 31, 7, "steps")
    assert found.epochs == pytest.approx(100 / 31)


def test_epochs_of_the_arms_own_rows_remain_an_option():
    found = length.of(options(epochs_of="own"), real=1000, own=224)
    assert (found.steps, found.per_epoch, found.per_pass, found.unit) == (21, 7, 7, "epochs of the arm's own rows")


def test_a_training_set_smaller_than_a_batch_fills_it():
    found = length.of(options(), real=1000, own=10)
    assert (found.batch, found.per_pass, found.steps) == (32, 1, 93)


def test_a_warm_up_as_long_as_the_training_is_refused():
    with pytest.raises(UserError, match=r"training of 2 epochs \(20 steps\)"):
        length.of(options(steps=20, warmup=2.0), real=320, own=320)


def options(**more):
    return ConfigDict({**OPTIONS, **more})


def seen_rows(number, inputs, data, total):
    """A pass of a training that counts how often it saw each of ten rows, and keeps the last step's number and pass."""
    order = batches.shuffled(jax.random.key(1), number, 10)

    def step(state, i, position):
        counts, _ = state
        index = order[(position * 3 + jnp.arange(3)) % 10]
        return (counts.at[index].add(1), jnp.stack([i, number])), {"loss": i.astype(jnp.float32)}

    return step


def carry():
    return loop.Carry((jnp.zeros(10, jnp.int32), jnp.zeros(2, jnp.int32)), {"loss": jnp.zeros(())})


def test_every_pass_shuffles_anew_wherever_the_run_is_cut():
    run = jax.jit(loop.span_function(seen_rows))
    whole = run((carry(), ()), ((), loop.span(0, 10, 3, 10)))
    part = carry()
    for start, stop in ((0, 2), (2, 3), (3, 8), (8, 10)):
        part = run((part, ()), ((), loop.span(start, stop, 3, 10)))
    jax.tree.map(np.testing.assert_array_equal, whole, part)
    assert whole.state[1].tolist() == [9, 3] and float(whole.sums["loss"]) == sum(range(10))
    three = run((carry(), ()), ((), loop.span(0, 9, 3, 10))).state[0]
    assert int(three.sum()) == 27 and int(three.max()) == 3  # nine of ten rows a pass, none of them twice


@pytest.mark.parametrize("inner", ["loop", "vmap"])
def test_lanes_take_their_own_steps_in_a_pass_wherever_the_run_is_cut(inner):
    def pass_of(number, own, data, total):
        return lambda state, i, position: (state + 1, {"loss": i.astype(jnp.float32)})

    run = lanes.over_lanes(loop.span_function(pass_of, steps_of=lambda own: own), devices=jax.devices()[:1], inner=inner)
    own = jnp.asarray([1, 4, 7], jnp.int32)
    start = lambda: loop.Carry(jnp.zeros(3, jnp.int32), {"loss": jnp.zeros(3)})  # noqa: E731  (it is donated)
    state, cuts = start(), [0, 3, 5, 7, 13, 14]
    for first, last in zip(cuts[:-1], cuts[1:], strict=True):
        state = run(state, own, ((), loop.span(first, last, 7, 14)))
    assert state.state.tolist() == [2, 8, 14]
    means = np.asarray(run(start(), own, ((), loop.span(0, 7, 7, 14))).sums["loss"]) / 7
    np.testing.assert_allclose(means, [0.0, 1.5, 3.0], rtol=1e-6)


def test_the_last_epoch_may_be_shorter(tmp_path):
    told = []

    def pass_of(number, key, data, total):
        return lambda state, i, position: (state + 1.0, {"loss": state})

    plan = loop.Plan("test", tmp_path, 99, 4, chunk_seconds=10.0, save_seconds=30.0, steps=10, steps_per_pass=3)
    advance = lanes.over_lanes(loop.span_function(pass_of), devices=jax.devices()[:1], inner="loop")
    go = partial(loop.train, plan, advance, metric_names=("loss",), on_resume=lambda epochs: told.append(epochs))
    start = lambda: (jnp.zeros(1), lanes.lane_keys(0, [0]), jnp.zeros(()))  # noqa: E731
    trained = go(*start(), on_epoch=lambda epoch, means, state: told.append((epoch, float(means["loss"][0]))))
    assert told == [0, (1, 1.5), (2, 5.5), (3, 8.5)]
    assert (trained.steps, trained.epochs, float(trained.state[0])) == (10, 3, 10.0)
    again = go(*start(), on_epoch=lambda epoch, means, state: told.append(epoch))
    assert told[4:] == [3] and float(again.state[0]) == 10.0
