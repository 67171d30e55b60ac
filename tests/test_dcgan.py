"""The DCGAN's networks: the source's sizes, and what each switch changes."""

import jax
import jax.numpy as jnp
import pytest

from configs import mnist_cgan, retinopathy_dcgan
from imbal_jax import methods
from imbal_jax.errors import UserError
from imbal_jax.gan import tricks
from imbal_jax.models import s2_dcgan
from imbal_jax.stages import gan_training

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


def test_spectral_normalisation_bounds_the_discriminators_slope():
    net = s2_dcgan.Discriminator(spectral=True, strided=True)
    x = jax.random.uniform(KEY, (2, 16, 16, 3))
    variables = net.init(KEY, x, LABEL)
    plain = s2_dcgan.Discriminator().init(KEY, x, LABEL)
    assert size(variables["params"]) == size(plain["params"])

    @jax.jit
    def settled(variables):
        def one(_, variables):
            _, averages = net.apply(variables, x, LABEL, train=True, rngs={"dropout": KEY}, mutable=["batch_stats"])
            return {**variables, **averages}

        return jax.lax.fori_loop(0, 30, one, variables)

    huge = {**variables, "params": jax.tree.map(lambda leaf: 100 * leaf, variables["params"])}
    slope = jax.jit(lambda v: jax.grad(lambda x: net.apply(v, x, LABEL)[0])(x)[0])(settled(huge))
    assert 0 < float(jnp.linalg.norm(slope)) < 2 * 3**4  # 2: pixels become [-1, 1]; a kernel of 3x3 may add its nine places


def test_images_lie_between_0_and_1_and_change_with_the_dropout_key():
    net = s2_dcgan.Generator(latent=6, width=0.02, size=8)
    z = jax.random.normal(KEY, (2, 6))
    variables = net.init(KEY, z, LABEL)
    once, again = (net.apply(variables, z, LABEL, train=True, rngs={"dropout": jax.random.key(i)}) for i in range(2))
    assert float(jnp.abs(once - again).max()) > 0
    assert float(once.min()) >= 0 and float(once.max()) <= 1


def test_what_the_pair_cannot_take():
    with pytest.raises(UserError, match="must be a multiple of 8 for s2_dcgan .got 100."):
        held(s2_dcgan.Generator(size=100), jnp.zeros((1, 100)))
    with pytest.raises(UserError, match="is for images"):
        held(s2_dcgan.Discriminator(), jnp.zeros((1, 300, 1)))


def nets_of(config, shape=(40, 40, 1)):
    return gan_training.nets_of(config, methods.Task((20, 9), 1.0, ("3", "4"), shape, (1,)), "gemm")


def test_the_switches_of_the_source():
    config = retinopathy_dcgan.get_config()
    nets = nets_of(config)
    assert set(config.gan.tricks) == set(tricks.Tricks._fields)
    assert nets.generator == s2_dcgan.Generator(classes=2, size=40, colours=1)
    assert nets.discriminator == s2_dcgan.Discriminator(classes=2)
    assert (nets.d_steps, nets.separate, nets.own) == (2, True, (1,))


@pytest.mark.parametrize("trick", tricks.Tricks._fields)
def test_one_switch_changes_its_own(trick):
    config = retinopathy_dcgan.get_config()
    before, setup = nets_of(config), tricks.setup(config.gan)
    config.gan.tricks[trick] = 1 - config.gan.tricks[trick]
    after, changed = nets_of(config), tricks.setup(config.gan)
    field = {"no_hidden": "hidden"}.get(trick, trick)
    for network in ("generator", "discriminator"):
        same = getattr(before, network) == getattr(after, network)
        other = {"d_twice": "discriminator", "spectral": "generator"}.get(trick)  # the network that it leaves alone
        assert same == (trick == "two_rates" or network == other)
        if field in SWITCHES:
            assert getattr(getattr(after, network), field) != getattr(getattr(before, network), field)
    assert (changed.g_learning_rate == setup.g_learning_rate) == (trick != "two_rates")
    assert changed.separate == (trick != "centred") and changed.d_steps == (1 if trick == "d_twice" else 2)
    assert after.generator.dropout == (0.0 if trick == "d_twice" else 0.5)


def test_switches_that_are_not_understood():
    config = retinopathy_dcgan.get_config()
    config.gan.tricks.strided = 2
    with pytest.raises(UserError, match="tricks.strided must be 0 or 1 .got 2."):
        nets_of(config)
    other = mnist_cgan.get_config()
    other.gan.tricks = config.gan.tricks
    with pytest.raises(UserError, match="tricks.strided needs another config.gan.model .s0_cgan has no such switch"):
        other.gan.tricks.strided = 1
        nets_of(other)
    other.gan.tricks.leakey = 1
    with pytest.raises(UserError, match="unknown switch 'leakey' .*did you mean 'leaky'"):
        nets_of(other)
