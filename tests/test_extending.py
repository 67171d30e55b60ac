"""Extensions from outside of the package, by dotted path: the examples of docs/extending.md, and what is said of wrong ones."""

import re
import sys
import types
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging

from configs import base
from imbal_jax import data, experiment, methods
from imbal_jax.artifacts import json_files
from imbal_jax.config import validate
from imbal_jax.data.dataset import Dataset, Rows
from imbal_jax.errors import UserError
from imbal_jax.gan import losses
from imbal_jax.methods import Method, Task
from imbal_jax.models import contract
from tests import toys

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "tests" / "strangers").glob("*.py"))
TASK = Task((20, 10, 4), 1.0, ("a", "b", "c"), (8, 8, 1), (2,))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_of_the_page_are_the_tested_files(path):
    page = (ROOT / "docs" / "extending.md").read_text()
    assert f"`my_package/{path.name}`" in page and f"```python\n{path.read_text()}```" in page


def test_the_page_shows_no_other_code():
    page = (ROOT / "docs" / "extending.md").read_text()
    assert len(re.findall(r"```python\n", page)) == len(EXAMPLES)


def test_an_experiment_of_a_strangers_parts_alone(tmp_path):
    config = base.get_config("tests.strangers.bright_squares", name="stranger", seeds=2, baselines=("none",))
    config.method = "tests.strangers.repeat_rarest(times=2) | gan_synth | tests.strangers.fading_noise(strength=0.2)"
    config.conv, config.lanes = "gemm", "loop"
    config.data.noise = 10.0
    config.cut.profile = "{1: 20, 2: 5}"
    config.gan.update({"model": "tests.strangers.dense_gan", "loss": "tests.strangers.relativistic_hinge"})
    config.gan.update({"latent": 4, "batch": 16, "epochs": 2, "g_width": 0.25, "d_width": 0.25})
    config.classifier.update({"model": "tests.strangers.one_convolution", "batch": 16, "epochs": 3, "width": 0.5})
    config.quality.samples = 0
    experiment.run(config, tmp_path)
    rows = json_files.read(tmp_path / "rows.jsonl")
    assert {(row["method"], row["seed"]) for row in rows} == {
        (spec, seed) for spec in ("none", config.method) for seed in (0, 1)
    }
    balanced = [row for row in rows if row["method"] == config.method]
    assert all(row["failed"] is None and row["counts_before"] == [40, 20, 5] for row in balanced)
    assert all(row["counts_after"] == [40, 40, 40] for row in balanced)
    losses_by_epoch = [row for row in json_files.read(tmp_path / "metrics.jsonl") if row["stage"] == "gan"]
    assert {row["loss_name"] for row in losses_by_epoch} == {"tests.strangers.relativistic_hinge"}


# --- what is wrong is said before any training ------------------------------------------------------------------------


@pytest.fixture
def module(monkeypatch):
    """Makes a module 'strangers.NAME' with these exports."""

    def make(name, **exports):
        path = f"strangers.{name}"
        made = types.ModuleType(path)
        made.__dict__.update(exports)
        monkeypatch.setitem(sys.modules, "strangers", types.ModuleType("strangers"))
        monkeypatch.setitem(sys.modules, path, made)
        return path

    return make


def line(function, *args, **options):
    with pytest.raises(UserError) as error:
        function(*args, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_cannot_be_found():
    assert "config.gan.loss: the module 'my.loss' cannot be imported" in line(losses.make, "my.loss")
    assert "has no 'Model': it must export Model" in line(
        experiment.classifier_network.model_of,
        base.get_config("mnist", classifier={"model": "tests.strangers.bright_squares"}),
        3,
        "gemm",
        (8, 8, 1),
    )
    config = base.get_config("mnist", gan={"loss": "tests.strangers.relativistic_hinge"})
    validate(config)


def test_losses_that_are_none(module):
    ok = lambda real, fake: jnp.mean(real) + jnp.mean(fake)  # noqa: E731
    takes_none = line(losses.make, module("a", make=lambda: losses.Loss(ok, ok)))
    assert "config.gan.loss is 'strangers.a'" in takes_none and "must accept real_target=..." in takes_none
    another = line(losses.make, module("b", make=lambda real_target: (ok, ok)))
    assert "make must return an imbal_jax.gan.losses.Loss (got tuple)" in another
    rows = line(losses.make, module("c", make=lambda real_target: losses.Loss(lambda real, fake: real - fake, ok)))
    assert "discriminator(real logits [B], fake logits [B]) must return a scalar" in rows
    one = line(losses.make, module("d", make=lambda real_target: losses.Loss(ok, lambda fake: jnp.mean(fake))))
    assert "generator(real logits [B], fake logits [B]) fails (TypeError" in one
    blind = losses.Loss(ok, ok, generator_sees_real=False)
    assert "generator(real logits [B], fake logits [B]) fails" in line(losses.make, module("e", make=lambda real_target: blind))


class Wrong(nn.Module):
    classes: int
    returns: str = ""

    @nn.compact
    def __call__(self, x, label=None, *, train: bool = False):
        features = nn.Conv(4, (3, 3))(x).mean((1, 2))
        logits = nn.Dense(self.classes)(features)
        return {"logits": logits, "swapped": (features, logits), "column": logits[:, :1]}.get(self.returns, (logits, features))


class Untrained(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(x.mean((1, 2))), x.mean((1, 2))


def test_networks_that_do_not_keep_the_contract():
    shape, owner = (8, 8, 1), "config.classifier.model is 'a.b'"
    lacking = line(contract.make_network, Wrong, owner, classes=3, width=1.0)
    assert f"{owner}: Wrong must accept classes=..., width=..." in lacking
    for returns in ("logits", "swapped"):
        wrong = line(contract.check_classifier, Wrong(3, returns), owner, shape, 3)
        assert "must return logits [B, 3] and features [B, D] (got [2, " in wrong
    assert "Model(x [B, ...], train=True) fails (TypeError" in line(contract.check_classifier, Untrained(), owner, shape, 3)
    contract.check_classifier(Wrong(3), owner, shape, 3)
    contract.check_classifier(toys.Linear(3), owner, shape, 3)


def test_gan_pairs_that_do_not_keep_the_contract():
    from tests.strangers.dense_gan import Discriminator, Generator

    generator, owner = Generator(4, 3, shape=(8, 8, 1)), "config.gan.model is 'a.b'"
    contract.check_pair(generator, Discriminator(3), owner, 4, 3, (8, 8, 1))
    column = line(contract.check_pair, generator, Wrong(3, "column"), owner, 4, 3, (8, 8, 1))
    assert "Discriminator(x [B, ...], label [B, 3], train=False) must return logits [B] (got [2, 1] for B=2)" in column


def test_plain_convolutions_are_warned_of_once(monkeypatch):
    from tests.strangers.one_convolution import Model

    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: said.append(text % args))
    contract.warn_of_plain_convolutions.cache_clear()
    x = jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32)
    assert contract.plain_convolutions(Model(3), x) == () and contract.plain_convolutions(Wrong(3), x) == ("Conv_0",)
    for _ in range(2):
        contract.warn_of_plain_convolutions("config.classifier.model is 'a.b'", ("Conv_0",))
        contract.warn_of_plain_convolutions("config.classifier.model is 'c.d'", ())
    assert len(said) == 1 and "'a.b': flax.linen.Conv (Conv_0) takes about ten times as long on a CPU" in said[0]


