"""Mistakes at the start: each is found before any training begins, told in one line, and ends with exit code 2."""

import errno
import functools
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from absl import flags as absl_flags

import launch
from imbal_jax import data, experiment
from imbal_jax.errors import Lost, UserError
from imbal_jax.flags import define, parse
from imbal_jax.stages import context, training_set
from imbal_jax.train import loop
from tests import small

ROOT = Path(__file__).resolve().parent.parent
MNIST = "--config=configs/mnist_cgan.py"
# ml_collections loads config files by a way that Python has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """From the repository's root, with no data or cache of the machine's own; the embedded images are read once."""
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("IMBAL_DATA_DIR", raising=False)
    monkeypatch.setenv("IMBAL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(context.data, "load", loaded)
    monkeypatch.delitem(sys.modules, "config_config", raising=False)  # where ml_collections puts a config file


@pytest.fixture
def no_training(monkeypatch):
    def refused(*args, **options):
        raise AssertionError("training began")

    monkeypatch.setattr(loop, "train", refused)


real_load = data.load


@functools.cache
def embedded():
    return real_load("mnist", source="embedded", per_class=10)


def loaded(name, **options):
    plain = (name, options["source"], options["directory"], options["per_class"]) == ("mnist", "embedded", None, 10)
    return embedded() if plain else real_load(name, **options)


def parsed(*argv):
    """The flags that a command line sets."""
    values = absl_flags.FlagValues()
    define(values, ["launch.py", *argv])
    parse(["launch.py", *argv], values)
    return values


def told(capsys, *argv):
    """What a wrong command line is answered with."""
    with pytest.raises(SystemExit) as end:
        parsed(*argv)
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1, err
    return err


def config_of(**fields):
    config = small.get_config()
    config.update_from_flattened_dict({name.replace("__", "."): value for name, value in fields.items()})
    return config


def refused(workdir, config):
    """The message with which an experiment is refused."""
    with pytest.raises(UserError) as error:
        experiment.run(config, workdir)
    assert "\n" not in str(error.value)
    return str(error.value)


# --- the command line -------------------------------------------------------------------------------------------------


def test_fields_are_overridden():
    values = parsed(
        f"{MNIST}:better", "--config.seeds=2", "--config.gan.epochs=1", "--config.baselines=('none',)", "--workdir=here"
    )
    config = values.config
    assert (config.seeds, config.gan.epochs, config.baselines) == (2, 1, ("none",))
    assert config.name == "mnist_cgan_better" and values.workdir == "here"


@pytest.mark.parametrize(
    ("text", "baselines"),
    [
        ("none", ("none",)),
        ("over(to=5000)", ("over(to=5000)",)),
        ("('none', 'over(to=5000)')", ("none", "over(to=5000)")),
        ("()", ()),
        ("none; over; over | affine", ("none", "over", "over | affine")),
        ("none;over(to=50); ", ("none", "over(to=50)")),
        ("['none', 'over']", ("none", "over")),
        ("mixup(alpha=0.2, p=1) | over; none", ("mixup(alpha=0.2, p=1) | over", "none")),
    ],
)
def test_a_tuple_field_is_overridden(text, baselines):
    assert parsed(MNIST, f"--config.baselines={text}").config.baselines == baselines


def test_the_methods_may_be_given_one_by_one():
    repeated = parsed(MNIST, "--config.baselines=none", "--config.seeds=2", "--config.baselines", "over; smote").config
    assert repeated.baselines == ("none", "over", "smote") and repeated.seeds == 2
    mixed = parsed(MNIST, "--config.baselines=('none', 'under')", "--config.baselines=over | affine", "--workdir=here")
    assert mixed.config.baselines == ("none", "under", "over | affine") and mixed.workdir == "here"


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("8:16", "8:16"), ("0:4", 4), (" 2 : 3 ", "2:3"), ("5", 5), ("4294967295:4294967296", "4294967295:4294967296")],
)
def test_seeds_may_be_a_range(text, seeds):
    values = parsed(MNIST, f"--config.seeds={text}", "--config.method=over", "--workdir=here")
    assert (values.config.seeds, values.config.method, values.workdir) == (seeds, "over", "here")
    assert parsed(MNIST, "--config.seeds", text).config.seeds == seeds
    assert parsed(MNIST, "--config.seeds=3", f"--config.seeds={text}").config.seeds == seeds


