"""Chooses the form of convolutions and the way of running lanes inside a device by a short measurement."""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from imbal_jax.artifacts import json_files
from imbal_jax.errors import UserError
from imbal_jax.ops.conv import conv, resolve_form
from imbal_jax.runtime.lanes import over_lanes, usual_inner

MOST_LANES = 4  # the order of the pairs is the same with more lanes
MARGIN = 1.1  # within this factor the fixed rule decides, so that a busy machine does not change the choice
HOPELESS = 5.0  # a pair that is this many times slower in the trial is not measured
ROUNDS = 5
FILE = "forms.json"

Pair = tuple[str, str]  # conv and inner
Seconds = dict[str, float | None]


class Size(NamedTuple):
    """The size of the computation: rows of a batch, pixels per side, output channels of the two convolutions, steps."""

    batch: int
    side: int
    channels: tuple[int, int]
    steps: int

    @property
    def work(self) -> int:
        """Proportional to the multiplications of a step, for sizes with equal channels."""
        return self.batch * (self.side - 4) ** 2


# On a CPU, fewer channels than the classifier's: with Winograd's tiles each program would take 4 s to compile, and the order is
# the same. A form other than the fixed rule's is first tried on a small size: `lax` in a loop is hundreds of times slower.
CPU, TRIAL = Size(64, 28, (12, 24), 1), Size(4, 12, (12, 24), 1)
ACCELERATOR = Size(128, 28, (32, 64), 20)
CPU_LIMIT, ACCELERATOR_LIMIT = (
    4.0,
    60.0,
)  # seconds after which no further pair is begun; compiling for an accelerator takes longer


class Choice(NamedTuple):
    """How an experiment is computed.

    Attributes:
        conv: 'gemm' or 'lax', see `ops.conv`.
        inner: 'vmap' or 'loop', see `lanes.over_lanes`.
        seconds: what was measured, by 'conv inner': seconds of a step and lane of two convolutions and their gradients.
            A pair that was left out, usually because it was far slower in a short trial, is absent.
        measured: whether a measurement, of this start or an earlier one, decided; otherwise the fixed rule did.
    """

    conv: str
    inner: str
    seconds: dict[str, float]
    measured: bool


def restore_choice(content: Any, path: Path) -> Choice:
    """The choice that an earlier start wrote to environment.json.

    Args:
        content: `Choice._asdict()`, read back from JSON.
        path: of the file, for the message.

    Raises:
        UserError: the content is not a choice.
    """
    try:
        choice = Choice(**content)
        if isinstance(choice.conv, str) and choice.inner in ("vmap", "loop") and isinstance(choice.seconds, dict):
            return choice._replace(measured=bool(choice.measured))
    except TypeError:
        pass
    raise UserError(f"{path} is damaged ('form' is {content!r:.80}): delete it and run the same command again")


def choose(
    lanes: int,
    device: jax.Device,
    cache: Path | None,
    *,
    conv: str = "auto",
    inner: str = "auto",
    precision: str = "float32",
) -> Choice:
    """The fastest pair of convolution form and way of running lanes; the fixed rule's, where it is within 10 % of that.

    The fixed rule: `ops.conv.resolve_form` and `lanes.usual_inner`. With one lane both ways are the same, and only the form is
    measured.

    Args:
        lanes: number of lanes per device.
        device: a local device.
        cache: the folder in which forms.json keeps measurements for the next start; on a CPU, one folder for each kind of
            machine. None: they are not kept. A damaged or unwritable file is logged and ignored.
        conv: config.conv; measured only if 'auto'.
        inner: config.lanes; measured only if 'auto'.
        precision: of the products, see `lanes.over_lanes`; the fastest form depends on it.

    Raises:
        UserError: an unknown conv form.
    """
    rule = (resolve_form(conv, lanes, device.platform), usual_inner(device) if inner == "auto" else inner)
    convs = ("gemm", "lax") if conv == "auto" else (conv,)
    inners = ("vmap", "loop") if inner == "auto" and lanes > 1 else (rule[1],)
    pairs = sorted(((c, i) for c in convs for i in inners), key=lambda pair: pair != rule)  # the rule's first
    if len(pairs) == 1:
        return Choice(*rule, {}, False)
    used = min(lanes, MOST_LANES)
    key = f"{device.device_kind}, jax {jax.__version__}, {used} lane{'s' * (used > 1)}, conv {conv}, lanes {inner}"
    if device.platform != "cpu":  # a CPU has only float32
        key += f", {precision}"
    measurements = _read(cache)
    seconds = measurements.get(key, {})
    if set(seconds) != set(map(_name, pairs)):
        with jax.default_matmul_precision(precision):
            seconds = _measure(pairs, used, device)
        _write(cache, measurements | {key: seconds})
    return _decide(pairs, seconds)