def squares(**changes):
    made = data.load("tests.strangers.bright_squares")
    of_rows = {name: value for name, value in changes.items() if name in Rows._fields}
    of_data = {name: value for name, value in changes.items() if name in Dataset._fields}
    return made._replace(train=made.train._replace(**of_rows), **of_data)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": np.zeros((120, 8, 8, 1))}, "train.x must be uint8, int16, float32 of shape"),
        ({"x": np.zeros((120, 4, 4, 1), np.uint8)}, "examples of one shape (got (120, 4, 4, 1) and (120, 8, 8, 1))"),
        ({"x": np.full((120, 8, 8, 1), np.nan, np.float32)}, "train.x must be finite"),
        ({"y": np.full(120, 3, np.int32)}, "train.y must lie from 0 to 2, for 3 class_names (got 3 to 3)"),
        ({"y": np.zeros((120, 1), np.int32)}, "train.y must be integers of shape [120] (got int32 of shape (120, 1))"),
        ({"ids": np.arange(120) + 1}, "ids must be unique over train and test"),
        ({"fraction": 0.0}, "fraction must be above 0"),
    ],
)
def test_data_sets_that_do_not_keep_the_contract(module, changes, words):
    made = squares(**changes)
    said = line(data.load, module("d", load=lambda directory, source, per_class: made))
    assert "config.data.name is 'strangers.d'" in said and words in said and "docs/extending.md" in said


def test_a_data_set_whose_load_takes_or_returns_something_else(module):
    from tests.strangers import bright_squares

    assert "load must return an imbal_jax.data.dataset.Dataset (got NoneType)" in line(
        data.load, module("e", load=lambda directory, source, per_class: None)
    )
    path = module("f", load=lambda directory, source, per_class: squares(), FIELDS=bright_squares.FIELDS)
    assert "must accept 3 arguments and noise=..." in line(data.load, path)


def test_methods_that_do_not_keep_the_contract(module):
    path = module("m", make=lambda task: None)
    assert "make must return an imbal_jax.methods.Method (got NoneType)" in line(methods.build, path, TASK)
    path = module("n", make=lambda task: Method(transform=lambda key, batch, draw, progress: batch._replace(t=batch.t[:, :1])))
    assert "must return a Batch with the shapes and dtypes of the one it gets" in line(methods.check_transforms, path, TASK)
    methods.check_transforms("tests.strangers.fading_noise | mixup", TASK)


def resampled(module, name, change):
    train, context = toys.problem(TASK)
    keys = jax.random.split(jax.random.key(0), 2)
    path = module(name, make=lambda task: Method(resample=lambda keys, train, context: change(train)))
    return line(methods.resample, path, TASK, keys, train, context)


def test_resamplers_that_do_not_keep_the_contract(module):
    assert "resample must return an imbal_jax.methods.Train" in resampled(module, "a", lambda train: train.pool)
    short = resampled(module, "b", lambda train: train._replace(counts=(20, 10, 8)))
    assert "pool.rows of the resampled set must have shape (2, 38) (got (2, 34))" in short
    mixed = resampled(module, "c", lambda train: train._replace(pool=train.pool._replace(rows=train.pool.rows[:, ::-1])))
    assert "rows must lie class by class" in mixed
