"""A classifier's last layer, by convention the dense layer named 'head': read and replaced in its parameters."""

from typing import Any

import jax


def read(params: Any) -> tuple[jax.Array, jax.Array]:
    """Kernel [..., D, K] and bias [..., K]."""
    head = params["params"]["head"]
    return head["kernel"], head["bias"]


def replace(params: Any, kernel: jax.Array, bias: jax.Array) -> Any:
    """The parameters with another last layer; the rest is shared, not copied."""
    return {**params, "params": {**params["params"], "head": {"kernel": kernel, "bias": bias}}}
