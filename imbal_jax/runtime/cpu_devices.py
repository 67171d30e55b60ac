"""On a CPU: a device of jax's for each core, so that lanes run side by side instead of in turn on all cores."""

import os

import jax

WASTE = 0.2  # of what is computed; see `worthwhile`
FLAG = "--xla_force_host_platform_device_count"


def use(lanes: int) -> None:
    """Make devices of the cores for so many lanes; before jax looks for its devices.

    On an accelerator it changes nothing, and where the user asked XLA for a number of devices that number stands.
    """
    if FLAG not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", worthwhile(lanes, usable()))


def usable() -> int:
    """The cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def worthwhile(lanes: int, cores: int) -> int:
    """How many devices: as many as there are cores, or the fewest that do the lanes in as many rounds.

    The steps of a small network are too short to divide well: two lanes on a core each are done sooner than one after the
    other on both cores. Those of a large one divide, so where much of the work would be copies that fill the last round
    (`WASTE`), the devices are so few that the lanes come out even: three lanes on two cores are worked on in turn. Measured
    there: the published digit classifier takes 0.65 of the time, a DCGAN at 128x128 about half, a small network 1.06.
    """
    if lanes < 1:  # which is refused elsewhere
        return 1
    rounds = max(1, -(-lanes // cores))
    many = -(-lanes // rounds)
    if rounds * many - lanes > WASTE * rounds * many:
        return max(fewer for fewer in range(1, many) if lanes % fewer == 0)
    return max(1, many)
