"""A spec's methods put together: what one training step does, and what is done after the training."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from imbal_jax.data.batches import Batch
from imbal_jax.errors import UserError
from imbal_jax.methods.method import Draw, Head, Method, Stage

ALONE = {  # hooks that only one word of a spec may have, and what two of them would do
    "sample": "both choose how often each class is drawn",
    "logits": "both change the logits that the loss sees",
    "loss": "both are the loss",
}


class Recipe(NamedTuple):
    """The hooks of several methods in their order; see `Method`. Empty: plain training."""

    sample: Callable[[jax.Array], jax.Array] | None = None
    transforms: tuple[Callable[[jax.Array, Batch, Draw, jax.Array], Batch], ...] = ()
    logits: Callable[[jax.Array, jax.Array, jax.Array], jax.Array] | None = None
    weights: tuple[Callable[[jax.Array], jax.Array], ...] = ()
    divisors: tuple[Callable[[jax.Array], jax.Array], ...] = ()  # those weights whose sum the loss is divided by
    loss: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    finetunes: tuple[Callable[[jax.Array, Head, Stage], Head], ...] = ()
    corrections: tuple[Method, ...] = ()  # those with `predict`
    cosine: bool = False  # whether the last layer gives cosines

    @property
    def needs_validation(self) -> bool:
        """Whether a correction is fitted on validation rows."""
        return any(method.fit is not None for method in self.corrections)


def compose(texts: list[str], methods: list[Method]) -> Recipe:
    """Put methods together.

    Args:
        texts: what each is called in the spec, for messages.
        methods: in the spec's order.

    Raises:
        UserError: two of them have a hook that excludes another of its kind.
    """
    for hook, why in ALONE.items():
        having = [text for text, method in zip(texts, methods, strict=True) if getattr(method, hook) is not None]
        if len(having) > 1:
            raise UserError(f"{having[0]} and {having[1]} do not go together: {why}; leave one out")

    pairs = list(zip(texts, methods, strict=True))
    if cosines := [text for text, method in pairs if method.cosine]:
        for text, method in pairs:
            if method.finetune is not None:
                raise UserError(
                    f"{cosines[0]} and {text} do not go together: the last layer of the first gives cosines, the second "
                    "changes a linear one; leave one out, or give ldam the option cosine=False"
                )

    def the(hook: str) -> Any:
        return next((getattr(method, hook) for method in methods if getattr(method, hook) is not None), None)

    def every(hook: str) -> tuple[Any, ...]:
        return tuple(getattr(method, hook) for method in methods if getattr(method, hook) is not None)

    return Recipe(
        sample=the("sample"),
        transforms=every("transform"),
        logits=the("logits"),
        weights=every("weight"),
        divisors=tuple(method.weight for method in methods if method.weight is not None and method.weighted_mean),
        loss=the("loss"),
        finetunes=every("finetune"),
        corrections=tuple(method for method in methods if method.predict is not None),
        cosine=any(method.cosine for method in methods),
    )


def transform(recipe: Recipe, key: jax.Array, batch: Batch, draw: Draw, progress: jax.Array) -> Batch:
    """Apply the transforms in order; what one draws as a second batch has been through those before it."""
    for i, one in enumerate(recipe.transforms):
        earlier = recipe._replace(transforms=recipe.transforms[:i])

        def again(second: jax.Array, p: jax.Array | None, earlier: Recipe = earlier) -> Batch:
            rows, distort = jax.random.split(second)
            return transform(earlier, distort, draw(rows, p), draw, progress)

        batch = one(jax.random.fold_in(key, i), batch, again, progress)
    return batch


def losses(recipe: Recipe, z: jax.Array, t: jax.Array, progress: jax.Array) -> jax.Array:
    """The loss of each example, float32 [B], from logits z [B, K] and soft targets t [B, K].

    Class weights multiply the targets: of a mixed example each class's part of the loss has its own class's weight.
    """
    z = z.astype(jnp.float32)
    adjusted = z if recipe.logits is None else recipe.logits(z, t, progress)
    for weight in recipe.weights:
        t = t * weight(progress)[None, :]
    return (recipe.loss or optax.softmax_cross_entropy)(adjusted, t)


def mean_loss(recipe: Recipe, z: jax.Array, t: jax.Array, progress: jax.Array) -> jax.Array:
    """The loss of a batch, float32 []: the mean of `losses`, or their weighted mean (see `Method.weighted_mean`)."""
    each = losses(recipe, z, t, progress)
    if not recipe.divisors:
        return each.mean()
    for weight in recipe.divisors:
        t = t * weight(progress)[None, :]
    return each.sum() / t.astype(jnp.float32).sum()


def finetuned(recipe: Recipe, key: jax.Array, head: Head, stage: Stage) -> Head:
    """One lane's last layer after the second stages."""
    for i, finetune in enumerate(recipe.finetunes):
        head = finetune(jax.random.fold_in(key, i), head, stage)
    return head


def corrected(recipe: Recipe, z: jax.Array, validation: tuple[jax.Array, jax.Array] | None) -> jax.Array:
    """One lane's logits [N, K] after the post-hoc corrections; `validation` holds its logits [V, K] and labels [V]."""
    for method in recipe.corrections:
        assert method.predict is not None
        fitted = None
        if method.fit is not None:
            assert validation is not None, "refused before the training"
            fitted = method.fit(*validation)
        z = method.predict(z, fitted)
        if validation is not None:
            validation = (method.predict(validation[0], fitted), validation[1])
    return z
