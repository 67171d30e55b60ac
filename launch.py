"""Run an experiment: python launch.py --config=configs/mnist_cgan.py [--workdir=DIR] [--config.seeds=8 ...].

python launch.py --list_methods prints every balancing method with its options.
python launch.py --help_config[=gan.epochs] prints the config fields with their defaults and bounds.
python launch.py --config=configs/mnist_cgan.py --summary prints the networks, layer by layer.
python launch.py --continue=docs/results/NAME [--config.seeds=16 ...] trains the missing arms and seeds, on any machine.
python launch.py --collect=WORKDIR [--into=docs/results/NAME] adds a workdir's rows to its folder.
python launch.py --report=DIR[,DIR ...] writes a report again, or joins several workdirs, without training.
python launch.py --sample=DIR [--class=NAME --count=64 ...] draws rows from a run's generator.
With --distributed, the same command on every host divides the seeds among the hosts.
"""

from imbal_jax.runtime import interrupts

if __name__ == "__main__":
    interrupts.end_at_once()  # the imports below take seconds

import errno
import os
import sys
import time
from pathlib import Path

from absl import app, flags, logging

from imbal_jax import seed_range
from imbal_jax.errors import Interrupted, Lost, UserError
from imbal_jax.flags import config_help, define, parse
from imbal_jax.runtime import cpu_devices, environment, streams

USERS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
LOST_STATUS = 6  # the same status as after an abort in C++ code, see `multihost`


def main(argv: list[str]) -> None:
    """Run the command that the flags select."""
    interrupts.by_exception()
    logging.set_verbosity(logging.WARNING)
    values = flags.FLAGS
    if values.list_methods:
        from imbal_jax import methods

        print(methods.listing())
        return
    if values["help_config"].present:
        print(config_help(values))
        return
    workdir = _workdir(values)
    try:
        if values.collect:
            print(f"collected: {_collect(values)}")
        elif values.summary:
            print(_summary(values))
        elif values.sample:
            print(f"samples: {_sample(values)}")
        else:
            print(f"report: {_report(values, argv[1:], workdir) if values.report else _run(values, workdir)}")
    except Lost as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(LOST_STATUS)  # a normal exit would wait for the lost process, or abort
    except UserError as error:
        _stop(str(error))
    except OSError as error:
        if error.errno not in USERS:
            raise
        _stop(
            f"cannot write {error.filename or workdir}: {os.strerror(error.errno)}; correct that and run the same command again"
        )
    except Interrupted as stopped:
        _stop(f"ended by a signal: {stopped}; the same command resumes the run", 128 + stopped.number)
    except KeyboardInterrupt:
        _stop("interrupted: the same command resumes the run", 130)


def _workdir(values: flags.FlagValues) -> Path:
    """The folder of the results: the one that a flag names, or a new one in runs/."""
    if (folder := values["continue"].value) and not values.workdir:
        return Path("runs", Path(folder).name).absolute()  # the same command resumes there
    name = next((word for word in ("report", "sample", "collect") if values[word].value), None) or values.config.name
    return Path(values.workdir or values.out or values.sample or f"runs/{name}-{time.strftime('%Y%m%d-%H%M%S')}").absolute()


def _run(values: flags.FlagValues, workdir: Path) -> Path:
    print(f"workdir: {workdir}", flush=True)
    signals: list[int] = []
    interrupts.listen(signals)
    environment.enable_compilation_cache(Path(values.compilation_cache) if values.compilation_cache else None)
    cpu_devices.use_cores(len(seed_range.or_none(values.config.seeds)))  # a wrong value is reported below
    from imbal_jax import experiment  # slow imports, after the flags have been checked
    from imbal_jax.runtime import multihost

    if values.distributed:
        multihost.start(values.coordinator, values.processes, values.process)
        interrupts.listen(signals)  # again: jax may have replaced the handler of SIGTERM
    try:
        _begin_from(values["continue"].value, workdir)
        report = experiment.run(values.config, workdir, stopping=multihost.stopping(signals))
    except Interrupted as stopped:
        multihost.finish()
        raise Interrupted(str(stopped), *signals[:1]) from stopped
    except Exception as problem:
        multihost.finish(problem)
        raise
    multihost.finish()
    return report


def _begin_from(folder: str | None, workdir: Path) -> None:
    """Fill the workdir from a folder of docs/results, if --continue names one; process 0 does it for all."""
    import jax

    from imbal_jax import evidence

    if folder and jax.process_index() == 0:
        evidence.begin(Path(folder), workdir)


def _collect(values: flags.FlagValues) -> Path:
    from imbal_jax import evidence

    return evidence.collect(Path(values.collect), Path(values.into) if values.into else None, values.replace)


def _report(values: flags.FlagValues, others: list[str], out: Path) -> Path:
    from imbal_jax.report import build

    folders = [folder for given in (values.report, *others) for folder in _listed(given)]
    return build.join([Path(folder).absolute() for folder in folders], out)


def _listed(text: str) -> list[str]:
    """The folders of 'A,B'; the name of an existing folder may have a comma in it."""
    parts = [part for part in text.split(",") if part]
    return parts if parts and not Path(text).exists() else [text]


def _summary(values: flags.FlagValues) -> str:
    from imbal_jax import experiment

    return experiment.describe_networks(values.config, coloured=sys.stdout.isatty())


def _sample(values: flags.FlagValues) -> Path:
    environment.enable_compilation_cache(Path(values.compilation_cache) if values.compilation_cache else None)
    from imbal_jax.export import samples

    wanted = samples.Wanted(
        folder=Path(values.sample).absolute(),
        out=Path(values.out).absolute() if values.out else None,
        classes=tuple(values["class"].value or ()),
        each=values.count,
        epoch=values.epoch,
        seed=values.seed,
        latent_seed=values.latent_seed,
        format=values.format,
    )
    return samples.draw(wanted)


def _stop(message: str, status: int = 2) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    streams.protect()
    define()
    app.run(main, flags_parser=parse)
