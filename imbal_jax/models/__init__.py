"""Networks, one file each: a classifier's file exports `Model`, a GAN's `Generator` and `Discriminator`.

A classifier's file may declare the rank of its examples as EXAMPLE_RANK: 1 for vectors [D], 2 for signals [T, C], 3 for
images [H, W, C].
"""

from collections.abc import Sequence
from types import ModuleType

from imbal_jax import extensions
from imbal_jax.errors import UserError

KINDS = {1: "vectors [D]", 2: "signals [T, C]", 3: "images [H, W, C]"}
AUTO = {1: "mlp", 2: "ecg_cnn", 3: "efficientnet_small"}  # classifiers by the rank of an example
AUTO_GAN = {2: "ecg_gan", 3: "s0_cgan"}  # pairs of conditional networks, for examples of any size


def classifier_for(name: str, shape: Sequence[int]) -> str:
    """The name of the classifier for examples of that shape: `name`, or for 'auto' the usual one for their rank.

    Raises:
        UserError: a network of that name exists and takes examples of another rank.
    """
    rank = len(shape)
    if name == "auto":
        return AUTO[rank]
    takes = getattr(load(name, "classifier.model", "Model"), "EXAMPLE_RANK", rank)
    if takes != rank:
        networks = extensions.names(__name__, "Model")
        fitting = [network for network in networks if getattr(load(network, "", "Model"), "EXAMPLE_RANK", None) == rank]
        raise UserError(
            f"config.classifier.model is {name!r}, a network for {KINDS[takes]}, and the data has {KINDS[rank]} of shape "
            f"{tuple(shape)}: choose 'auto' or one of {', '.join(fitting)}"
        )
    return name


def classifiers() -> list[str]:
    """The names that `config.classifier.model` can have, 'auto' among them."""
    return ["auto", *extensions.names(__name__, "Model")]


def gan_for(name: str, shape: Sequence[int]) -> str:
    """The name of the GAN's networks for examples of that shape: `name`, or for 'auto' the usual ones for their rank.

    Raises:
        UserError: there are none for vectors.
    """
    if name != "auto":
        return name
    if (rank := len(shape)) not in AUTO_GAN:
        raise UserError(
            f"there is no GAN for {KINDS[rank]} (config.gan.model='auto', data of shape {tuple(shape)}): leave gan_synth "
            "out, and compare 'over' or 'smote'"
        )
    return AUTO_GAN[rank]


def gans() -> list[str]:
    """The names that `config.gan.model` can have."""
    return ["auto", *extensions.names(__name__, "Generator", "Discriminator")]


def load(name: str, field: str, *exports: str) -> ModuleType:
    """The module of a network.

    Args:
        name: of a file in imbal_jax/models, such as 's0_cnn', or the dotted path of a module like these.
        field: the config field that it came from, for the error message.
        exports: names that the module must have.

    Raises:
        UserError: there is no such module, or it lacks an export.
    """
    return extensions.find(__name__, name, field, *exports)
