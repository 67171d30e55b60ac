import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax.data import storage_types


@pytest.mark.parametrize(("dtype", "low"), [("uint8", 0), ("int16", -32767)])
def test_every_whole_number_comes_back(dtype, low):
    values = np.arange(low, np.iinfo(dtype).max + 1).astype(dtype)
    seen = storage_types.floats(values)
    assert seen.dtype == jnp.float32 and float(seen.max()) == 1 and float(seen.min()) == (-1 if low else 0)
    assert (np.asarray(storage_types.kept(seen, dtype)) == values).all()


def test_values_outside_the_range_are_clipped_and_nan_is_zero():
    x = jnp.asarray([-3.0, 3.0, jnp.nan, jnp.inf])
    assert storage_types.kept(x, jnp.uint8).tolist() == [0, 255, 0, 255]
    assert storage_types.kept(x, jnp.int16).tolist() == [-32767, 32767, 0, 32767]


def test_floats_stay_as_they_are():
    x = jnp.asarray([-3.0, 0.25], jnp.float32)
    assert (storage_types.floats(x) == x).all() and (storage_types.kept(x, jnp.float32) == x).all()
    assert storage_types.kept(x, jnp.bfloat16).dtype == jnp.bfloat16


def test_pictures_of_any_kind_of_row():
    x = np.array([[-0.5, 0.0, 0.5, 1.0, 1.5, np.nan]], np.float32)
    assert storage_types.pixels(x).tolist() == [[0, 0, 128, 255, 255, 0]]
    assert storage_types.pixels(np.array([[3]], np.uint8)).tolist() == [[3]]
    assert storage_types.kept(jnp.asarray(x), jnp.float32).tolist()[0][-2:] == [1.5, 0.0]
