"""The number of lanes that fit into a device's memory, and the chunks of seeds that follow from it."""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from imbal_jax.errors import UserError

COMPILATIONS = 8  # at most, to find how many lanes fit; if the memory grows linearly, three


def bytes_of(compiled: Any) -> int:
    """Memory that a compiled program takes on each of its devices while it runs, in bytes.

    Counted are arguments, outputs, temporaries and code; memory that an output reuses from a donated argument counts once.
    Arrays already on the device, such as the shared rows, count as arguments too. 0 on a backend that does not report it.

    Args:
        compiled: a `jax.stages.Compiled`, as from `over_lanes(...).lowered(...).compile()`.
    """
    sizes = compiled.memory_analysis()
    if sizes is None:
        return 0
    moved = sizes.argument_size_in_bytes + sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return moved + sizes.temp_size_in_bytes + sizes.generated_code_size_in_bytes


def available(device: jax.Device) -> int | None:
    """Free memory of a device in bytes; None where it is unknown.

    On an accelerator, the memory that jax may still allocate. On a CPU, this device's part of `host()`, because the devices
    that jax makes of one CPU share its memory.
    """
    if device.platform == "cpu":
        free = host()
        return None if free is None else free // len(jax.local_devices(backend="cpu"))
    stats = device.memory_stats() or {}
    return max(0, stats["bytes_limit"] - stats.get("bytes_in_use", 0)) if "bytes_limit" in stats else None


def host(root: Path = Path("/")) -> int | None:
    """Free memory of this machine in bytes, or the part that the process's control groups allow; None where it is unknown.

    Args:
        root: the folder that contains proc/ and sys/.
    """
    rooms = [room for folder in _groups(root) if (room := _group_room(folder)) is not None]
    machine = _field(root / "proc/meminfo", "MemAvailable:")
    free = machine * 1024 if machine is not None else _sysconf()
    return min([*rooms, *([free] if free is not None else [])], default=None)


def lanes_that_fit(need: Callable[[int], int], wanted: int, room: int, share: float = 0.8) -> int:
    """The largest number of lanes, up to `wanted`, whose program needs at most `share` of the free memory.

    Each call of `need` compiles, so there are few calls: with `wanted`, with 1, and then with the number at which the line
    through the last two points reaches the limit, until that gives no more lanes. The number returned was compiled and fits.

    Args:
        need: bytes that the program of a number of lanes takes on a device (see `bytes_of`). A compiler that runs out of
            memory counts as a program that does not fit.
        wanted: lanes for each device, at least 1.
        room: free bytes (see `available`).
        share: of the room that may be used; the rest is for memory that the program does not report.

    Raises:
        UserError: a single lane does not fit.
    """
    limit = int(share * room)
    needs: dict[int, float] = {}

    def fits(lanes: int) -> bool:
        needs[lanes] = _need(need, lanes)
        return needs[lanes] <= limit

    if fits(wanted):
        return wanted
    if wanted == 1 or not fits(1):
        raise UserError(
            f"one seed needs {_gib(needs[1])} of memory, and {_gib(limit)} may be used ({share:.0%} of the free memory): lower "
            "the batch or the width (config.gan.batch, config.classifier.batch, config.gan.g_width, config.gan.d_width, "
            "config.classifier.width), or skip this check with config.lanes_per_device=1"
        )
    low, high = 1, wanted
    while high - low > 1 and len(needs) < COMPILATIONS:
        lanes, certain = _where_it_meets(needs, limit, low, high)
        if certain:
            break
        low, high = (lanes, high) if fits(lanes) else (low, lanes)
    return low


def refuse_weights(what: str, size: int, device: jax.Device, advice: str) -> None:
    """Raise UserError where the weights, gradients and optimiser state of one seed exceed a device's free memory.

    Args:
        what: the network, for the message.
        size: bytes.
        device: for the training; if its free memory is unknown, nothing is checked.
        advice: the fields of the config to lower.
    """
    free = available(device)
    if free is not None and size > free:
        raise UserError(f"{what} needs at least {_gib(size)} of memory for one seed, and {_gib(free)} is free: lower {advice}")


def chunks(seeds: Sequence[int], per_chunk: int) -> list[tuple[int, ...]]:
    """The seeds in their order, in the fewest chunks of at most `per_chunk`, whose lengths differ by at most one.

    All chunks are filled up to the length of the first (`over_lanes(..., min_lanes=...)`), so that one compilation serves all;
    with lengths as equal as possible the fewest lanes are copies: 9 seeds by at most 4 are 3, 3, 3 and not 4, 4, 1.

    Args:
        seeds: at least one.
        per_chunk: lanes that run at once: those that fit into a device, times the devices.

    Raises:
        UserError: `per_chunk` is below 1.
    """
    if per_chunk < 1:
        raise UserError(f"config.lanes_per_device must be at least 1 (got chunks of {per_chunk} lanes)")
    count = -(-len(seeds) // per_chunk)
    each, longer = divmod(len(seeds), count)
    ends = [(i + 1) * each + min(i + 1, longer) for i in range(count)]
    return [tuple(seeds[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


def _need(need: Callable[[int], int], lanes: int) -> float:
    try:
        return need(lanes)
    except jax.errors.JaxRuntimeError as problem:
        if "RESOURCE_EXHAUSTED" not in str(problem):
            raise
        return math.inf


def _where_it_meets(needs: dict[int, float], limit: int, low: int, high: int) -> tuple[int, bool]:
    """The number between `low` (fits) and `high` (does not) to try next, and whether by the line `low` is the largest."""
    points = sorted([(n, int(size)) for n, size in needs.items() if size < math.inf][-2:])
    if len(points) < 2 or points[0][1] >= points[1][1]:
        return (low + high) // 2, False
    (a, need_a), (b, need_b) = points
    meets = a + (limit - need_a) * (b - a) // (need_b - need_a)
    return min(max(meets, low + 1), high - 1), meets <= low and low in (a, b)


def _gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB" if size < math.inf else "more than any"


def _groups(root: Path) -> list[Path]:
    """Folders of this process's memory control groups and of their parents; cgroup version 1 or 2."""
    folders = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, kinds, name = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("memory" if kinds else "")
        inner = top / name.lstrip("/")
        folders += [folder for folder in (inner, *inner.parents) if folder == top or top in folder.parents]
    return folders


def _group_room(folder: Path) -> int | None:
    """Bytes left below the group's limit, with its file cache counted as free; None without a limit."""
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        most, now = _text(folder / limit).strip(), _text(folder / used).strip()
        if most.isdigit() and now.isdigit():
            return max(0, int(most) - int(now) + (_field(folder / "memory.stat", cache) or 0))
    return None


def _field(path: Path, name: str) -> int | None:
    """The number after a name in a file of 'name number' lines."""
    words = (line.split() for line in _text(path).splitlines())
    return next((int(parts[1]) for parts in words if len(parts) > 1 and parts[0] == name), None)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _sysconf() -> int | None:
    for pages in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"):
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf(pages)
        except (ValueError, OSError, AttributeError):
            continue
    return None
