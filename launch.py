"""Run an experiment: python launch.py --config=configs/mnist_cgan.py [--workdir=DIR] [--config.seeds=8 ...]."""

import errno
import os
import sys
import time
from pathlib import Path

from absl import app, flags, logging
from ml_collections import config_flags

from imbal_jax import environment
from imbal_jax.errors import UserError
from imbal_jax.flags import parse

_CONFIG = config_flags.DEFINE_config_file("config", None, "The experiment: a file in configs/, with :VARIANT if it has.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Where results go; runs/<config name>-<time> by default.")
_CACHE = flags.DEFINE_string("compilation_cache", None, "Where compiled programs are kept; ~/.cache/imbal_jax by default.")


def main(_: list[str]) -> None:
    """Run what the flags ask for."""
    logging.set_verbosity(logging.WARNING)
    config = _CONFIG.value
    workdir = Path(_WORKDIR.value or f"runs/{config.name}-{time.strftime('%Y%m%d-%H%M%S')}").absolute()
    print(f"workdir: {workdir}", flush=True)
    environment.enable_compilation_cache(Path(_CACHE.value) if _CACHE.value else None)
    from imbal_jax import experiment  # after the flags, so that a mistake in them is answered at once

    try:
        workdir.mkdir(parents=True, exist_ok=True)
        report = experiment.run(config, workdir)
    except UserError as error:
        _stop(str(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
            raise
        _stop(f"cannot write {error.filename or workdir}: {os.strerror(error.errno)}; then run the same command again")
    print(f"report: {report}")


def _stop(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
