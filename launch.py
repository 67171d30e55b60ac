"""Run an experiment: python launch.py --config=configs/mnist_cgan.py [--workdir=DIR] [--config.seeds=8 ...].

python launch.py --list_methods prints every balancing method with its options.
"""

import errno
import os
import sys
import time
from pathlib import Path

from absl import app, flags, logging

from imbal_jax import environment
from imbal_jax.errors import UserError
from imbal_jax.flags import define, parse

USERS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


def main(_: list[str]) -> None:
    """Run what the flags ask for."""
    logging.set_verbosity(logging.WARNING)
    if flags.FLAGS.list_methods:
        from imbal_jax import methods

        print(methods.listing())
        return
    config, asked = flags.FLAGS.config, flags.FLAGS.workdir
    workdir = Path(asked or f"runs/{config.name}-{time.strftime('%Y%m%d-%H%M%S')}").absolute()
    print(f"workdir: {workdir}", flush=True)
    cache = flags.FLAGS.compilation_cache
    environment.enable_compilation_cache(Path(cache) if cache else None)
    from imbal_jax import experiment  # after the flags, so that a mistake in them is answered at once

    try:
        report = experiment.run(config, workdir)
    except UserError as error:
        _stop(str(error))
    except OSError as error:
        if error.errno not in USERS:
            raise
        _stop(f"cannot write {error.filename or workdir}: {os.strerror(error.errno)}; then run the same command again")
    except KeyboardInterrupt:
        _stop("interrupted: the same command goes on from here", 130)
    print(f"report: {report}")


def _stop(message: str, status: int = 2) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    define()
    app.run(main, flags_parser=parse)
