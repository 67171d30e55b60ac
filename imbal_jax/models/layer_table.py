"""A network layer by layer, as flax tabulates it."""

from typing import Any

import flax.linen as nn
import jax

WIDTH = 128  # characters


def of(net: nn.Module, *given: Any, coloured: bool = False) -> str:
    """The shapes and parameters of every layer of a network for these inputs, as text.

    Args:
        net: only its shapes are evaluated.
        given: what its call takes.
        coloured: whether to use a terminal's colours.
    """
    console = {"width": WIDTH, "force_terminal": coloured, "no_color": not coloured}
    table = nn.tabulate(net, jax.random.key(0), console_kwargs=console, column_kwargs={"overflow": "fold"})(*given)
    return "\n".join(line.rstrip() for line in table.strip("\n").splitlines())
