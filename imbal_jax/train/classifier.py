"""The classifier: init and step as pure functions of one lane."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from imbal_jax.data import batches
from imbal_jax.errors import UserError, nearest
from imbal_jax.methods.recipe import Recipe, mean_loss, transform
from imbal_jax.runtime.lanes import purpose
from imbal_jax.train import selection

METRICS = ("loss", "accuracy")
PLAIN = Recipe()
PRECISIONS = ("f32", "tf32", "bf16")


class State(NamedTuple):
    """What a lane's training changes.

    Attributes:
        params: the trained collection, {'params': ...}.
        opt: the optimiser's state.
        stats: {'batch_stats': ...}, the running averages of batch statistics, or {} where the model has none.
        average: the moving average of parameters and statistics, as `variables` has them, or None.
        best: the best epoch so far, or None where the last is taken.
    """

    params: Any
    opt: Any
    stats: Any
    average: Any = None
    best: selection.Best | None = None


def variables(state: State) -> Any:
    """All that `model.apply` needs: the parameters and the running averages of batch statistics."""
    return {**state.params, **state.stats}


def averaged(state: State) -> Any:
    """What is evaluated after an epoch: the moving average of the `variables` where there is one."""
    return variables(state) if state.average is None else state.average


def chosen(state: State) -> Any:
    """What is evaluated after the training: that of the best epoch, or of the last."""
    return averaged(state) if state.best is None else state.best.variables


def with_chosen(state: State, changed: Any) -> State:
    """The state of which `chosen` gives these variables."""
    if state.best is not None:
        return state._replace(best=state.best._replace(variables=changed))
    if state.average is not None:
        return state._replace(average=changed)
    stats = {name: part for name, part in changed.items() if name != "params"}
    return state._replace(params={"params": changed["params"]}, stats=stats)


def init(
    key: jax.Array,
    model: Any,
    optimizer: optax.GradientTransformation,
    shape: tuple[int, ...],
    *,
    ema: float = 0.0,
    select: str = "last",
) -> State:
    """Initial weights from the key's purpose 'weights'.

    Args:
        key: the lane's.
        model: a network as `imbal_jax.models` has them.
        optimizer: its state begins here.
        shape: of one example.
        ema: not 0: a moving average is kept.
        select: 'best': the best epoch is kept.
    """
    made = model.init(purpose(key, "weights"), jnp.zeros((1, *shape), jnp.float32))
    params = {"params": made["params"]}
    state = State(params, optimizer.init(params), {name: part for name, part in made.items() if name != "params"})
    average = jax.tree.map(jnp.copy, variables(state)) if ema else None
    return state._replace(average=average, best=selection.start(variables(state)) if select == "best" else None)


def active(state: State, patience: int) -> jax.Array:
    """Whether a lane still trains, bool []; for `train.loop.span_function`."""
    assert state.best is not None, "patience without a best epoch is refused before the training"
    return ~selection.stopped(state.best, patience)


def dtype_of(precision: str) -> Any:
    """The dtype of a training's networks by `config.precision`: float32 for 'f32' and 'tf32', bfloat16 for 'bf16'.

    Raises:
        UserError: another name.
    """
    if precision not in PRECISIONS:
        hint = nearest(precision, PRECISIONS)
        raise UserError(f"config.precision is {precision!r}{hint}; known: {', '.join(PRECISIONS)}")
    return jnp.bfloat16 if precision == "bf16" else jnp.float32


def precision_on(device: jax.Device, precision: str) -> str:
    """The precision that `config.precision` means on a device: 'tf32' is 'f32' on a CPU, which has float32 only."""
    return "f32" if precision == "tf32" and device.platform == "cpu" else precision


def products_of(precision: str) -> str:
    """The precision of products of float32 arrays, in jax's words: for `lanes.over_lanes`."""
    return "tensorfloat32" if precision == "tf32" else "float32"


