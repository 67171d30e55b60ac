"""How much memory a training of so many lanes takes, by the compiled program's own account."""

from typing import Any

import jax
import jax.numpy as jnp

from imbal_jax.runtime import memory
from imbal_jax.runtime.lanes import shapes as lane_shapes
from imbal_jax.stages.context import Chunk
from imbal_jax.train import loop


def bytes_for(chunk: Chunk, advance: Any, init: Any, inputs: Any, metrics: tuple[str, ...], lanes: int) -> int:
    """Bytes on each device with `lanes` of them; compiles, runs nothing.

    Args:
        chunk: of one seed.
        advance: `over_lanes(loop.span_function(...))`.
        init: key -> a lane's initial state.
        inputs: what one lane reads, leaves [1, ...].
        metrics: names of the step's metrics.
        lanes: on each device.
    """
    start = lambda key: loop.Carry(init(key), {name: jnp.zeros(()) for name in metrics})  # noqa: E731
    one = jax.eval_shape(jax.vmap(start), chunk.keys)
    carry, inputs = lane_shapes((one, inputs), lanes * advance.slots)
    return memory.bytes_of(advance.lowered(carry, inputs, (chunk.shared, loop.span(0, 1, 1, 1))).compile())
