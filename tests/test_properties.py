"""Whatever a field, an option of a method, a grid or a flag is given: it is accepted, or refused in one line; no training."""

import functools
import math
import typing
from pathlib import Path
from types import SimpleNamespace

import pytest
from absl import flags as absl_flags
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from imbal_jax import arms, experiment, methods, sweep
from imbal_jax import config as config_schema
from imbal_jax.errors import UserError
from imbal_jax.flags import NUMBERS, SAMPLING, SWITCHES, TEXTS, define, parse
from imbal_jax.methods import Task
from imbal_jax.runtime import autotune
from imbal_jax.stages import context, training_set
from tests import small

ROOT = Path(__file__).resolve().parent.parent
QUICK = settings(
    derandomize=True, deadline=None, database=None, max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
TASK = Task((8, 6, 2), 0.1, ("a", "b", "c"), (8, 8, 1), (2,))
EDGES = [0, -1, 1, 2, -(2**31), 2**31, 2**32, 2**63, 10**30, -(10**400), 10**400]
WHOLE = st.one_of(st.sampled_from(EDGES), st.integers(-5, 40), st.integers())
REAL = st.one_of(st.sampled_from([0.0, -0.0, 1.0, 0.5, -1.0, 1e-300, 1e300, math.inf, -math.inf, math.nan]), st.floats())
TEXT = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["", " ", "none", "max", "over", "nan", "inf", "-1", "[1]", "{[1]: 2}", "(" * 300, "a" * 30_000, "\0"]),
)
ANYTHING = st.one_of(
    WHOLE, REAL, TEXT, st.booleans(), st.none(),
    st.dictionaries(st.one_of(WHOLE, TEXT), st.one_of(WHOLE, REAL, TEXT), max_size=3),
    st.tuples(WHOLE, REAL), st.lists(WHOLE, max_size=3),
)  # fmt: skip


def one_line(call, *args, **options):
    """What the call returns, or None where it is refused as it should be."""
    try:
        return call(*args, **options)
    except UserError as error:
        text = str(error)
        assert "\n" not in text and 10 < len(text) < 3000, text[:300]
        return None


# --- methods ----------------------------------------------------------------------------------------------------------


OPTIONS = [(name, option) for name in methods.names() for option in methods._options(methods._module(name).make)]


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=lambda value: value)
@QUICK
@given(value=ANYTHING)
@example(value=math.nan)
@example(value=-1)
@example(value=10**30)
@example(value=1e300)
def test_any_value_of_a_methods_option(name, option, value):
    kind = typing.get_type_hints(methods._module(name).make)[option]
    found = one_line(methods.build, f"{name}({option}={value!r})", TASK)
    if found is not None:  # then it is of the option's kind, and a number is finite
        assert methods._is(value, kind) or isinstance(value, str)
        assert not isinstance(value, float) or math.isfinite(value)


@pytest.mark.parametrize("name", methods.names())
@QUICK
@given(value=st.one_of(st.floats(1e-6, 1e6), st.integers(1, 50)))
def test_a_method_made_of_a_sane_number_keeps_its_promises(name, value):
    """Sampling probabilities add up to 1 and weights are finite, whatever the options are."""
    for option in methods._options(methods._module(name).make):
        for made in one_line(methods.build, f"{name}({option}={value!r})", TASK) or []:
            if made.sample is not None:
                assert float(made.sample(0.0).sum()) == pytest.approx(1, abs=1e-4)
            if made.weight is not None:
                assert all(math.isfinite(float(weight)) for weight in made.weight(0.9))


@QUICK
@given(spec=st.one_of(TEXT, st.text("overmixup(=|)1., {}[]'", max_size=25)))
@example(spec="mixup(alpha={[1]:2})")
@example(spec="mixup(alpha={[1]})")
@example(spec="mixup(**{'a': 1})")
@example(spec="mixup(alpha=1j)")
@example(spec="over(to=" + "9" * 5000 + ")")
@example(spec="over(to=" + "-" * 1900 + "1)")
@example(spec=" | ".join(["none"] * 250))
@example(spec="over(to={'a': {1: 2}})")
def test_any_text_as_a_method(spec):
    one_line(methods.build, spec, TASK)
    one_line(sweep.stop_rule, ConfigDict({"stop": spec, "margin": 0.002}))


def test_rows_beyond_the_memory_are_refused_with_the_figure(monkeypatch):
    """784 values of a byte and a row number of four for each of 3 x 10^6 rows: 2.2 GiB, and 2 are free."""
    monkeypatch.setattr(methods.method.memory, "host", lambda: 2 * 2**30)
    task = TASK._replace(shape=(28, 28, 1), fraction=1.0)
    for name in ("over", "smote", "gan_synth", "affine_over"):
        with pytest.raises(UserError, match=rf"{name}.*3000000 rows take at least 2.2 GiB .*2.0 GiB are free"):
            methods.build(f"{name}(to=1000000)", task)
    methods.build("over(to=500000)", task)


# --- the grid and the rule when to stop -------------------------------------------------------------------------------


@QUICK
@given(text=st.one_of(TEXT, st.dictionaries(TEXT, ANYTHING, max_size=3).map(repr), ANYTHING.map(repr)))
@example(text="{[1]: 2}")
@example(text="{'gan.latent': 1.5}")
@example(text="{'gan.latent': 1" + "0" * 400 + "}")
@example(text="{'classifier.learning_rate': " + str(tuple(range(1, 3000))) + ", 'gan.r1': " + str(tuple(range(3000))) + "}")
@example(text="{'gan.loss': ('hinge', 3)}")
@example(text="[{}, {'gan.loss': 'hinge'}]")
def test_any_text_as_a_grid(text):
    config = small.get_config()
    config.grid = text
    one_line(arms.arms, config)


