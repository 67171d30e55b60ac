"""Timing of a train step, a call or a whole process against a peer: separate processes that take turns, and medians.

Two frameworks in one process fight over threads and memory, and a machine's speed drifts over minutes. So every
measurement is a process of its own, and the sides take turns (ours, peer, ours, peer, ...), which spreads the drift
over both. Our own step without a method is no other framework, and a method costs less than two processes differ by: these
two take turns within a process.
"""

import argparse
import importlib
import importlib.util
import json
import math
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
BLOCKS = 5
PAIR_BLOCKS = 20  # of each side where both are timed in one process
BATCH = 128  # examples in a batch, unless --batch says otherwise; of these the source's own:
SMALLER = dict.fromkeys(("s4_step", "efficientnet_step", "mixup_step", "mixup_step-keras", "affine_epoch_overhead"), 64)
SMALLER["dcgan_step"], SMALLER["batch_statistics-efficientnet"] = 16, 64
PACKAGES = {  # of each side, as distributions are called
    "ours": ("jax", "flax", "optax"),
    "keras": ("keras", "tensorflow"),
    "torch": ("torch",),
    "imblearn": ("imbalanced-learn", "scikit-learn"),
    "scipy": ("scipy",),
    "plain": (),
    "single": (),
}
MODULES = {"imbalanced-learn": "imblearn", "scikit-learn": "sklearn"}  # where the module has another name
PEER_NAMES = {
    "keras": "Keras on TensorFlow",
    "torch": "PyTorch",
    "imblearn": "imbalanced-learn",
    "scipy": "SciPy",
    "plain": "our own step without it",
    "single": "our own, one by one",
}
TOGETHER = frozenset({"plain"})  # peers that are timed in one process with ours
# The ways in which a peer's user may write the step: tf.function without and with jit_compile, PyTorch channels last,
# channels first, and under torch.compile. Which is fastest hangs on the device, so all are tried.
# On two CPU cores 'function' and 'eager' win everywhere: XLA costs TensorFlow a factor of 1.6 (GAN) to 8 (classifier).
FORMS: dict[str, dict[str, tuple[str, ...]]] = {
    "keras": {
        "classifier_step": ("function", "function_xla", "train_on_batch"),  # the last is Keras's own
        "cgan_step": ("function", "function_xla"),
        "ecg_gan_step": ("function", "function_xla"),
        "dcgan_step": ("function",),
        "s4_step": ("function", "function_xla", "train_on_batch"),
        "mixup_step-keras": ("tf_data",),  # batches are mixed in the input pipeline, as the source does it
        "efficientnet_step": ("function",),
        "affine-28": ("numpy",),  # random_rotation, random_shear, random_zoom, image by image
        "affine-64": ("numpy",),
        "sweep_vs_keras": ("fit",),
    },
    "torch": {
        "classifier_step": ("eager", "eager_nchw", "compile"),
        "cgan_step": ("eager", "eager_nchw", "compile"),
        "dcgan_step": ("eager", "eager_nchw"),
        "s4_step": ("eager", "eager_nchw", "compile"),
        "sweep_vs_keras": ("indices", "loader"),  # batches by index of the whole set, or from a DataLoader
    },
    "imblearn": dict.fromkeys(
        (
            "smote-mnist", "smote-beats", "smote-vectors", "adapters_cold-over", "adapters_cold-under", "adapters_cold-smote",
            "adapters_cold-borderline", "adapters_cold-adasyn", "adapters_cold-tomek", "adapters_cold-enn",
            "adapters_cold-smotetomek", "adapters_cold-smoteenn", "adapters_cold-grid",
        ),
        ("fit_resample",),
    ),
    "scipy": dict.fromkeys(("affine-28", "affine-64"), ("loop",)),
    "plain": dict.fromkeys(
        (
            "method_step-mixup", "method_step-affine", "method_step-losses", "mixup_step", "affine_epoch_overhead",
            "batch_statistics-efficientnet", "batch_statistics-resnet32",
        ),
        ("none",),
    ),
    "single": dict.fromkeys(("sweep_scaling", "ecg_gan_step"), ("auto",)),
}