def epoch_of(
    model: Any,
    make_rule: Callable[[jax.Array, jax.Array], optax.GradientTransformation],
    batch: int,
    make_recipe: Callable[[Mapping[str, jax.Array]], Recipe] = lambda values: PLAIN,
    split: Callable[[batches.Batch], batches.Batch] = lambda batch: batch,
    ema: float = 0.0,
    dtype: Any = jnp.float32,
) -> Callable[..., Any]:
    """The step function of an epoch, for `train.loop.span_function`.

    What differs between the lanes of a sweep is traced, so that all of them, and arms that differ in the training set
    alone, are one program: the counts and the values in `batches.Inputs`, among them 'learning_rate'.

    Args:
        model: a network as `imbal_jax.models` has them.
        make_rule: (learning rate, steps of the whole training) -> an optax transformation.
        batch: rows in a batch.
        make_recipe: values -> the transforms of batches, logits and losses.
        split: divides a batch among the devices of a lane, see `lanes.split_batch`; as it is by default.
        ema: decay of the moving average of the weights, which is shorter at the beginning; 0: none is kept.
        dtype: what the network computes in, forward and backward. The weights that are trained, the optimiser's state, the
            transforms, the loss and the running averages are float32 whatever it is (mixed precision: Micikevicius et al.
            2018; bfloat16 has float32's range, so the loss is not scaled).
    """

    def epoch(number: jax.Array, inputs: batches.Inputs, shared: batches.Shared, total: jax.Array):
        recipe, rule = make_recipe(inputs.values), make_rule(inputs.values["learning_rate"], total)
        size = inputs.counts.sum()
        order = None
        if recipe.sample is None:
            order = batches.shuffled(inputs.key, number, size, room=inputs.pool.rows.shape[0])
        dropout, balance, rows = (purpose(inputs.key, name) for name in ("dropout", "transform", "rows"))
        batch_of = batches_of(recipe, inputs, shared, batch, split)

        def step(state: State, i: jax.Array, position: jax.Array) -> tuple[State, dict[str, jax.Array]]:
            progress = i.astype(jnp.float32) / total
            # Fewer rows than a batch holds come round again, so that batches are of one size in all arms.
            index = None if order is None else order[(position * batch + jnp.arange(batch)) % size]
            x, t = batch_of(index, jax.random.fold_in(rows, i), jax.random.fold_in(balance, i), progress)

            def loss_of(params):
                now = state._replace(params=params)
                z, stats = _apply(model, now, x, jax.random.fold_in(dropout, i), dtype)
                return mean_loss(recipe, z, t, progress), (z, stats)

            (loss, (z, stats)), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
            updates, opt = rule.update(grads, state.opt, state.params)
            right = jnp.mean(jnp.argmax(z, -1) == jnp.argmax(t, -1), dtype=jnp.float32)
            state = state._replace(params=optax.apply_updates(state.params, updates), opt=opt, stats=stats)
            return _with_average(state, i, ema), {"loss": loss, "accuracy": right}

        return step

    return epoch


def batches_of(
    recipe: Recipe,
    inputs: batches.Inputs,
    shared: batches.Shared,
    batch: int,
    split: Callable[[batches.Batch], batches.Batch],
) -> Callable[..., batches.Batch]:
    """How a lane's batches are made.

    Args:
        recipe: the transforms of batches.
        inputs: of the lane.
        shared: the real rows.
        batch: rows in a batch.
        split: see `epoch_of`.

    Returns:
        (positions int32 [batch] of the pool, or None to draw them; the key of that drawing; the key of the transforms;
        progress) -> the batch after the transforms.
    """
    size, classes = inputs.counts.sum(), inputs.counts.shape[0]

    def batch_at(index: jax.Array) -> batches.Batch:
        x, y = batches.pick(inputs.pool, shared, index)
        return split(batches.Batch(x, jax.nn.one_hot(y, classes, dtype=x.dtype)))

    def draw(key: jax.Array, p: jax.Array | None, progress: jax.Array) -> batches.Batch:
        p = recipe.sample(progress) if p is None and recipe.sample is not None else p
        if p is None:
            return batch_at(jax.random.randint(key, (batch,), 0, size))
        return batch_at(batches.by_class(key, p, inputs.counts, batch))

    def batch_of(index: jax.Array | None, rows: jax.Array, distort: jax.Array, progress: jax.Array) -> batches.Batch:
        first = draw(rows, None, progress) if index is None else batch_at(index)
        again = lambda key, p: draw(key, p, progress)  # noqa: E731
        return split(transform(recipe, distort, first, again, progress))

    return batch_of


def _with_average(state: State, i: jax.Array, ema: float) -> State:
    if not ema:
        return state
    decay = jnp.minimum(ema, (1 + i) / (10 + i))  # else the random first weights linger
    return state._replace(average=optax.incremental_update(variables(state), state.average, 1 - decay))


def _apply(model: Any, state: State, x: jax.Array, dropout: jax.Array, dtype: Any) -> tuple[jax.Array, Any]:
    """Logits float32 of a training batch, and the running averages after it."""
    cast = jax.tree.map(lambda leaf: leaf.astype(dtype), state.params)
    rngs = {"dropout": dropout}
    if not state.stats:
        return model.apply(cast, x.astype(dtype), train=True, rngs=rngs)[0].astype(jnp.float32), state.stats
    together = {**cast, **state.stats}  # the averages stay float32: steps as small as theirs are lost in bfloat16
    (z, _), stats = model.apply(together, x.astype(dtype), train=True, rngs=rngs, mutable=list(state.stats))
    kept = jax.tree.map(lambda new, old: new.astype(old.dtype), dict(stats), state.stats)
    return z.astype(jnp.float32), kept