def test_a_config_may_follow_as_a_word_of_its_own():
    assert parsed("--config", "configs/mnist_cgan.py:demo", "--config.seeds", "3").config.seeds == 3


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], ["no experiment", "--config=configs/NAME.py"]),
        (["--config="], ["no experiment"]),
        (["--config"], ["no experiment"]),
        (["--config.seeds=2"], ["no experiment"]),
        ([MNIST, "stray"], ["unknown argument 'stray'", "--config.FIELD=VALUE"]),
        ([MNIST, "--workdri=x"], ["'workdri'", "workdir"]),
        ([MNIST, "--config.sedes=2"], ["unknown config field 'sedes'", "did you mean 'seeds'"]),
        ([MNIST, "--config.epochs=2"], ["unknown config field 'epochs'", "'gan.epochs'", "'classifier.epochs'"]),
        ([MNIST, "--config.gan.epoch=2"], ["unknown config field 'gan.epoch'", "'gan.epochs'"]),
        ([MNIST, "--config.gan.epochs.x=2"], ["unknown config field 'gan.epochs.x'", "'gan.epochs'"]),
        ([MNIST, "--config.gan=3"], ["'gan' is a group of fields", "--config.gan.FIELD=VALUE"]),
        ([MNIST, "--config.gan={'epochs': 3}"], ["'gan' is a group of fields"]),
        (
            [MNIST, "--config.seeds=abc"],
            ["config.seeds must be a whole number such as 8, or a range", "(got abc)"],
        ),
        ([MNIST, "--config.seeds=8:8"], ["config.seeds must be", "(got '8:8')", "END after FIRST"]),
        ([MNIST, "--config.seeds=8:16:24"], ["config.seeds must be", "(got '8:16:24')", "FIRST:END"]),
        ([MNIST, "--config.seeds=:4"], ["config.seeds must be", "(got ':4')", "FIRST:END"]),
        ([MNIST, "--config.seeds=-1:4"], ["config.seeds must be", "(got '-1:4')", "FIRST:END"]),
        ([MNIST, f"--config.seeds=1:{2**32 + 1}"], ["config.seeds", "at most 4294967296"]),
        ([MNIST, "--config.seeds=0:100001"], ["config.seeds", "1 to 100000 seeds"]),
        ([MNIST, "--config.baselines=none;; over"], ["--config.baselines=none;; over: a method is missing", "none; over"]),
        ([MNIST, "--config.baselines=; over"], ["a method is missing"]),
        ([MNIST, "--config.baselines=none, over"], ["separate methods by ';'", "none; over"]),
        ([MNIST, "--config.seeds=1.5"], ["config.seeds must be a whole number", "(got 1.5)"]),
        ([MNIST, "--config.gan.ema=much"], ["config.gan.ema must be a number, such as 0.0 (got much)"]),
        ([MNIST, "--config.seeds"], ["config.seeds"]),
        ([f"{MNIST}:demoo"], ["config file configs/mnist_cgan.py:demoo", "unknown variant 'demoo'", "demo"]),
        (["--config=configs/mnist_cga.py"], ["config file 'configs/mnist_cga.py' does not exist", "'configs/mnist_cgan.py'"]),
        (["--config=configs/mnist_cga.py:demo", "--config.seeds=2"], ["does not exist", "'configs/mnist_cgan.py'"]),
        (["--config=mnist_cgan"], ["config file 'mnist_cgan' does not exist", "did you mean 'configs/mnist_cgan.py'"]),
        (["--config=zzz"], ["config file 'zzz' does not exist", "there are: configs/"]),
        (["--config=configs"], ["config file 'configs' does not exist"]),
    ],
)
def test_a_wrong_command_line_is_explained(capsys, argv, words):
    message = told(capsys, *argv)
    assert all(word in message for word in words), message


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("def get_config(:", ["SyntaxError"]),
        ("x = 1", ["AttributeError", "get_config"]),
        ("def get_config():\n    return {}['a']", ["KeyError: 'a'"]),
        ("def get_config():\n    return {'seeds': 1}", ["ConfigDict"]),
        ("def get_config():\n    raise ValueError('two\\nlines')", ["two lines"]),
        ("def get_config():\n    return open('/nowhere/at/all').read()", ["No such file", "/nowhere/at/all"]),
    ],
)
def test_a_wrong_config_file_is_explained(capsys, tmp_path, program, words):
    path = tmp_path / "mine.py"
    path.write_text(program)
    message = told(capsys, f"--config={path}")
    assert all(word in message for word in [str(path), *words]), message


