"""The DCGAN's networks: the source's sizes, and what each switch changes."""

import jax
import jax.numpy as jnp
import pytest

from imbal_jax.errors import UserError
from imbal_jax.models import s2_dcgan

KEY = jax.random.key(0)
LABEL = jnp.zeros((1, 5))
SWITCHES = ("strided", "hidden", "batch_norm", "leaky", "centred")


def held(net, x):
    return jax.eval_shape(net.init, KEY, x, LABEL)


def size(variables):
    return sum(leaf.size for leaf in jax.tree.leaves(variables))


def test_the_sizes_of_the_published_pair():
    assert size(held(s2_dcgan.Generator(), jnp.zeros((1, 100)))) == 7_671_555
    assert size(held(s2_dcgan.Discriminator(), jnp.zeros((1, 128, 128, 3)))) == 5_985


@pytest.mark.parametrize("switch", ("", *SWITCHES))
@pytest.mark.parametrize("side", [16, 40])
def test_every_switch_keeps_the_contract(switch, side):
    changed = {switch: not getattr(s2_dcgan.Discriminator(), switch)} if switch else {}
    generator = s2_dcgan.Generator(latent=6, width=0.05, size=side, colours=1, **changed)
    discriminator = s2_dcgan.Discriminator(width=0.5, **changed)
    z, x, label = jnp.zeros((3, 6)), jnp.zeros((3, side, side, 1)), jnp.zeros((3, 5))
    more = {"train": True, "rngs": {"dropout": KEY}, "mutable": ["batch_stats"]}
    for net, row, shape in ((generator, z, x.shape), (discriminator, x, (3,))):
        variables = jax.eval_shape(net.init, KEY, row, label)
        run = lambda given, net=net, row=row: net.apply(given, row, label, **more)  # noqa: E731
        out, averages = jax.eval_shape(run, variables)
        assert out.shape == shape and bool(averages) == (switch == "batch_norm")


def test_images_lie_between_0_and_1_and_change_with_the_dropout_key():
    net = s2_dcgan.Generator(latent=6, width=0.02, size=8)
    z = jax.random.normal(KEY, (2, 6))
    variables = net.init(KEY, z, LABEL)
    once, again = (net.apply(variables, z, LABEL, train=True, rngs={"dropout": jax.random.key(i)}) for i in range(2))
    assert float(jnp.abs(once - again).max()) > 0
    assert float(once.min()) >= 0 and float(once.max()) <= 1


def test_what_the_pair_cannot_take():
    with pytest.raises(UserError, match="8, 16, 24"):
        held(s2_dcgan.Generator(size=100), jnp.zeros((1, 100)))
    with pytest.raises(UserError, match="is for images"):
        held(s2_dcgan.Discriminator(), jnp.zeros((1, 300, 1)))
