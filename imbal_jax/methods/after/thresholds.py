"""Class thresholds: one for each class's probability, chosen on the validation rows."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from imbal_jax.errors import UserError, nearest
from imbal_jax.methods.method import Method, Task, check_range

METRICS = ("balanced_accuracy", "macro_f1")

TRACED = ("largest",)


def make(task: Task, metric: str = "balanced_accuracy", largest: float = 1000.0, grid: int = 61, passes: int = 3) -> Method:
    """Predict the class whose probability is the largest multiple of its threshold.

    The prediction is argmax_k p_k / c_k; the test metrics see log p - log c. The thresholds c start at 1 and are changed
    one class after the other (coordinate ascent), each to the value of a geometric grid that gives the best metric on
    the validation rows; of several best values, to the one closest to 1. Deterministic, and never worse on the
    validation rows than without. With few validation rows of a class its threshold is as uncertain as those few say.

    Args:
        task: the problem.
        metric: 'balanced_accuracy' or 'macro_f1'; the second depends on how frequent the classes are in the validation
            rows, the first does not.
        largest: thresholds lie between 1 / largest and largest.
        grid: number of values tried for each class, odd, so that 1 is among them.
        passes: how often all classes are gone through.

    Raises:
        UserError: an unknown metric or an option outside its range.
    """
    if metric not in METRICS:
        raise UserError(f"thresholds: unknown metric {metric!r}{nearest(metric, METRICS)}; known: {', '.join(METRICS)}")
    check_range("thresholds", "largest", largest, 1, above=True)
    if grid < 3 or grid % 2 == 0:
        raise UserError(f"thresholds: grid must be an odd number of at least 3 (got {grid})")
    check_range("thresholds", "passes", passes, 1)
    values = log_grid(largest, grid)

    def fit(z: jax.Array, y: jax.Array) -> jax.Array:
        return log_thresholds(z, y, metric, values, passes)

    def predict(z: jax.Array, fitted: jax.Array) -> jax.Array:
        return jax.nn.log_softmax(z.astype(jnp.float32)) - fitted[None, :]

    return Method(fit=fit, predict=predict)


def log_grid(largest: jax.Array | float, grid: int) -> np.ndarray | jax.Array:
    """Logarithms from -log(largest) to log(largest), float32 [grid], the middle one exactly 0."""
    half = np.linspace(0.0, 1.0, grid // 2 + 1)[1:]
    steps = np.concatenate([-half[::-1], [0.0], half]).astype(np.float32)
    return (jnp.log(largest) if isinstance(largest, jax.Array) else math.log(largest)) * steps


def log_thresholds(z: jax.Array, y: jax.Array, metric: str, values: np.ndarray | jax.Array, passes: int) -> jax.Array:
    """Logarithms of the best class thresholds found.

    Logarithms, because rows on the edge of a threshold would change sides with another rounding.

    Args:
        z: float [V, K], logits of the validation rows.
        y: int [V], their classes.
        metric: 'balanced_accuracy' or 'macro_f1', over the classes present in y.
        values: float32 [G], the logarithms to choose from, 0 among them.
        passes: how often all classes are gone through.

    Returns:
        float32 [K]; predict argmax_k (log p_k - this_k).
    """
    log_p = jax.nn.log_softmax(z.astype(jnp.float32))
    classes = log_p.shape[1]
    truth = jax.nn.one_hot(y, classes)
    score = _balanced_accuracy if metric == "balanced_accuracy" else _macro_f1
    # The best value comes first among equals if the values are tried in the order of their distance from 0.
    order = jnp.asarray(values)[jnp.argsort(jnp.abs(values), stable=True)]

    def improve(step: jax.Array, c: jax.Array) -> jax.Array:
        k = step % classes
        hits, predicted = _outcomes(log_p, y, truth, c, k, order)
        return c.at[k].set(order[jnp.argmax(score(hits, predicted, truth.sum(axis=0)))])

    return jax.lax.fori_loop(0, passes * classes, improve, jnp.zeros(classes, jnp.float32))


def _outcomes(log_p: jax.Array, y: jax.Array, truth: jax.Array, c: jax.Array, k: jax.Array, order: jax.Array):
    """Hits and predictions of each class, float32 [G, K] both, for each value of class k's threshold."""
    is_class_k = jnp.arange(log_p.shape[1])[None, :] == k
    rivals = jnp.where(is_class_k, -jnp.inf, log_p - c[None, :])
    other, best = jnp.argmax(rivals, axis=1), jnp.max(rivals, axis=1)
    scores = jnp.take(log_p, k, axis=1)[None, :] - order[:, None]
    # Like argmax: of two equal ones the first class wins.
    wins = (scores > best[None, :]) | ((scores == best[None, :]) & (k < other)[None, :])
    lost = (~wins).astype(jnp.float32)
    wins = wins.astype(jnp.float32)
    matmul = partial(jnp.matmul, precision="highest")  # counts
    predicted = matmul(lost, jax.nn.one_hot(other, log_p.shape[1])) + wins.sum(axis=1, keepdims=True) * is_class_k
    hits = matmul(lost, truth * (other == y)[:, None]) + matmul(wins, (y == k).astype(jnp.float32))[:, None] * is_class_k
    return hits, predicted


def _balanced_accuracy(hits: jax.Array, predicted: jax.Array, actual: jax.Array) -> jax.Array:
    return _mean_present(hits / jnp.maximum(actual, 1.0)[None, :], actual)


def _macro_f1(hits: jax.Array, predicted: jax.Array, actual: jax.Array) -> jax.Array:
    return _mean_present(2.0 * hits / jnp.maximum(actual[None, :] + predicted, 1.0), actual)


def _mean_present(values: jax.Array, actual: jax.Array) -> jax.Array:
    """Mean over the classes with rows: [G, K], [K] -> [G]."""
    present = (actual > 0).astype(jnp.float32)
    return (values * present[None, :]).sum(axis=1) / jnp.maximum(present.sum(), 1.0)
