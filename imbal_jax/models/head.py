"""A classifier's last layer, by convention the dense layer named 'head': read, replaced, normalised."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from imbal_jax.errors import UserError

NAME = "head"


def read(params: Any) -> tuple[jax.Array, jax.Array]:
    """Kernel [..., D, K] and bias [..., K]."""
    head = params["params"][NAME]
    return head["kernel"], head["bias"]


def replace(params: Any, kernel: jax.Array, bias: jax.Array) -> Any:
    """The parameters with another last layer; the rest is shared, not copied."""
    return {**params, "params": {**params["params"], NAME: {"kernel": kernel, "bias": bias}}}


def check_head(model: Any, shape: tuple[int, ...], name: str, spec: str) -> None:
    """Raise UserError where a network has no such last layer.

    Args:
        model: as in `imbal_jax.models`; only its shapes are evaluated.
        shape: of one example.
        name: the network's, for the message.
        spec: the method that needs the layer, for the message.
    """
    made = jax.eval_shape(lambda key: model.init(key, jnp.zeros((1, *shape), jnp.float32)), jax.random.key(0))
    if set(made["params"].get(NAME, ())) != {"kernel", "bias"}:
        raise UserError(
            f"method {spec!r} works on a last layer, the dense layer named {NAME!r}, and the network {name} "
            "(config.classifier.model) has none: name its last nn.Dense so, or choose another method"
        )


class Cosine(NamedTuple):
    """A classifier whose logits are the cosines of the features and the classes' weights, without a bias.

    Cao et al., "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss", NeurIPS 2019. The last layer keeps
    its parameters' names; its bias stays 0 and is not used.

    Attributes:
        model: the network; its last layer is the dense layer named 'head'.
    """

    model: Any

    def init(self, key: jax.Array, *args: Any, **kwargs: Any) -> Any:
        """The network's variables; the classes' weights are uniform on [-1, 1] and then brought to length 1."""
        made = self.model.init(key, *args, **kwargs)
        kernel, bias = read(made)
        drawn = jax.random.uniform(jax.random.fold_in(key, 1), kernel.shape, minval=-1.0, maxval=1.0)
        return replace(made, unit(drawn, axis=0).astype(kernel.dtype), jnp.zeros_like(bias))

    def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
        """What the network's `apply` gives, with cosines float32 [B, K] as logits."""
        with nn.intercept_methods(_cosines):
            return self.model.apply(variables, *args, **kwargs)


def unit(x: jax.Array, axis: int) -> jax.Array:
    """x divided by its Euclidean length along an axis, float32; 0 where that is 0."""
    x = x.astype(jnp.float32)
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x * x, axis=axis, keepdims=True), 1e-24))


def _cosines(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
    module = context.module
    if module.name != NAME or not isinstance(module, nn.Dense) or context.method_name != "__call__":
        return call(*args, **kwargs)
    return unit(args[0], axis=-1) @ unit(module.variables["params"]["kernel"], axis=0)
