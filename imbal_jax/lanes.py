"""Keys and lanes: a lane is one seed's run of an experiment; lanes are stacked on a leading axis."""

import zlib

import jax


def purpose(key: jax.Array, name: str) -> jax.Array:
    """A key for one named purpose ('subset', 'weights', 'order', ...), so that randomness stays separate.

    Args:
        key: a typed key, shape [] (map over lanes with `jax.vmap`).
        name: the purpose; its CRC-32 is folded in, so adding a purpose never shifts the others.
    """
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def lane_keys(root: int, seeds: list[int]) -> jax.Array:
    """Typed keys [L], one for each lane's seed: a lane's key depends on the root and its own seed alone."""
    base = jax.random.key(root)
    return jax.vmap(lambda seed: jax.random.fold_in(base, seed))(jax.numpy.asarray(seeds, jax.numpy.uint32))
