"""The memory that a training takes, by its number of lanes, as the compiled program reports it."""

from typing import Any

import jax
import jax.numpy as jnp

from imbal_jax.runtime import memory
from imbal_jax.runtime.lanes import shapes as lane_shapes
from imbal_jax.stages.context import Chunk
from imbal_jax.train import loop


def bytes_for(chunk: Chunk, advance: Any, init: Any, inputs: Any, metrics: tuple[str, ...], lanes: int) -> int:
    """Bytes on each device; compiles the program without running it.

    Args:
        chunk: of one seed.
        advance: `over_lanes(loop.span_function(...))`.
        init: key -> a lane's initial state.
        inputs: of one lane, leaves [1, ...].
        metrics: names of the step's metrics.
        lanes: number of lanes on each device.
    """
    start = lambda key: loop.Carry(init(key), {name: jnp.zeros(()) for name in metrics})  # noqa: E731
    lane_carry = jax.eval_shape(jax.vmap(start), chunk.keys)
    carry, inputs = lane_shapes((lane_carry, inputs), lanes * advance.slots)
    return memory.bytes_of(advance.lowered(carry, inputs, (chunk.shared, loop.span(0, 1, 1, 1))).compile())
