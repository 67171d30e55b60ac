"""Several processes, one experiment: who does which part, and how their rows come together.

Lanes never communicate, so neither do the processes: each trains seeds of its own on its own devices. They meet only to
tell each other their rows.
"""

import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from imbal_jax.errors import UserError

PATIENCE = 30 * 24 * 3600  # seconds that a process waits for the others: their chunks may be long


def start(coordinator: str | None = None, count: int | None = None, index: int | None = None) -> None:
    """Join the other processes; before anything is computed. On a TPU VM and under SLURM nothing need be given.

    Args:
        coordinator: HOST:PORT of process 0.
        count: how many processes there are.
        index: which of them this is, from 0.

    Raises:
        UserError: they did not find each other.
    """
    try:
        jax.distributed.initialize(coordinator, count, index)
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"--distributed: the processes did not come together ({reason}); start the same command on every host, and give "
            "--coordinator=HOST:PORT --processes=N --process=I where the cluster does not tell them"
        ) from error


def share(items: Sequence[Any]) -> list[Any]:
    """This process's part of `items`: each process takes every so-manieth."""
    return list(items[jax.process_index() :: jax.process_count()])


def gather(name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of all processes, in the order of the processes; every process calls it and gets them all.

    Args:
        name: of this meeting; a name is used once.
        rows: this process's, of JSON values.
    """
    if jax.process_count() == 1:
        return rows
    from jax.experimental import multihost_utils
    from orbax.checkpoint import multihost

    # The collectives of a CPU give up after half a minute, a barrier waits as long as it is told.
    everyone = set(range(jax.process_count()))
    multihost.sync_global_processes(f"imbal_jax:{name}", timeout=PATIENCE, processes=everyone)
    text = np.frombuffer(json.dumps(rows).encode(), np.uint8)
    sizes = np.asarray(multihost_utils.process_allgather(np.asarray(text.size, np.int32)))
    padded = np.zeros(int(sizes.max()), np.uint8)
    padded[: text.size] = text
    texts = np.asarray(multihost_utils.process_allgather(padded))
    return [row for own, size in zip(texts, sizes, strict=True) for row in json.loads(own[:size].tobytes())]
