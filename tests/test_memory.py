"""How many lanes fit: what programs need, what a machine has, and the chunks of lanes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax.errors import UserError
from imbal_jax.runtime import lanes, memory

WIDE = 1024
FLOAT = 4  # bytes


def wide(lane, shared):
    """A lane with 16 bytes of state, and a temporary of 4 MB that cannot be fused away (each row is sorted)."""
    state, _ = lane
    return state + jnp.sort(jnp.sin(state[0] * shared[:, None] * shared[None, :]), axis=1)[-4:, 0]


def need(many, inner, **options):
    run = lanes.over_lanes(wide, inner=inner, **options)
    shared = jax.ShapeDtypeStruct((WIDE,), jnp.float32)
    return memory.bytes_of(
        run.lowered(*lanes.shapes((np.zeros((1, 4), np.float32), np.zeros(1, np.float32)), many), shared).compile()
    )


ONE = {"devices": jax.local_devices()[:1]}


def test_lanes_side_by_side_need_a_temporary_each_and_in_a_loop_one_for_all():
    temporary = WIDE * WIDE * FLOAT
    side_by_side = [need(n, "vmap", **ONE) for n in (1, 4)]
    one_by_one = [need(n, "loop", **ONE) for n in (2, 4)]
    assert side_by_side[1] - side_by_side[0] >= 3 * temporary
    assert temporary <= one_by_one[0] < 4 * temporary
    assert one_by_one[1] - one_by_one[0] < temporary / 100


def test_a_program_is_measured_on_each_device():
    four = need(4, "vmap", devices=jax.local_devices()[:4])
    assert four == pytest.approx(need(1, "vmap", **ONE), rel=0.1)


def test_arguments_and_donated_outputs_count_once():
    double = jax.jit(lambda x: 2 * x, donate_argnums=0)
    compiled = double.lower(jax.ShapeDtypeStruct((WIDE, WIDE), jnp.float32)).compile()
    assert WIDE * WIDE * FLOAT <= memory.bytes_of(compiled) < 1.1 * WIDE * WIDE * FLOAT


def test_lanes_that_fit_a_real_program():
    one, eight = need(1, "vmap", **ONE), need(8, "vmap", **ONE)
    each = (eight - one) / 7
    asked = []

    def counted(many):
        asked.append(many)
        return need(many, "vmap", **ONE)

    assert memory.lanes_that_fit(counted, 8, room=int(one + 4.5 * each), share=1.0) == 5
    assert asked == [8, 1, 5]


NEEDS = {  # bytes of n lanes
    "affine": lambda n: 1000 + 77 * n,
    "a jump after one lane": lambda n: 500 if n == 1 else 3000 + 100 * n,
    "slower and slower": lambda n: int(1000 * n**0.5),
    "faster and faster": lambda n: 100 + n**2,
    "steps": lambda n: 1000 * -(-n // 8),
}


@pytest.mark.parametrize("name", NEEDS)
@pytest.mark.parametrize("wanted", [1, 2, 7, 64, 500])
def test_the_most_lanes_are_found_with_few_compilations(name, wanted):
    size, room, calls = NEEDS[name], 7000, []

    def counted(many):
        calls.append(many)
        return size(many)

    found = memory.lanes_that_fit(counted, wanted, room)
    best = max(n for n in range(1, wanted + 1) if size(n) <= 0.8 * room)
    assert found == best if name in ("affine", "a jump after one lane") else 0.6 * best <= found <= best
    assert found in calls and len(calls) == len(set(calls)) <= memory.COMPILATIONS
    assert name != "affine" or len(calls) <= 3


def test_a_compiler_out_of_memory_is_a_program_that_does_not_fit():
    def refused(many):
        if many > 10:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: ran out of memory in memory space hbm")
        return 100 * many

    assert memory.lanes_that_fit(refused, 64, room=800, share=1.0) == 8


def test_other_failures_of_the_compiler_are_not_hidden():
    def broken(many):
        raise jax.errors.JaxRuntimeError("INTERNAL: no such instruction")

    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        memory.lanes_that_fit(broken, 4, room=1)


def test_one_lane_too_many_is_the_users_to_mend():
    with pytest.raises(UserError, match=r"one seed needs 3.00 GiB .* 1.60 GiB may be used .*config.lanes_per_device"):
        memory.lanes_that_fit(lambda n: n * 3 * 2**30, 4, room=2 * 2**30)


@pytest.mark.parametrize(
    ("many", "per_chunk", "lengths"),
    [(9, 4, [3, 3, 3]), (10, 4, [4, 3, 3]), (8, 4, [4, 4]), (3, 8, [3]), (5, 1, [1] * 5), (101, 100, [51, 50])],
)
def test_chunks_are_as_equal_as_can_be(many, per_chunk, lengths):
    seeds = range(7, 7 + many)
    parts = memory.chunks(seeds, per_chunk)
    assert [len(part) for part in parts] == lengths
    assert [seed for part in parts for seed in part] == list(seeds)


def test_no_chunk_without_a_lane():
    with pytest.raises(UserError, match="config.lanes_per_device"):
        memory.chunks([1, 2], 0)


def test_what_this_machine_has():
    free = memory.host()
    assert free is not None and free > 2**20
    assert 0 < memory.available(jax.local_devices()[0]) <= free


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


MEMINFO = {"proc/meminfo": "MemTotal:  9000 kB\nMemAvailable:  8000 kB\n"}


@pytest.mark.parametrize(
    ("files", "room"),
    [
        ({}, 8000 * 1024),
        ({"proc/self/cgroup": "0::/\n"}, 8000 * 1024),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/memory.max": "5000\n",
                "sys/fs/cgroup/a/memory.current": "3000\n",
                "sys/fs/cgroup/a/memory.stat": "anon 1\ninactive_file 500\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/b/memory.current": "3000\n",
            },
            2500,
        ),
        (
            {
                "proc/self/cgroup": "5:cpu:/x\n4:memory:/elsewhere\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "4000\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000\n",
            },
            3000,
        ),
        (
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/memory.max": str(2**60),
                "sys/fs/cgroup/memory.current": "1",
            },
            8000 * 1024,
        ),
    ],
    ids=["no groups", "no limit", "a limit above", "version 1", "a limit above the machine"],
)
def test_the_lower_of_the_machine_and_its_control_groups(tmp_path, files, room):
    write(tmp_path, MEMINFO | files)
    assert memory.host(tmp_path) == room


def test_without_proc_the_system_is_asked(tmp_path):
    assert memory.host(tmp_path) > 2**20


class Accelerator:
    """As much of a device as is asked."""

    platform = "gpu"

    def __init__(self, stats):
        self.memory_stats = lambda: stats


@pytest.mark.parametrize(
    ("stats", "room"), [({"bytes_limit": 100, "bytes_in_use": 30}, 70), ({"bytes_limit": 100}, 100), ({}, None), (None, None)]
)
def test_what_an_accelerator_has(stats, room):
    assert memory.available(Accelerator(stats)) == room