# --- values that nothing can be done with -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("seeds", 0, ["config.seeds must be", "(got 0)", "at least 1"]),
        ("seed", -1, ["config.seed must be", "(got -1)", "at least 0"]),
        ("seed", 2**32, ["config.seed must be at most 4294967295 (got 4294967296)"]),
        ("gan.epochs", 0, ["config.gan.epochs must be", "(got 0)", "at least 1"]),
        ("classifier.epochs", 0, ["config.classifier.epochs must be", "(got 0)", "at least 1"]),
        ("classifier.batch", 0, ["config.classifier.batch must be", "(got 0)"]),
        ("quality.epochs", 0, ["config.quality.epochs must be", "(got 0)"]),
        ("gan.d_steps", 0, ["config.gan.d_steps must be", "(got 0)"]),
        ("gan.grid_every", 0, ["config.gan.grid_every must be", "(got 0)"]),
        ("gan.r1", -1.0, ["config.gan.r1 must be", "(got -1.0)", "at least 0"]),
        ("gan.g_width", float("nan"), ["config.gan.g_width must be a finite number (got nan)"]),
        ("gan.ema", 1.0, ["config.gan.ema must be below 1 (got 1.0)"]),
        ("classifier.learning_rate", float("inf"), ["config.classifier.learning_rate must be", "(got inf)"]),
        ("method", "gan_sinth", ["unknown method 'gan_sinth'", "did you mean 'gan_synth'"]),
        ("method", "over(too=5)", ["method 'over' has no option 'too'", "did you mean 'to'"]),
        ("method", "over(to=some)", ["to='some'", "'max'"]),
        ("method", "over(to=5000", ["'over(to=5000' cannot be parsed", "name(option=value)"]),
        ("method", "", ["'' cannot be parsed"]),
        ("method", "gan_synth(filter=clasifier)", ["unknown filter 'clasifier'", "did you mean 'classifier'"]),
        ("method", "gan_synth(latent=normel)", ["unknown latent 'normel'", "did you mean 'normal'"]),
        ("baselines", ("nnoe",), ["unknown method 'nnoe'", "did you mean 'none'"]),
        ("baselines", ("('none', over)",), ["cannot be parsed"]),
        ("baselines", (5,), ["(got 5)", "config.baselines"]),
        ("cut.profile", "{10: 5}", ["no class 10", "classes 0 to 9"]),
        ("cut.profile", "{6: 7000}", ["class 6 has 10 rows", "7000"]),
        ("cut.profile", "exponental(factor=10)", ["did you mean 'exponential'"]),
        ("cut.draw", "frist", ["config.cut.draw must be one of first, random", "did you mean 'first'"]),
        ("gan.model", "s0_gan", ["config.gan.model must be one of", "(got 's0_gan')", "'s0_cgan'"]),
        ("gan.model", "s0_cnn", ["config.gan.model must be one of", "(got 's0_cnn')", "s0_cgan"]),
        ("classifier.model", "s0_cn", ["config.classifier.model must be one of", "(got 's0_cn')", "'s0_cnn'"]),
        ("gan.loss", "bces", ["config.gan.loss must be one of bce, hinge, wgan-gp, lsgan, relativistic", "did you mean 'bce'"]),
        ("gan.augment", "translation, cutuot", ["unknown augmentation 'cutuot'", "did you mean 'cutout'"]),
        ("gan.batches", "balance", ["config.gan.batches must be one of", "did you mean 'balanced'"]),
        ("gan.optimizer", "adamm", ["config.gan.optimizer must be one of", "(got 'adamm')", "did you mean 'adam'"]),
        ("classifier.optimizer", "sdg", ["config.classifier.optimizer must be one of", "(got 'sdg')", "did you mean 'sgd'"]),
        ("quality.optimizer", "adma", ["config.quality.optimizer must be one of", "(got 'adma')"]),
        ("classifier.schedule", "cosin", ["config.classifier.schedule must be one of", "did you mean 'cosine'"]),
        ("quality.schedule", "linear", ["config.quality.schedule must be one of", "(got 'linear')", "constant, cosine"]),
        ("conv", "fft", ["config.conv must be one of auto, gemm, lax (got 'fft')"]),
        ("parallel", "pamp", ["config.parallel must be one of", "(got 'pamp')", "'pmap'"]),
        ("lanes", "scan", ["config.lanes must be one of auto, vmap, loop (got 'scan')"]),
        ("data.name", "mnits", ["config.data.name must be one of", "(got 'mnits')", "did you mean 'mnist'"]),
        ("data.source", "embeded", ["unknown source 'embeded'", "did you mean 'embedded'"]),
        ("data.per_class", -1, ["config.data.per_class must be at least 0 (got -1)"]),
        ("data.dir", "/nowhere/at/all", ["/nowhere/at/all", "does not exist"]),
    ],
)
def test_a_wrong_value_is_refused(tmp_path, no_training, field, value, words):
    config = config_of()
    config.update_from_flattened_dict({field: value})
    message = refused(tmp_path / "run", config)
    assert all(word in message for word in words), message
    assert not (tmp_path / "run" / "config.json").exists()  # the mended command may use the workdir