@pytest.mark.parametrize(
    "rule", ["margin=nan", "margin=x", "margin=inf", "margin=-1", "every=0", "every=2.5", "every=True", f"every={10**30}"]
)
def test_a_rule_that_is_none(rule):
    with pytest.raises(UserError, match="config.stop must"):
        sweep.stop_rule(ConfigDict({"stop": f"decided({rule})", "margin": 0.002}))


# --- the fields of a config -------------------------------------------------------------------------------------------


DECLARED = {field.name: field for field in config_schema.fields_of("mnist")}
FIELDS = list(DECLARED)
READ_WITH_THE_DATA = {"data.name", "data.source", "data.dir", "data.per_class"}  # by the readers, which have tests of their own


@functools.cache
def base():
    return context.load_common(small.get_config(), 1, autotune.Choice("gemm", "loop", {}, False))


def check(config):
    """What a run checks before anything is trained."""
    config_schema.validate(config)
    experiment.checked_arms(training_set.prepare(config, Path(), base(), seeds=(0,)))


def values_for(default):
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, int):
        return WHOLE
    if isinstance(default, float):
        return st.one_of(REAL, WHOLE.filter(lambda n: abs(n) < 2**60).map(float))
    if isinstance(default, str):
        return TEXT
    return st.lists(ANYTHING, max_size=3).map(tuple)


CHECKED_HERE = [field for field in FIELDS if field not in READ_WITH_THE_DATA and "expected" not in field]


def refuse_or_accept(field, value):
    config = small.get_config()
    config.update_from_flattened_dict({field: value})
    one_line(check, config)


def default_of(field):
    return functools.reduce(lambda tree, part: tree[part], field.split("."), small.get_config())


@pytest.mark.slow
@pytest.mark.parametrize("field", CHECKED_HERE)
def test_any_value_of_a_field(field):
    @settings(QUICK, max_examples=15)
    @given(value=values_for(default_of(field)))
    def anything(value):
        refuse_or_accept(field, value)

    anything()


@settings(QUICK, max_examples=12)
@given(st.data())
def test_any_value_of_some_field(draw):
    field = draw.draw(st.sampled_from(CHECKED_HERE))
    refuse_or_accept(field, draw.draw(values_for(default_of(field))))


@pytest.mark.parametrize(
    ("field", "value"),
    [("baselines", ({},)), ("baselines", (None,)), ("cut.profile", "(" * 5000), ("cut.profile", "{6: 1" + "0" * 400 + "}"),
     ("cut.profile", "exponential(factor=1" + "0" * 400 + ")"), ("gan.classes", "a" * 30_000), ("stop", "decided(margin=nan)")],
)  # fmt: skip
def test_values_that_ended_in_tracebacks(field, value):
    config = small.get_config()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError):
        check(config)


@pytest.mark.parametrize("value", [-1, 10**30, 2**63, -(10**400), 1e300, math.nan, math.inf, True, "x", None, (1,)])
@pytest.mark.parametrize("field", [name for name, field in DECLARED.items() if type(field.default) in (int, float)])
def test_every_number_has_bounds(field, value):
    """Also where a config file, which no flag's type protects, gives something that is no number."""
    tree = small.get_config().to_dict()
    *group, name = field.split(".")
    functools.reduce(dict.__getitem__, group, tree)[name] = value
    config = SimpleNamespace(
        **{part: SimpleNamespace(**inner) if isinstance(inner, dict) else inner for part, inner in tree.items()},
        to_dict=lambda: tree,
    )
    with pytest.raises(UserError) as error:
        config_schema.validate(config)
    assert field in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 300


def test_a_field_that_is_not_there():
    config = small.get_config()
    del config.gan.latent
    with pytest.raises(UserError, match="no field 'gan.latent'"):
        config_schema.validate(config)


@pytest.mark.parametrize(("field", "value"), [("gan.latent", 10**5), ("gan.g_width", 100.0), ("classifier.width", 100.0)])
def test_networks_beyond_the_memory_are_refused_with_the_figure(monkeypatch, field, value):
    monkeypatch.setattr(experiment.memory, "available", lambda device: 2**28)
    config = small.get_config()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=r"needs at least [\d.]+ GiB .*0.25 GiB is free.*config\."):
        check(config)


FLAGS = ["config", "summary", *TEXTS, *NUMBERS, *SAMPLING, *SWITCHES]


# --- flags ------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
@settings(QUICK, max_examples=100)
@given(field=st.one_of(st.sampled_from(FIELDS), TEXT), value=st.one_of(TEXT, ANYTHING.map(repr)))
@example(field="seeds", value="9" * 5000)
@example(field="baselines", value="(" * 300)
def test_any_override_on_the_command_line(monkeypatch, capsys, field, value):
    monkeypatch.chdir(ROOT)
    answered(capsys, "--config=tests/small.py", f"--config.{field}={value}")


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
@settings(QUICK, max_examples=60)
@given(words=st.lists(st.tuples(st.sampled_from(FLAGS), TEXT), max_size=3))
@example(words=[("report", "")])
@example(words=[("sample", "")])
@example(words=[("report", ""), ("config", "tests/small.py")])
def test_any_flags(monkeypatch, capsys, words):
    monkeypatch.chdir(ROOT)
    answered(capsys, *(f"--{name}={value}" for name, value in words))


def answered(capsys, *argv):
    """The command line is understood, or refused in one line with status 2."""
    values = absl_flags.FlagValues()
    try:
        define(values, ["launch.py", *argv])
        parse(["launch.py", *argv], values)
    except SystemExit as end:
        err = capsys.readouterr().err
        assert end.code == 2 and err.startswith("error: ") and err.count("\n") == 1, err[:500]
    else:
        assert values["report"].value != ""
