"""The declarations of config fields: complete, consistent with the code that reads them, and the only place of their facts."""

import importlib
import inspect
import string
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from configs import base
from imbal_jax import config, data, saved_config
from imbal_jax.errors import UserError
from imbal_jax.fields import Field, check_value, choices_of

ROOT = Path(__file__).resolve().parent.parent
VARIANTS = {
    "cifar_lt": ("10", "100"),
    "ecg_gan": ("inter", "intra", "better", "amounts", "rr"),
    "fashion_mixup": ("source", "alpha", "longtail"),
    "fer2013_affine": ("small", "b0"),
    "folder": ("pictures", "beats.npz"),
    "gan_tricks": ("full", "small", "later", "small_later"),
    "methods_mnist": ("every", "best"),
    "mnist_cgan": ("source", "oversampled", "better", "demo"),
    "retinopathy_dcgan": ("grade4", "grades34"),
}
FILES = sorted(path.stem for path in (ROOT / "configs").glob("*.py") if path.stem != "base")
EVERY = [(name, variant) for name in FILES for variant in VARIANTS.get(name, (None,))]


@pytest.mark.parametrize(("name", "variant"), EVERY, ids=str)
def test_every_config_has_all_fields_with_values_that_are_allowed(name, variant):
    module = importlib.import_module(f"configs.{name}")
    config.validate(module.get_config(variant) if variant else module.get_config())


@pytest.mark.parametrize("name", data.names())
def test_the_defaults_are_allowed_and_a_data_set_takes_its_own_fields(name):
    fields = config.fields_of(name)
    for field in fields:
        check_value(field, field.default if field.name != "data.name" else name)
    assert len({field.name for field in fields}) == len(fields)
    parameters = inspect.signature(importlib.import_module(f"imbal_jax.data.{name}").load).parameters.values()
    own = [parameter for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
    assert {f"data.{parameter.name}" for parameter in own} == {field.name for field in data.fields(name)}
    assert all(parameter.default is parameter.empty for parameter in own), "the default stands in FIELDS"


def test_documentation_is_of_sentences():
    for name in ("", *data.names()):
        for field in config.fields_of(name):
            assert field.doc[0] in string.ascii_uppercase + "'1" and field.doc.endswith("."), field


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        (Field("a", 1, ""), 1.0, "must be a whole number (got 1.0)"),
        (Field("a", 1, ""), True, "must be a whole number (got True)"),
        (Field("a", 1.0, ""), float("nan"), "must be a finite number (got nan)"),
        (Field("a", 1.0, ""), float("inf"), "must be a finite number (got inf)"),
        (Field("a", 1.0, "", 0, 5), -1, "must be at least 0 (got -1)"),
        (Field("a", 1.0, "", 0, 5), 5.5, "must be at most 5 (got 5.5)"),
        (Field("a", 0.5, "", above=0, below=1), 0, "must be above 0 (got 0)"),
        (Field("a", 0.5, "", above=0, below=1), 1, "must be below 1 (got 1)"),
        (Field("a", False, ""), 0, "must be True or False (got 0)"),
        (Field("a", "", ""), None, "must be a text (got None)"),
        (Field("a", "", ""), "a" * 30_000, "at most 20000 characters"),
        (Field("a", "", ""), "\0", "none of them NUL"),
        (Field("a", (), ""), 3, "must be a tuple (got 3)"),
        (Field("a", {}, ""), 3, "must be a group of fields (got 3)"),
        (Field("a", "x", "", choices=("x", "yes")), "yea", "must be one of x, yes (got 'yea'); did you mean 'yes'?"),
        (Field("a", 0, "", choices=(0, 1)), 2, "must be one of 0, 1 (got 2)"),
    ],
)
def test_values_that_are_not_allowed(field, value, words):
    with pytest.raises(UserError) as error:
        check_value(field, value)
    assert str(error.value).startswith("config.a ") and words in str(error.value) and "\n" not in str(error.value)


def test_choices_come_from_the_modules_that_own_them():
    assert choices_of(Field("a", "", "", choices="imbal_jax.train.optimizer.SCHEDULES")) == ("constant", "cosine", "step")
    assert "s0_cgan" in choices_of(Field("a", "", "", choices="imbal_jax.models.gans"))
    check_value(Field("a", "", "", choices="imbal_jax.models.gans", extendable=True), "my_package.my_gan")


def test_unknown_and_absent_fields():
    made = base.get_config("mnist")
    made.gan.epoch = 3
    with pytest.raises(UserError, match="unknown config field 'gan.epoch'; did you mean 'gan.epochs'"):
        config.validate(made)
    made = base.get_config("mnist")
    del made.classifier.warmup
    with pytest.raises(UserError, match="has no field 'classifier.warmup': begin with get_config of configs/base.py"):
        config.validate(made)
    with pytest.raises(UserError, match=r"data.name must be one of .* \(got 'mnits'\)"):
        config.validate(ConfigDict({"data": {"name": "mnits"}}))


def test_values_given_to_the_base():
    made = base.get_config("mnist", seeds=3, classifier={"epochs": 2})
    assert (made.seeds, made.classifier.epochs, made.classifier.batch, made.data.name) == (3, 2, 128, "mnist")
    with pytest.raises(AttributeError):
        made.classifier.rate  # noqa: B018


def test_help_texts():
    assert config.help_text("gan.epochs").startswith("gan.epochs = 30   (1 to 1,000,000)\n    Passes over")
    for name in data.names():  # whatever bounds a data set's fields have
        assert all(field.name in config.help_text("", name) for field in config.fields_of(name))
    assert "data.test_share = 0.2   (above 0, below 1)" in config.help_text("", "folder")
    assert "data.rr = False" in config.help_text("", "mitbih") and "data.rr" not in config.help_text("")
    assert all(line.startswith(("gan.", "    ")) for line in config.help_text("gan").splitlines())
    with pytest.raises(UserError, match="unknown config field 'gan.epoch'; did you mean 'gan.epochs'"):
        config.help_text("gan.epoch")


def test_fields_that_an_older_file_lacks_are_filled_in():
    older = {"data": {"name": "mnist"}, "classifier": {"epochs": 4, "milestones": [0.5]}, "expected": {"x": 0.8}}
    restored = saved_config.restore_config(older)
    assert restored.classifier.milestones == (0.5,) and restored.classifier.batch == 128
    assert restored.classifier.epochs_of == "own", "what an experiment meant before there was the field"
    assert restored.expected.to_dict() == {"x": 0.8}
    config.validate(restored)
    assert saved_config.fill_defaults({"data": {"name": "gone"}})["gan"]["epochs"] == 30
