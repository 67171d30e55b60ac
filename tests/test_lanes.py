"""Lanes: a seed's result does not depend on its neighbours, the devices, or how lanes are spread."""

import ast
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax.errors import UserError
from imbal_jax.runtime import lanes


def walk(lane, shared):
    """A few random steps: state and key of a lane, a table that all lanes read."""
    state, key = lane
    table, steps = shared

    def body(i, x):
        return x * 0.9 + table[jax.random.randint(jax.random.fold_in(key, i), (), 0, table.shape[0])]

    return jax.lax.fori_loop(0, steps, body, state)


def result(seeds, **options):
    keys = lanes.lane_keys(7, seeds)
    devices = lanes.devices_for(len(seeds))
    shared = lanes.replicate((jnp.arange(5.0), jnp.asarray(4)), devices)
    run = lanes.over_lanes(walk, devices=devices, **options)
    return np.asarray(run(jnp.zeros(len(seeds)), keys, shared))


@pytest.mark.parametrize("parallel", ["shard_map", "pmap"])
@pytest.mark.parametrize("inner", ["vmap", "loop"])
def test_a_lane_is_the_same_alone_and_among_others(parallel, inner):
    among = result([0, 1, 2, 3, 4, 5], parallel=parallel, inner=inner)  # on 4 devices: two lanes are filled up
    for seed in (0, 3, 5):
        np.testing.assert_allclose(result([seed])[0], among[seed], rtol=1e-6)
    np.testing.assert_allclose(result([5, 0], parallel=parallel, inner=inner), among[[5, 0]], rtol=1e-6)


@pytest.mark.parametrize("parallel", ["shard_map", "pmap"])
def test_a_program_lowered_for_shapes_is_the_one_that_is_called(parallel, caplog):
    devices = jax.local_devices()[:4]
    run = lanes.over_lanes(walk, parallel=parallel, devices=devices)
    shared = lanes.replicate((jnp.arange(5.0), jnp.asarray(4)), devices)
    state, keys = jnp.zeros(8), lanes.lane_keys(7, range(8))
    with jax.log_compiles():
        program = run.lowered(*lanes.shapes((state, keys), 8), shared).compile()
        assert "float32[5]" in caplog.text  # the table, which only the whole program takes
        caplog.clear()
        run(state, keys, shared)
    assert program.memory_analysis().argument_size_in_bytes < 200  # of each device: 2 lanes of 12 bytes, the table
    assert "float32[5]" not in caplog.text


def test_chunks_of_different_length_are_one_program():
    devices = jax.local_devices()[:2]
    run = lanes.over_lanes(walk, devices=devices, min_lanes=3)
    shared = lanes.replicate((jnp.arange(5.0), jnp.asarray(4)), devices)
    keys = lanes.lane_keys(7, range(3))
    long, short = (run.lowered(*lanes.shapes((jnp.zeros(3), keys), n), shared).as_text() for n in (3, 2))
    assert long == short
    np.testing.assert_array_equal(run(jnp.zeros(2), keys[:2], shared), run(jnp.zeros(3), keys, shared)[:2])


def test_the_machine_of_the_tests_has_several_devices():
    assert len(jax.local_devices()) > 1
    assert len(lanes.devices_for(1)) == 1


def test_purposes_are_separate_and_stable():
    key = jax.random.key(0)
    data = [jax.random.key_data(lanes.purpose(key, name)).tolist() for name in ("subset", "weights", "order")]
    assert len({tuple(d) for d in data}) == 3
    both = lanes.purposes(lanes.lane_keys(0, [3, 4]), "order")
    alone = lanes.purpose(lanes.lane_keys(0, [4])[0], "order")
    assert jax.random.key_data(both)[1].tolist() == jax.random.key_data(alone).tolist()


def names_of_purposes(path):
    """The names that a source file gives to `purpose` and `purposes`; of an f-string, its beginning."""
    tree = ast.parse(path.read_text())
    loops = {}  # names of a comprehension's variable: ... for name in ("dropout", "rows")
    for node in ast.walk(tree):
        if isinstance(node, ast.comprehension) and isinstance(node.iter, ast.Tuple) and isinstance(node.target, ast.Name):
            loops[node.target.id] = node.iter.elts
    for node in ast.walk(tree):
        called = isinstance(node, ast.Call) and (getattr(node.func, "id", "") or getattr(node.func, "attr", ""))
        if called in ("purpose", "purposes"):
            name = node.args[1]
            for text in loops.get(getattr(name, "id", ""), [name]):
                yield text.values[0].value if isinstance(text, ast.JoinedStr) else text.value


def test_the_table_has_every_purpose_and_no_other():
    package = Path(lanes.__file__).parent.parent
    used = {name for path in package.rglob("*.py") for name in names_of_purposes(path)}
    assert used == set(lanes.PURPOSES) and all(lanes.PURPOSES.values())


def test_no_two_purposes_are_one():
    assert len({zlib.crc32(name.encode()) for name in lanes.PURPOSES}) == len(lanes.PURPOSES)


@pytest.mark.parametrize("bad", [{"parallel": "threads"}, {"inner": "unroll"}])
def test_unknown_ways_are_refused(bad):
    with pytest.raises(UserError, match="must be '"):
        lanes.over_lanes(walk, **bad)


@pytest.mark.parametrize(("precision", "word"), [("float32", "HIGHEST"), ("tensorfloat32", "HIGH")])
@pytest.mark.parametrize("inner", ["vmap", "loop"])
def test_products_have_the_named_precision(precision, word, inner):
    run = lanes.over_lanes(lambda lane, shared: lane[1] @ shared, inner=inner, devices=jax.devices()[:1], precision=precision)
    text = run.lowered((), jnp.ones((2, 3, 3)), jnp.ones((3, 3))).as_text()
    assert text.count("dot_general") == text.count(f"precision = [{word}, {word}]") == 1


def test_what_stands_before_a_barrier_is_computed_once():
    """As text of the compiled program: without the barrier each of the products would have a sine of its own."""

    def several(lane, shared):
        (x,), _ = lane
        wide = jax.lax.optimization_barrier(jnp.sin(x))
        return [jnp.roll(wide, i, axis=0) @ shared + wide[::-1] for i in range(3)]

    run = lanes.over_lanes(several, devices=jax.devices()[:1], inner="loop")
    text = run.lowered((jnp.ones((1, 64, 64)),), (), jnp.ones((64, 64))).compile().as_text()
    assert text.count(" sine(") == 1