class Steps(NamedTuple):
    """Train steps ready to be timed.

    run: `run(n)` makes n train steps and returns when their results are there.
    device: what they run on, in words.
    notes: what else is to be said once they have run, in JSON values.
    """

    run: Callable[[int], None]
    device: str
    notes: Callable[[], dict[str, Any]] = dict


class Job(NamedTuple):
    """What one worker process measures.

    `name` is that of a module in benchmarks/, with '-' and a case where it has several; `form` names one way to write
    the step (eager, compiled, ...).
    """

    name: str
    side: str
    form: str
    lanes: int
    steps: int
    batch: int


class Measured(NamedTuple):
    """A worker's answer.

    ms: milliseconds per step and lane (of a whole process: per lane).
    device: what it ran on.
    memory: the most that the process held, in MiB.
    first: seconds of the first step: compilation, mostly.
    notes: what else the job says about itself.
    """

    ms: float
    device: str
    memory: float = 0.0
    first: float = 0.0
    notes: Mapping[str, Any] = MappingProxyType({})


class BenchmarkError(Exception):
    """A measurement that cannot be made; the text says what to do."""


def block_length(steps: int) -> int:
    """How many steps lie between two looks at the clock."""
    return max(1, steps // BLOCKS)


def median_ms(steps: Steps, count: int) -> float:
    """Median milliseconds per step over BLOCKS blocks of steps; each block ends with a wait for the device.

    One block is run first and not timed: compilation, memory and threads are then in place.
    """
    block = block_length(count)
    steps.run(block)
    times = []
    for _ in range(BLOCKS):
        start = time.perf_counter()
        steps.run(block)
        times.append((time.perf_counter() - start) / block)
    return 1e3 * statistics.median(times)


def medians_in_turn(sides: Sequence[Steps], count: int) -> list[float]:
    """Median milliseconds per step of each side over PAIR_BLOCKS blocks, the sides one after the other in each round.

    One block of each is run first and not timed.
    """
    block = max(1, count // PAIR_BLOCKS)
    times: list[list[float]] = [[] for _ in sides]
    for timed in range(PAIR_BLOCKS + 1):
        for side, steps in enumerate(sides):
            start = time.perf_counter()
            steps.run(block)
            if timed:
                times[side].append((time.perf_counter() - start) / block)
    return [1e3 * statistics.median(each) for each in times]


def work(build: Callable[[Job], Steps], argv: Sequence[str] | None = None) -> None:
    """A worker's main: measures one job, beside ours where its peer is of TOGETHER, and prints the `Measured`."""
    job = read_job(argv)
    sides = ("ours", job.side) if job.side in TOGETHER else (job.side,)
    built = [build(job._replace(side=side)) for side in sides]
    firsts = [first_s(steps) for steps in built]
    times = medians_in_turn(built, job.steps) if len(built) > 1 else [median_ms(built[0], job.steps)]
    memory = peak_mib(resource.RUSAGE_SELF)
    answer(*(
        Measured(ms / job.lanes, steps.device, memory, first, steps.notes())
        for ms, steps, first in zip(times, built, firsts, strict=True)
    ))  # fmt: skip


def first_s(steps: Steps) -> float:
    """Seconds of the first step: compilation, mostly."""
    began = time.perf_counter()
    steps.run(1)
    return round(time.perf_counter() - began, 2)


def batch_of(name: str) -> int:
    """Examples in a batch of a benchmark: those of the network's source."""
    return SMALLER.get(name, BATCH)


def read_job(argv: Sequence[str] | None) -> Job:
    """The job that a worker's command line asks for."""
    parser = argparse.ArgumentParser()
    for field, kind in Job.__annotations__.items():
        parser.add_argument(f"--{field}", type=kind, required=True)
    return Job(**vars(parser.parse_args(argv)))


def answer(*measured: Measured) -> None:
    """Prints a worker's last line: what it measured, one for each side."""
    print(json.dumps([each._asdict() for each in measured]), flush=True)


def peak_mib(who: int) -> float:
    """The most memory held by this process (RUSAGE_SELF) or by the largest of its children (RUSAGE_CHILDREN), in MiB."""
    return round(resource.getrusage(who).ru_maxrss / 1024)


def peer_steps(job: Job, network: str, family: str = "s0") -> Steps:
    """A peer's train steps of a network in its file for a family; its framework is imported only where it is timed."""
    return getattr(importlib.import_module(f"benchmarks.peers.{job.side}_{family}"), network)(job.form, job.batch)


def backend() -> str:
    """jax's default backend ('cpu', 'gpu', 'tpu'), asked in a process that then lets go of the device."""
    return run([sys.executable, "-c", "import jax; print(jax.default_backend())"], "jax")


def run_worker(job: Job, timeout: float | None = None) -> list[Measured]:
    """Runs one job in a process of its own; returns what it measured: ours too, and first, where the peer is of TOGETHER.

    Raises:
        BenchmarkError: the process failed or took more than `timeout` seconds; holds the end of what it wrote.
    """
    flags = [f"--{field}={value}" for field, value in job._asdict().items()]
    command = [sys.executable, "-m", f"benchmarks.{job.name.split('-')[0]}", *flags]
    answers = json.loads(run(command, f"{job.name}, {job.side} ({job.form})", timeout))
    return [Measured(**each) for each in answers]


def run(command: Sequence[str], what: str, timeout: float | None = None) -> str:
    """Runs a process in the repository's root to its end; returns the last line of its output.

    Raises:
        BenchmarkError: `what` failed, said nothing or took more than `timeout` seconds; holds the end of what it wrote.
    """
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"} | dict(os.environ)
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"{what}: no answer within {timeout:.0f} s") from error
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-12:])
        raise BenchmarkError(f"{what} failed with exit code {done.returncode}:\n{tail}")
    return lines[-1]


