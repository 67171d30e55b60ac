"""What the library expects of a network, checked before any training; docs/extending.md describes it."""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from absl import logging

from imbal_jax import extensions
from imbal_jax.errors import UserError

FLOAT = jnp.float32
PLAIN = (nn.Conv, nn.ConvTranspose)
BATCH = 2


def make_network(network: Any, owner: str, **options: Any) -> Any:
    """The network with these options, as 'classes' and 'width'.

    Args:
        network: a linen module's class.
        owner: the config field and its value, for messages.
        options: the library's.

    Raises:
        UserError: the class lacks one of them.
    """
    return extensions.call(network, owner, **options)


def check_classifier(model: Any, owner: str, shape: Sequence[int], classes: int) -> None:
    """Check that a classifier returns logits [B, K] and features [B, D], in training and in evaluation.

    Args:
        model: only its shapes are evaluated.
        owner: the config field and its value, for messages.
        shape: of one example.
        classes: K.

    Raises:
        UserError: it fails, or returns something else.
    """
    for train in (False, True):
        what = f"{owner}: Model(x [B, ...], train={train})"
        found = extensions.shapes(partial(_outputs, model, train), what, jax.ShapeDtypeStruct((BATCH, *shape), FLOAT))
        pair = isinstance(found, tuple) and len(found) == 2 and all(hasattr(part, "shape") for part in found)
        if not pair or found[0].shape != (BATCH, classes) or len(found[1].shape) != 2 or found[1].shape[0] != BATCH:
            raise UserError(
                f"{what} must return logits [B, {classes}] and features [B, D] (got {_shown(found)} for B={BATCH}); "
                "see docs/extending.md"
            )


def check_pair(generator: Any, discriminator: Any, owner: str, latent: int, classes: int, shape: Sequence[int]) -> None:
    """Check that a GAN's networks take and return what the training needs.

    Args:
        generator, discriminator: only their shapes are evaluated.
        owner: the config field and its value, for messages.
        latent: length of the latent vector.
        classes: K.
        shape: of one example.

    Raises:
        UserError: one of them fails, or the discriminator's logits are not [B]. The shape of the generator's rows is not
            looked at.
    """
    z, label, x = (jax.ShapeDtypeStruct((BATCH, *sizes), FLOAT) for sizes in ((latent,), (classes,), shape))
    for train in (False, True):
        what = f"{owner}: Generator(z [B, {latent}], label [B, {classes}], train={train})"
        extensions.shapes(partial(_outputs, generator, train), what, z, label)
        what = f"{owner}: Discriminator(x [B, ...], label [B, {classes}], train={train})"
        found = extensions.shapes(partial(_outputs, discriminator, train), what, x, label)
        if getattr(found, "shape", None) != (BATCH,):
            raise UserError(f"{what} must return logits [B] (got {_shown(found)} for B={BATCH}); see docs/extending.md")


def _outputs(network: Any, train: bool, *inputs: jax.Array) -> Any:
    variables = network.init(jax.random.key(0), *inputs)
    if not train:
        return network.apply(variables, *inputs)
    rngs = {"dropout": jax.random.key(1)}
    averages = [name for name in variables if name != "params"] if isinstance(variables, dict) else []
    if not averages:
        return network.apply(variables, *inputs, train=True, rngs=rngs)
    return network.apply(variables, *inputs, train=True, rngs=rngs, mutable=averages)[0]


def _shown(found: Any) -> str:
    shapes = [str(list(leaf.shape)) for leaf in jax.tree.leaves(found)]
    return ", ".join(shapes) or "nothing"


def plain_convolutions(network: Any, *inputs: Any) -> tuple[str, ...]:
    """The paths of a network's `flax.linen.Conv` layers; only shapes are evaluated.

    Args:
        network: a linen module.
        inputs: arrays or ShapeDtypeStructs of a batch.
    """
    found: set[str] = set()

    def watch(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        if isinstance(context.module, PLAIN) and context.method_name == "__call__":
            found.add("/".join(context.module.path))
        return call(*args, **kwargs)

    with nn.intercept_methods(watch):
        jax.eval_shape(lambda *inputs: network.init(jax.random.key(0), *inputs), *inputs)
    return tuple(sorted(found))


@cache
def warn_of_plain_convolutions(owner: str, paths: tuple[str, ...]) -> None:
    """Warn, once, that a network with these plain convolutions is slow on a CPU; without paths nothing is said."""
    if paths:
        logging.warning(
            "%s: flax.linen.Conv (%s) takes about ten times as long on a CPU as imbal_jax.models.layers.Conv, which has the "
            "same parameters",
            owner,
            ", ".join(paths),
        )
