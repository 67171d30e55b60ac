"""What is advised for training a DCGAN, each piece of advice a switch, so that it can be measured: `config.gan.tricks`.

The list is the retinopathy source's, which has most of it from Radford et al. 2016. Its last item, to watch for early failure,
is `gan.monitor`. Later advice is included: spectral normalisation here; DiffAugment, the hinge loss, R1 and moving
averages are `config.gan.augment`, `loss`, `r1` and `ema`.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from imbal_jax.errors import UserError, nearest


class Tricks(NamedTuple):
    """Which are on.

    Attributes:
        strided: convolutions of stride 2; else 2x2 max pooling in the discriminator, repeated pixels in the generator.
        no_hidden: no dense hidden layers; else one in each network.
        batch_norm: batch normalisation, but not at the generator's output and the discriminator's input.
        leaky: LeakyReLU in both networks; else relu.
        centred: the networks see images in [-1, 1] (tanh), real and generated ones in batches of their own; else images in
            [0, 1] (sigmoid) in one batch.
        two_rates: a learning rate for each network; else their geometric mean for both.
        d_twice: `config.gan.d_steps` steps of the discriminator for each of the generator, with dropout 0.5 in the generator;
            else one step and no dropout.
        spectral: spectral normalisation of the discriminator's layers; not in the source's list.
    """

    strided: bool = True
    no_hidden: bool = True
    batch_norm: bool = True
    leaky: bool = True
    centred: bool = True
    two_rates: bool = True
    d_twice: bool = True
    spectral: bool = False


class Setup(NamedTuple):
    """The settings that the switches result in: fields of both networks and of each alone, and numbers of the training."""

    networks: dict[str, bool]
    generator: dict[str, float]
    discriminator: dict[str, bool]
    d_steps: int
    separate: bool
    g_learning_rate: float
    d_learning_rate: float


def setup(gan: Any) -> Setup:
    """What `config.gan` asks for, with its switches where it has any.

    Raises:
        UserError: an unknown switch, or one that is neither 0 nor 1.
    """
    as_it_stands = Setup({}, {}, {}, gan.d_steps, gan.separate, gan.g_learning_rate, gan.d_learning_rate)
    if not (switches := gan.tricks):
        return as_it_stands
    on = _read(switches.to_dict())
    networks = {"strided": on.strided, "hidden": not on.no_hidden, "batch_norm": on.batch_norm, "leaky": on.leaky}
    result = as_it_stands._replace(networks=networks | {"centred": on.centred}, separate=on.centred and gan.separate)
    if on.spectral:
        result = result._replace(discriminator={"spectral": True})
    if not on.two_rates:
        both = math.sqrt(gan.g_learning_rate * gan.d_learning_rate)
        result = result._replace(g_learning_rate=both, d_learning_rate=both)
    return result if on.d_twice else result._replace(d_steps=1, generator={"dropout": 0.0})


def _read(switches: Mapping[str, Any]) -> Tricks:
    for name, value in switches.items():
        if name not in Tricks._fields:
            known = ", ".join(Tricks._fields)
            raise UserError(f"unknown switch {name!r} (config.gan.tricks){nearest(name, Tricks._fields)}; known: {known}")
        if value not in (0, 1):
            raise UserError(f"config.gan.tricks.{name} must be 0 or 1 (got {value!r})")
    return Tricks(**{name: bool(value) for name, value in switches.items()})