@pytest.mark.parametrize(
    ("source", "name", "words"),
    [
        ("tfds", None, ["no MNIST prepared by TFDS"]),
        ("raw", None, ["no raw MNIST files"]),
        ("auto", "mnist/train-images-idx3-ubyte", ["train-images-idx3-ubyte", "damaged"]),
        ("auto", "tfds/mnist/3.0.1/mnist-train.array_record-00000-of-00001", ["mnist-train.array_record", "damaged"]),
    ],
)
def test_absent_and_damaged_data(tmp_path, no_training, source, name, words):
    folder = tmp_path / "data"
    folder.mkdir()
    if name:
        (folder / name).parent.mkdir(parents=True)
        for other in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
            (folder / name).with_name(f"{other}-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x09damaged")
        if "record" in name:
            for split in ("train", "test"):
                (folder / name.replace("train", split)).write_bytes(b"no record" * 99)
    message = refused(tmp_path / "run", config_of(data__source=source, data__dir=str(folder)))
    assert all(word in message for word in [str(folder), *words]), message


# --- the workdir ------------------------------------------------------------------------------------------------------


def test_a_workdir_that_cannot_be_made(tmp_path, no_training, monkeypatch):
    (tmp_path / "file").write_text("mine")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nothing/here")):
        message = refused(place, config_of())
        assert str(place) in message and "choose another folder" in message
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "is not writable" in refused(tmp_path, config_of())


