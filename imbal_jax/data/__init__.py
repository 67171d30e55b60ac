"""Data sets, one file each: a module that exports `load(directory, source, per_class, **options) -> Dataset`.

Further options of a data set are keyword-only arguments of `load`. The module declares them as
`FIELDS`, one `Field` each, and they become the fields `config.data.<option>` of configs on it.
"""

from collections.abc import Mapping
from typing import Any

from imbal_jax import extensions
from imbal_jax.data.dataset import Dataset, Rows, check_dataset, check_duplicates
from imbal_jax.fields import Field, check_group

__all__ = ["Dataset", "Rows", "fields", "load", "names"]


def names() -> tuple[str, ...]:
    """The names of all data sets."""
    return extensions.names(__name__, "load")


def fields(name: str) -> tuple[Field, ...]:
    """The declarations of a data set's own options, with names like 'data.size'.

    Raises:
        UserError: there is no such data set.
    """
    return tuple(getattr(extensions.find(__name__, name, "data.name", "load"), "FIELDS", ()))


def load(
    name: str,
    *,
    directory: str | None = None,
    source: str = "auto",
    per_class: int | None = None,
    options: Mapping[str, Any] = {},
) -> Dataset:
    """Load a data set.

    Args:
        name: of a file in imbal_jax/data, such as 'mnist', or the dotted path of a module like these.
        directory: where to look; None means the environment variable IMBAL_DATA_DIR, else the data set's own defaults.
        source: 'auto' tries the data set's sources in their order; one of their names pins it.
        per_class: keep only the first so many training rows of each class; None keeps all. The test set stays whole.
        options: the data set's own options, by name; those that are not given have their defaults.

    Raises:
        UserError: unknown name, source or option, nothing found, files that are damaged or hold something else, or a test
            set in which every row is a training row.
    """
    module = extensions.find(__name__, name, "data.name", "load")
    declared = fields(name)
    check_group(declared, options, f"the data set {name}")
    given = {field.name.rsplit(".", 1)[-1]: field.default for field in declared} | dict(options)
    owner = f"config.data.name is {name!r}"
    dataset = extensions.call(module.load, owner, directory, source, per_class, **given)
    check_dataset(dataset, owner)
    check_duplicates(dataset)
    return dataset