def _measure(pairs: list[Pair], lanes: int, device: jax.Device) -> Seconds:
    """Seconds of a step and lane of each pair, by name, the rule's pair first; None for one that was left out or failed.

    The minimum over several rounds in which the pairs alternate, so that other load on the machine affects all of them.
    """
    cpu, began = device.platform == "cpu", time.monotonic()
    size = ACCELERATOR if not cpu else CPU if pairs[0][0] == "gemm" else TRIAL
    limit = CPU_LIMIT if cpu else ACCELERATOR_LIMIT
    runs: dict[Pair, Callable[[], float]] = {}
    for pair in pairs:
        if time.monotonic() - began > limit and runs:
            break
        if size is CPU and pair[0] != pairs[0][0] and _hopeless(pair, lanes, device, runs):
            continue
        if (run := _ready(pair, lanes, device, size)) is not None:
            runs[pair] = run
    best = dict.fromkeys(runs, math.inf)
    for done in range(ROUNDS):
        if done and time.monotonic() - began > limit:
            break
        for pair, run in runs.items():
            best[pair] = min(best[pair], run())
    return {_name(pair): best.get(pair) for pair in pairs}


def _hopeless(pair: Pair, lanes: int, device: jax.Device, runs: dict[Pair, Callable[[], float]]) -> bool:
    """Whether the pair would be far slower than those of `runs`, by a trial on a small size."""
    trial = _ready(pair, lanes, device, TRIAL)
    fastest = min((min(run() for _ in range(2)) for run in runs.values()), default=math.inf)
    return trial is None or min(trial() for _ in range(2)) * CPU.work / TRIAL.work > HOPELESS * fastest


def _decide(pairs: list[Pair], seconds: Seconds) -> Choice:
    rule = pairs[0]
    measured = {pair: took for pair in pairs if (took := seconds[_name(pair)]) is not None}
    if not measured:
        return Choice(*rule, {}, False)
    fastest = min(measured, key=measured.__getitem__)
    chosen = rule if measured.get(rule, math.inf) <= MARGIN * measured[fastest] else fastest
    return Choice(*chosen, {_name(pair): took for pair, took in measured.items()}, True)


def _name(pair: Pair) -> str:
    return " ".join(pair)


def _ready(pair: Pair, lanes: int, device: jax.Device, size: Size) -> Callable[[], float] | None:
    """A function that runs the pair's compiled program once and returns its seconds per step and lane, or None."""
    form, inner = pair
    draw = np.random.default_rng(0)

    def array(*shape: int) -> jax.Array:
        return jax.device_put(0.1 * draw.standard_normal((lanes, *shape)).astype(np.float32), device)

    program = over_lanes(_steps(form), inner=inner, devices=[device], precision=None)  # the precision that `choose` has set
    state = (array(3, 3, 1, size.channels[0]), array(3, 3, *size.channels))
    images = array(
        size.batch, size.side, size.side, 1
    )  # one batch for each lane, as in a training, where the lanes' batches differ

    def run(steps: int = size.steps) -> float:
        nonlocal state
        began = time.perf_counter()
        state = jax.block_until_ready(program(state, images, jnp.asarray(steps, jnp.int32)))
        return (time.perf_counter() - began) / (size.steps * lanes)

    try:
        run(0)  # compiles
    except jax.errors.JaxRuntimeError as problem:
        logging.warning("convolutions as %s: %s", _name(pair), str(problem).split("\n")[0])
        return None
    return run


def _steps(form: str) -> Callable[..., Any]:
    """Train steps of two convolutions inside a loop, as `train.loop.span_function` has them."""

    def loss(kernels: tuple[jax.Array, jax.Array], x: jax.Array) -> jax.Array:
        hidden = jax.nn.relu(conv(x, kernels[0], padding="VALID", form=form))  # type: ignore[arg-type]
        return jnp.mean(jax.nn.relu(conv(hidden, kernels[1], padding="VALID", form=form)) ** 2)  # type: ignore[arg-type]

    def run(lane: tuple[Any, jax.Array], steps: jax.Array) -> Any:
        kernels, x = lane

        def step(i: jax.Array, kernels: Any) -> Any:
            grads = jax.grad(loss)(
                kernels, x + i.astype(jnp.float32)
            )  # changed in each step, or XLA would move its computation out of the loop
            return jax.tree.map(lambda w, g: w - 1e-4 * g, kernels, grads)

        return jax.lax.fori_loop(0, steps, step, kernels)

    return run


def _read(cache: Path | None) -> dict[str, Seconds]:
    if cache is None or not os.path.exists(path := Path(cache) / FILE):
        return {}
    try:
        content = json_files.read_json(path)
        return {key: {name: took and float(took) for name, took in entry.items()} for key, entry in content.items()}
    except (UserError, AttributeError, TypeError, ValueError) as problem:
        logging.warning("the measurement is repeated: cannot read %s: %s", path, problem)
        return {}


def _write(cache: Path | None, measurements: dict[str, Seconds]) -> None:
    if cache is None:
        return
    try:
        json_files.write_json(Path(cache) / FILE, measurements)
    except UserError as problem:
        logging.warning("the measurement of convolution forms is not saved: %s", problem)