def begun(workdir, **fields):
    """A workdir as an experiment leaves it right after its start."""
    config = config_of(**fields)
    experiment.check_workdir(config, workdir)
    experiment.write_run_files(training_set.prepare(config, workdir))
    return workdir


def test_a_workdir_of_another_experiment(tmp_path, no_training):
    workdir = begun(tmp_path)
    message = refused(workdir, config_of(seeds=3, classifier__epochs=9, gan__epochs=7))
    assert str(workdir) in message and "holds a different experiment" in message
    assert "config.gan.epochs is 3 there and 7 now" in message and "config.classifier.epochs is 3 there and 9 now" in message
    assert "config.seeds" not in message and "use another folder" in message


def test_a_workdir_begun_with_other_data(tmp_path, no_training, monkeypatch):
    workdir = begun(tmp_path)
    grown = embedded()._replace(digest="other", source="tfds")
    monkeypatch.setattr(context.data, "load", lambda *_, **__: grown)
    message = refused(workdir, config_of())
    assert "begun with other data (mnist from embedded, now mnist from tfds)" in message


def test_the_same_config_is_at_home_in_its_workdir(tmp_path):
    workdir = begun(tmp_path)
    kept = (workdir / "config.json").read_bytes()
    begun(workdir)
    assert (workdir / "config.json").read_bytes() == kept and json.loads(kept)["baselines"] == []
    assert json.loads((workdir / "environment.json").read_text())["data"]["source"] == "embedded"


def test_damaged_files_in_the_workdir_are_named(tmp_path, no_training):
    workdir = begun(tmp_path)
    (workdir / "rows.jsonl").write_text('{"seed": 0}\n{"se\n{"seed": 1}\n')
    assert f"{workdir / 'rows.jsonl'}: line 2 is damaged" in refused(workdir, config_of())
    for name in ("environment.json", "config.json"):
        (workdir / name).write_text('{"seeds": 2')
        assert f"{workdir / name} is damaged" in refused(workdir, config_of())


def test_a_full_disk_is_told(tmp_path, no_training, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    message = refused(tmp_path, config_of())
    assert "no space left" in message and "run the same command again" in message
    assert not list(tmp_path.glob("*.json"))


# --- launch.py --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "status", "words"),
    [
        (UserError("wrong"), 2, ["error: wrong"]),
        (OSError(errno.ENOSPC, "full", "/there/x.png"), 2, ["cannot write /there/x.png: No space left", "same command again"]),
        (OSError(errno.EDQUOT, "over"), 2, ["quota exceeded"]),
        (KeyboardInterrupt(), 130, ["interrupted", "the same command"]),
    ],
)
def test_problems_become_one_line(monkeypatch, capsys, tmp_path, problem, status, words):
    def run(config, workdir, stopping):
        raise problem

    values = parsed("--config=tests/small.py", f"--workdir={tmp_path}")
    monkeypatch.setattr(launch.flags, "FLAGS", values)
    monkeypatch.setattr(launch.environment, "enable_compilation_cache", lambda _: None)
    monkeypatch.setattr(experiment, "run", run)
    with pytest.raises(SystemExit) as end:
        launch.main([])
    out, err = capsys.readouterr()
    assert end.value.code == status and out == f"workdir: {tmp_path}\n"
    assert all(word in err for word in words) and err.count("\n") == 1, err


def test_other_problems_keep_their_traceback(monkeypatch, tmp_path):
    def run(config, workdir, stopping):
        raise OSError(errno.EIO, "broken disk")

    monkeypatch.setattr(launch.flags, "FLAGS", parsed("--config=tests/small.py", f"--workdir={tmp_path}"))
    monkeypatch.setattr(launch.environment, "enable_compilation_cache", lambda _: None)
    monkeypatch.setattr(experiment, "run", run)
    with pytest.raises(OSError, match="broken disk"):
        launch.main([])


