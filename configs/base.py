"""The base of every config: all fields with their defaults, as imbal_jax/config.py declares them."""

from typing import Any

from ml_collections import ConfigDict

from imbal_jax.config import defaults


def get_config(data_name: str, **fields: Any) -> ConfigDict:
    """A config with all fields.

    Args:
        data_name: the data set; its own options are added to the fields.
        fields: values of groups of fields, such as `classifier={"epochs": 10}`, and of single fields, such as `seeds=5`.
    """
    config = ConfigDict(defaults(data_name), convert_dict=True)
    config.update(fields)
    return config
