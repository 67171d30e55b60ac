"""The statistics that batch normalisation is evaluated with, recomputed for fixed weights.

Running averages, kept during the training, are of weights that have changed since, and begin at mean 0 and variance 1: after
few steps they are neither what the network was trained with nor what it would give now. Instead, the moments of several
batches are put together ("Precise BN": Wu, Johnson, "Rethinking 'Batch' in BatchNorm", arXiv:2105.07576, 2021, section 3). As
there, each layer sees what the batches' own moments made in the layers before it, and the variance is that of all rows
together: the mean of the batches' variances, plus the variance of their means.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from imbal_jax.models.layers import BatchNorm, Dropout, StochasticDepth

NORMS = (BatchNorm, nn.BatchNorm)
NOISE = (Dropout, StochasticDepth, nn.Dropout)  # left out in evaluation, and so here


class Moments(NamedTuple):
    """Of the inputs of one batch normalisation: mean and variance (divided by the count), float32 [C]."""

    mean: jax.Array
    variance: jax.Array


Found = dict[str, Moments]  # by the layer's path in the network, such as 'block0/expand_norm'


def of_batch(net: nn.Module, variables: Any, *inputs: jax.Array) -> tuple[Any, Found]:
    """A network's output for a batch, with the batch's own moments and without dropout, and those moments.

    Args:
        net: is called as `net(*inputs, train=True)`.
        variables: 'params' and 'batch_stats'; the averages in these have no influence.
        inputs: of one batch.
    """
    found: Found = {}
    with _watched(found):
        # Some networks request a key themselves, even if it is not used.
        out, _ = net.apply(variables, *inputs, train=True, rngs={"dropout": jax.random.key(0)}, mutable=["batch_stats"])
    return out, found


def layers(net: nn.Module, *inputs: Any) -> tuple[str, ...]:
    """The paths of a network's batch normalisations; only shapes are evaluated.

    Args:
        net: as for `of_batch`.
        inputs: arrays or ShapeDtypeStructs of a batch.
    """

    init = lambda *inputs: net.init(jax.random.key(0), *inputs)  # noqa: E731
    variables = jax.eval_shape(init, *inputs)
    if "batch_stats" not in variables:
        return ()
    return tuple(sorted(jax.eval_shape(lambda variables, *inputs: of_batch(net, variables, *inputs)[1], variables, *inputs)))


def population(of: Callable[[jax.Array], Found], batches: jax.Array | int) -> Found:
    """The moments of all rows of several batches of one size.

    Args:
        of: number of a batch, int32 [] -> its moments.
        batches: how many, at least 1; may be traced.
    """

    def add(i: jax.Array, so_far: Found) -> Found:
        return {path: joined(so_far[path], new, 1 / (i + 1)) for path, new in of(i).items()}

    none = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(of, jnp.zeros((), jnp.int32)))
    return jax.lax.fori_loop(0, batches, add, none)


def joined(one: Moments, other: Moments, share: jax.Array | float) -> Moments:
    """The moments of two sets of rows together, of which the second is that share: no difference of large numbers is taken."""
    apart = other.mean - one.mean
    variance = one.variance + share * (other.variance - one.variance) + share * (1 - share) * apart**2
    return Moments(one.mean + share * apart, variance)


def replaced(variables: Mapping[str, Any], found: Found) -> dict[str, Any]:
    """The variables with these moments for the running averages; everything else in them (spectral norms, say) is unchanged."""
    if not found:
        return dict(variables)
    stats = jax.tree.map(lambda leaf: leaf, variables["batch_stats"])  # dictionaries of its own
    for path, moments in found.items():
        layer = stats
        for name in path.split("/"):
            layer = layer[name]
        layer.update(mean=moments.mean, var=moments.variance)
    return {**variables, "batch_stats": stats}


@contextmanager
def _watched(moments: Found) -> Iterator[None]:
    """Networks called inside have no dropout, and their normalisations' moments go to `moments`."""

    calls: Counter[str] = Counter()

    def around(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        layer = context.module
        if context.method_name != "__call__" or not isinstance(layer, NORMS + NOISE):
            return call(*args, **kwargs)
        if isinstance(layer, NOISE):
            return args[0]
        for name in ("mean", "var"):  # from 0, or a large old average would cost the new one its digits
            layer.put_variable("batch_stats", name, jnp.zeros(args[0].shape[-1:], jnp.float32))
        out, path = call(*args, **kwargs), "/".join(layer.path)
        mean, variance = (jnp.asarray(layer.get_variable("batch_stats", name)) for name in ("mean", "var"))
        new = Moments(mean / (1 - layer.momentum), variance / (1 - layer.momentum))
        calls[path] += 1
        moments[path] = joined(moments[path], new, 1 / calls[path]) if path in moments else new
        return out

    with nn.intercept_methods(around):
        yield