def command(tmp_path, *argv):
    """launch.py as a user starts it, from a directory of their own."""
    whole = [sys.executable, str(ROOT / "launch.py"), f"--config={ROOT / 'tests' / 'small.py'}", *argv]
    return subprocess.run(whole, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)


def test_folders_of_a_report_may_have_commas_between(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b").mkdir()
    assert [launch._listed(text) for text in ("a", "a,b", "a,c", "a,c,")] == [["a"], ["a,b"], ["a", "c"], ["a", "c"]]


def test_exit_code_and_default_workdir(tmp_path):
    done = command(tmp_path, "--config.seeds=0")
    assert done.returncode == 2
    assert done.stderr == "error: config.seeds must be at least 1 (got 0)\n"
    (made,) = (tmp_path / "runs").iterdir()
    assert made.name.startswith("small-20") and done.stdout == f"workdir: {made}\n"


def test_exit_code_of_a_wrong_flag(tmp_path):
    done = command(tmp_path, "--config.sedes=2")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: unknown config field 'sedes'; did you mean 'seeds'")
    assert done.stderr.count("\n") == 1 and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "module", ["errno", "absl.app", "imbal_jax.runtime.environment", "imbal_jax.flags", "configs.mnist_cgan"]
)
def test_ctrl_c_during_the_imports(tmp_path, module):
    """A process that interrupts itself as soon as it imports the module."""
    program = f"""
        import importlib.abc, runpy, signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)
        class Finder(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path, target=None):
                if name == {module!r}:
                    signal.raise_signal(signal.SIGINT)
        sys.meta_path.insert(0, Finder())
        sys.modules.pop({module!r}, None)
        sys.path.insert(0, {str(ROOT)!r})
        sys.argv = ["launch.py", "--config={ROOT}/tests/small.py", "--workdir={tmp_path}/run"]
        runpy.run_path({str(ROOT / "launch.py")!r}, run_name="__main__")
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: stopped before anything was trained\n")
    assert not (tmp_path / "run").exists()


def test_a_lost_process_has_a_status_of_its_own(monkeypatch, capsys, tmp_path):
    def run(config, workdir, stopping):
        raise Lost("process 1 of 2 is lost")

    monkeypatch.setattr(launch.flags, "FLAGS", parsed("--config=tests/small.py", f"--workdir={tmp_path}"))
    monkeypatch.setattr(launch.environment, "enable_compilation_cache", lambda _: None)
    monkeypatch.setattr(experiment, "run", run)
    monkeypatch.setattr(launch.os, "_exit", sys.exit)
    with pytest.raises(SystemExit) as end:
        launch.main([])
    assert end.value.code == 6 and capsys.readouterr().err == "error: process 1 of 2 is lost\n"


def test_help(tmp_path):
    done = command(tmp_path, "--help")
    assert "--workdir" in done.stdout and "--config.seeds=8" in done.stdout and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--help_config"], "gan.epochs = 30"),
        (["--help_config=gan.epochs"], "gan.epochs = 30"),
        (["--help_config=data.rr", "--config=configs/ecg_gan.py"], "data.rr = False"),
        (["--help_config", "--config=configs/folder.py:x"], "data.test_share = 0.2"),
    ],
)
def test_help_of_config_fields_knows_the_data_set(words, said):
    values = absl_flags.FlagValues()
    define(values, ["launch.py", *words])
    parse(["launch.py", *words], values)
    assert said in launch.config_help(values)


def test_help_of_an_unknown_field_is_refused(capsys):
    values = absl_flags.FlagValues()
    define(values, ["launch.py", "--help_config=data.rr"])
    with pytest.raises(SystemExit):
        parse(["launch.py", "--help_config=data.rr"], values)
    assert "unknown config field 'data.rr'" in capsys.readouterr().err


def test_list_methods_needs_no_experiment(capsys):
    values = absl_flags.FlagValues()
    define(values, ["launch.py", "--list_methods"])
    parse(["launch.py", "--list_methods"], values)
    assert values["list_methods"].value
