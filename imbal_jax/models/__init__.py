"""Networks, one file each: a classifier's file exports `Model`, a GAN's `Generator` and `Discriminator`."""

import importlib
import pkgutil
from types import ModuleType

from imbal_jax.errors import UserError, nearest


def load(name: str, field: str, *exports: str) -> ModuleType:
    """The module `imbal_jax/models/<name>.py`.

    Args:
        name: the file's name, such as 's0_cnn'.
        field: the config field that it came from, for the error message.
        exports: names that the module must have.

    Raises:
        UserError: there is no such file, or it lacks an export.
    """
    known = [module.name for module in pkgutil.iter_modules(__path__)]
    if name in known:
        module = importlib.import_module(f"{__name__}.{name}")
        if all(hasattr(module, export) for export in exports):
            return module
    fitting = [k for k in known if all(hasattr(importlib.import_module(f"{__name__}.{k}"), e) for e in exports)]
    raise UserError(f"unknown model {name!r} ({field}){nearest(name, fitting)}; known: {', '.join(fitting)}")
