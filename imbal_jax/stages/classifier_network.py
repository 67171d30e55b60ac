"""The classifier network of a config, and the checks of it before the training."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from imbal_jax import methods, models
from imbal_jax.errors import UserError
from imbal_jax.models import contract, head, standardized
from imbal_jax.models import precise_batch_norm as normalisation
from imbal_jax.models.layers import initializer
from imbal_jax.models.standardized import Standardized


def model_of(config: Any, classes: int, form: str, shape: Sequence[int]) -> Any:
    """The network that `config.classifier` names, for examples of that shape.

    Raises:
        UserError: an unknown network, or one for examples of another rank.
    """
    options = config.classifier
    initializer(options.init)
    name = models.classifier_for(options.model, shape)
    model, owner = models.load(name, "classifier.model", "Model").Model, f"config.classifier.model is {name!r}"
    return contract.make_network(model, owner, classes=classes, width=options.width, form=form, init_kernel=options.init)


def wrap_model(model: Any, options: Any, cosine: bool) -> Any:
    """The network as it is trained and evaluated: with `config.classifier.mean` and `.std`, and a normalised last layer."""
    model = head.Cosine(model) if cosine else model
    mean, std = options.mean, options.std
    return Standardized(model, tuple(map(float, mean)), tuple(map(float, std))) if len(mean) else model


def check_method(config: Any, model: Any, task: methods.Task, spec: str) -> None:
    """Raise UserError where a method needs a last layer that the network lacks, changes the shapes of a batch, or the inputs
    cannot be standardised.
    """
    methods.check_transforms(spec, task)
    recipe = methods.recipe_of(spec, task, task.counts)
    if recipe.finetunes or recipe.cosine:
        head.check_head(model, task.shape, config.classifier.model, spec)
    standardized.check_channels(config.classifier.mean, task.shape)


def check_network(config: Any, model: Any, shape: Sequence[int]) -> None:
    """Raise UserError where the network cannot process examples of that shape, such as images that are too small."""
    try:
        jax.eval_shape(model.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *shape), jnp.float32))
    except UserError:
        raise
    except Exception as error:  # flax's and jax's errors about shapes have no common base class
        why = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"config.classifier.model={config.classifier.model!r} cannot process examples of shape {tuple(shape)} "
            f"({why[:200]}): choose another network, or other data"
        ) from error


def check_contract(config: Any, model: Any, shape: Sequence[int], classes: int) -> None:
    """Raise UserError for a network that does not return logits and features; warn of slow convolutions on a CPU.

    The package's own networks, which its tests check, are left out.
    """
    if "." not in config.classifier.model:
        return
    owner = f"config.classifier.model is {config.classifier.model!r}"
    contract.check_classifier(model, owner, shape, classes)
    if jax.default_backend() == "cpu":
        example = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        contract.warn_of_plain_convolutions(owner, contract.plain_convolutions(model, example))


def batch_norms(model: Any, shape: tuple[int, ...]) -> tuple[str, ...]:
    """The paths of a network's batch normalisations, for examples of that shape."""
    return normalisation.layers(model, jax.ShapeDtypeStruct((2, *shape), jnp.float32))