def missing(peer: str) -> list[str]:
    """The packages of a peer that are not installed."""
    return [package for package in PACKAGES[peer] if importlib.util.find_spec(MODULES.get(package, package)) is None]


def fastest_form(job: Job, forms: Sequence[str], timeout: float = 600.0) -> tuple[str, dict[str, float]]:
    """Times every form of a peer's step shortly, each in its own process; a single form is taken as it is.

    A form that fails (no compiler at hand, say) or is not done within `timeout` seconds counts as infinitely slow.

    Returns:
        the fastest form's name, and milliseconds per step of each that was tried.
    """
    if len(forms) == 1:
        return forms[0], {}
    times = {}
    for form in forms:
        try:
            (tried,) = run_worker(job._replace(form=form, steps=min(job.steps, max(BLOCKS, job.steps // 2))), timeout)
            times[form] = tried.ms
        except BenchmarkError as error:
            print(f"left out: {error}", file=sys.stderr)
            times[form] = math.inf
    best = min(times, key=times.__getitem__)
    if math.isinf(times[best]):
        raise BenchmarkError(f"{job.name}: no form of {PEER_NAMES[job.side]} ran")
    return best, times


def alternate(jobs: Mapping[str, Job], repeats: int) -> dict[str, list[list[Measured]]]:
    """Runs the jobs in turn, `repeats` rounds of all of them; returns the workers' answers by label."""
    measured: dict[str, list[list[Measured]]] = {label: [] for label in jobs}
    for _ in range(repeats):
        for label, job in jobs.items():
            measured[label].append(run_worker(job))
    return measured


def median(measured: Sequence[Measured]) -> float:
    """Median of the processes' milliseconds per step and lane."""
    return statistics.median(m.ms for m in measured)
