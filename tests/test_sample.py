"""Rows drawn from a checkpoint: the same bytes for the same call, their origin in every file, and one line for each mistake."""

import errno
import json
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags as absl_flags
from PIL import Image

import launch
from imbal_jax import arms, experiment
from imbal_jax.artifacts import checkpoint, json_files, point_file
from imbal_jax.data.dataset import Dataset, Rows
from imbal_jax.data.storage_types import kept
from imbal_jax.export import generator_checkpoints, samples
from imbal_jax.flags import define, parse
from imbal_jax.gan import sample
from imbal_jax.runtime.lanes import purpose
from imbal_jax.stages import context, gan_training, training_set
from tests import small
from tests.data_files import fails

# ml_collections loads config files by a way that Python has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
CHUNK = "checkpoints/seeds-0-1"
BEATS = {"class_names": ["N", "S", "V"], "counts": [9, 3, 2], "minority": [1, 2], "shape": [200, 1], "dtype": "int16"}


def weights(nets, lead, seed):
    """Random variables of the generator, leaves [*lead, ...]."""
    z, label = jnp.zeros((1, nets.latent)), jnp.zeros((1, nets.classes))
    like = jax.eval_shape(nets.generator.init, jax.random.key(0), z, label)
    rng = np.random.default_rng(seed)
    lowest = {"params": -0.4, "batch_stats": 0.1}  # a variance is positive
    return {
        part: jax.tree.map(lambda leaf, low=lowest[part]: rng.uniform(low, 0.4, (*lead, *leaf.shape)).astype(np.float32), tree)
        for part, tree in like.items()
    }


def begin(config, workdir):
    """A workdir as an experiment on ten black images of each digit leaves it right after its start."""
    y = np.repeat(np.arange(10, dtype=np.int32), 10)
    rows = Rows(np.zeros((100, 28, 28, 1), np.uint8), y, np.arange(100), np.arange(100))
    black = Dataset("black", "test", "0", tuple("0123456789"), rows, rows, 1 / 600, "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(context.data, "load", lambda *_, **__: black)
        begun = training_set.prepare(config, workdir)
    experiment.write_run_files(begun)
    point_file.write(begun.folder, begun.seeds, {})
    return begun


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The workdir of a conditional GAN on two seeds with checkpoints of epochs 3 and 6, and its networks."""
    config, workdir = small.get_config(), tmp_path_factory.mktemp("digits")
    begun = begin(config, workdir)
    nets = gan_training.nets_of(config, begun.task, "gemm")
    for epoch in (3, 6):
        state = {"generator": weights(nets, (2,), epoch)}
        checkpoint.save(begun.folder / "generator", epoch, state, {"epoch": epoch}, keep=9)
    return workdir, nets


@pytest.fixture(scope="module")
def beats(tmp_path_factory):
    """The workdir of a GAN for each rare class of signals, on one seed, saved by one of several processes."""
    config, workdir = small.get_config(), tmp_path_factory.mktemp("beats")
    config.gan.model, config.gan.classes, config.gan.latent = "s1_gan", "minority", 12
    config.conv = "lax"  # compiles sooner
    json_files.write_json(workdir / "config.json", config.to_dict())
    json_files.write_json(workdir / "environment.json", {"data": BEATS})
    point_file.write(workdir / "checkpoints" / "seeds-4", (4,), {})
    nets = gan_training.nets_of(
        *generator_checkpoints._described(workdir / "checkpoints" / "seeds-4" / "generator")[1:3], "gemm"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "process_count", lambda: 2)
        state = {"generator": weights(nets, (1, 2), 0)}
        checkpoint.save(workdir / "checkpoints" / "seeds-4" / "generator", 1, state, {"epoch": 1})
    return workdir


@pytest.fixture
def copy(digits, tmp_path):
    """A workdir of its own to spoil."""
    return shutil.copytree(digits[0], tmp_path / "copy")


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image, np.int32)


def one(digits, epoch, seed):
    """The variables of one seed, as they were saved."""
    workdir, nets = digits
    like = {"generator": weights(nets, (2,), 0)}
    folder = workdir / CHUNK / "generator"
    record = checkpoint._read_record(folder / str(epoch))
    state = checkpoint._read(folder / str(epoch), record["leaves"], like, ())
    return jax.tree.map(lambda leaf: leaf[seed], state["generator"])


# --- pictures -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pictures(digits, tmp_path_factory):
    out = tmp_path_factory.mktemp("pictures")
    assert samples.draw(samples.Wanted(digits[0], out, ("8, 4", "8"), 3)) == out
    return out


def test_the_files_of_the_classes(pictures):
    assert sorted(bytes_of(pictures)) == sorted([f"{k}_000{i}.png" for k in (4, 8) for i in range(3)] + ["grid.png"])


def test_each_tells_where_it_is_from(digits, pictures):
    digest = generator_checkpoints.digest(one(digits, 6, 0))
    with Image.open(pictures / "8_0002.png") as image:
        expected = {"model": "s0_cgan", "seed": "0", "epoch": "6", "digest": digest, "latent_seed": "0"}
        assert image.text == {**expected, "class": "8", "number": "2"} and (image.mode, image.size) == ("L", (28, 28))


def test_rows_are_the_generator_s(digits, pictures):
    nets, key = digits[1], jax.random.fold_in(purpose(jax.random.key(0), "drawing"), 8)
    z = jnp.stack([jax.random.normal(jax.random.fold_in(key, i), (nets.latent,)) for i in range(3)])
    rows = jax.jit(nets.generator.apply)(one(digits, 6, 0), z, jax.nn.one_hot(jnp.full(3, 8), 10))
    for i, row in enumerate(np.asarray(kept(rows, jnp.uint8), np.int32)):
        assert np.abs(pixels(pictures / f"8_000{i}.png") - row[..., 0]).max() <= 1 and 0 < row.mean() < 255


def test_the_same_call_gives_the_same_bytes_and_more_rows_begin_with_them(digits, pictures, tmp_path, capsys):
    folder = digits[0] / CHUNK / "generator" / "6"
    samples.draw(samples.Wanted(folder, tmp_path / "again", ("4", "8"), 3))
    assert bytes_of(tmp_path / "again") == bytes_of(pictures)
    samples.draw(samples.Wanted(digits[0], tmp_path / "more", ("8",), samples.BATCH + 2))
    more = bytes_of(tmp_path / "more")
    assert more["8_0002.png"] == bytes_of(pictures)["8_0002.png"] and len(more) == samples.BATCH + 3
    assert len({pixels(tmp_path / "more" / f"8_{i:04d}.png").tobytes() for i in range(len(more) - 1)}) == len(more) - 1
    assert "note" not in capsys.readouterr().out
    samples.draw(samples.Wanted(digits[0], tmp_path / "more", ("8",), 1, seed=1))
    assert f"also holds {samples.BATCH + 1} pictures of earlier calls" in capsys.readouterr().out


def test_other_seeds_epochs_and_latents_give_other_rows(digits, pictures, tmp_path):
    first = pixels(pictures / "4_0000.png")
    for number, options in enumerate(({"seed": 1}, {"epoch": 3}, {"latent_seed": 5})):
        samples.draw(samples.Wanted(digits[0], tmp_path / str(number), ("4",), 1, **options))
        assert not np.array_equal(pixels(tmp_path / str(number) / "4_0000.png"), first)
    with Image.open(tmp_path / "0" / "4_0000.png") as image:
        assert (image.text["seed"], image.text["digest"]) == ("1", generator_checkpoints.digest(one(digits, 6, 1)))


def test_a_full_disk_leaves_no_half_file(digits, tmp_path, monkeypatch, capsys):
    def full(file, row, texts):
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(samples, "_save_png", full)
    error = told(monkeypatch, capsys, f"--sample={digits[0]}", "--class=4", f"--out={tmp_path / 'out'}")
    assert f"cannot write {tmp_path / 'out' / '4_0000.png'}: No space left" in error
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(("own", "epochs", "told"), [(False, [6, 3], 3), (True, [[6, 3]], "S 6, V 3")])
def test_what_was_chosen_is_drawn_from(copy, beats, tmp_path, digits, own, epochs, told):
    """Its folder lies beside the checkpoints; an epoch that is asked for comes before it."""
    run = shutil.copytree(beats, tmp_path / "beats") if own else copy
    folder = next(run.rglob("generator"))
    nets = generator_checkpoints.load(run).nets
    state = {"generator": weights(nets, (1, 2) if own else (2,), 9)}
    checkpoint.save(folder.with_name("chosen"), 6, state, {"epochs": epochs})
    found = generator_checkpoints.load(run, seed=None if own else 1)
    assert found.epoch == told
    place = 0 if own else 1
    for mine, theirs in zip(jax.tree.leaves(found.variables), jax.tree.leaves(state["generator"]), strict=True):
        np.testing.assert_array_equal(mine, theirs[place])
    newest = checkpoint.steps(folder)[-1]
    assert (
        generator_checkpoints.load(run, epoch=newest).epoch == newest == generator_checkpoints.load(folder / str(newest)).epoch
    )


def test_the_digest_is_of_names_types_shapes_and_values():
    tree = {"b": np.arange(4, dtype=np.float32), "a": {"c": np.float32(1.0)}}
    same = {"a": {"c": jnp.float32(1.0)}, "b": np.arange(4, dtype=">f4")}
    others = ({**tree, "b": tree["b"].reshape(2, 2)}, {**tree, "b": tree["b"] + 1}, {"d": tree["b"], "a": tree["a"]})
    assert generator_checkpoints.digest(tree) == generator_checkpoints.digest(same)
    assert len({generator_checkpoints.digest(tree), *map(generator_checkpoints.digest, others)}) == 4


def test_what_files_are_called():
    assert samples.file_stems(["T-shirt/top", "Bag"]) == ["T-shirt_top", "Bag"]
    assert samples.file_stems(["a b", "a/b", "c"]) == ["0-a_b", "1-a_b", "2-c"]
    assert samples.file_stems(["a", "A"]) == ["0-a", "1-A"]
    assert samples.file_stems(["猫", "x"]) == ["0", "1-x"]


# --- arrays -------------------------------------------------------------------------------------------------------------


def test_signals_of_classes_with_a_gan_each(beats, tmp_path):
    for name in ("a", "b"):
        samples.draw(samples.Wanted(beats, tmp_path / name, each=5))
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    assert sorted(bytes_of(tmp_path / "a")) == ["grid.png", "samples.npz"]
    file = np.load(tmp_path / "a" / "samples.npz", allow_pickle=False)
    assert file["x"].shape == (10, 200, 1) and file["x"].dtype == np.int16 and file["y"].tolist() == [1] * 5 + [2] * 5
    assert file["class_names"].tolist() == ["N", "S", "V"] and not np.array_equal(file["x"][:5], file["x"][5:])
    generator = generator_checkpoints.load(beats)
    assert json.loads(str(file["metadata"])) == samples.origin(generator, 0)
    assert (generator.seed, generator.epoch) == (4, 1) and sample.drawable(generator.nets) == (1, 2)
    samples.draw(samples.Wanted(beats, tmp_path / "c", ("V",), each=2))  # a class's rows are the same beside others and alone
    assert np.array_equal(np.load(tmp_path / "c" / "samples.npz")["x"], file["x"][5:7])


# --- which generator ----------------------------------------------------------------------------------------------------


def wrong(*words, folder, classes=(), **options):
    with fails(*words):
        samples.labels_of(classes, generator_checkpoints.load(folder, **options))


def test_folders_without_a_checkpoint(digits, tmp_path):
    wrong(tmp_path / "nothing", "is not a folder", "a folder that contains 'generator'", folder=tmp_path / "nothing")
    wrong(tmp_path, "has none", folder=tmp_path)
    wrong("generator/9 is not a folder", folder=digits[0] / CHUNK / "generator" / "9")
    (tmp_path / "generator").mkdir()
    shutil.copytree(digits[0] / CHUNK / "generator" / "3", tmp_path / "generator" / "3")
    wrong(f"{tmp_path} has no point.json (an earlier version wrote none)", '{"seeds": [0, 1], "point": ', folder=tmp_path)
    point_file.write(tmp_path, (0, 1), {})
    wrong("no folder above it has a config.json", folder=tmp_path)
    (tmp_path / "point.json").write_text('{"seeds": [0, -1], "point": {}}')
    wrong(f"{tmp_path / 'point.json'} is damaged ('seeds' is [0, -1])", folder=tmp_path)


def test_seeds_and_epochs_that_are_not_there(digits):
    for folder in (digits[0], digits[0] / CHUNK / "generator" / "3"):
        wrong("no generator of seed 7", "its seeds are 0-1", folder=folder, seed=7)
    wrong("no checkpoint of epoch 4", "its epochs are 3,6", folder=digits[0], epoch=4)
    wrong("--epoch=6", "is epoch 3", folder=digits[0] / CHUNK / "generator" / "3", epoch=6)


def test_classes_that_cannot_be_drawn(digits, beats):
    wrong("unknown class '44' (--class); did you mean '4'?", "0, 1, 2", folder=digits[0], classes=("4,44",))
    wrong("unknown class 'F'", "N, S, V", folder=beats, classes=("F",))
    wrong("class 'N' has no GAN in this run", "the classes with a GAN are S, V", folder=beats, classes=("S", "N"))
    with fails("--format=png needs images", "(200, 1)", "--format=npz"):
        samples.draw(samples.Wanted(beats, format="png"))
    with fails("--out=/proc/nothing/here cannot be created", "choose another folder"):
        samples.draw(samples.Wanted(beats, Path("/proc/nothing/here")))
    assert not (beats / "samples").exists()


def test_several_trainings(copy):
    shutil.copytree(copy / CHUNK, copy / "checkpoints" / "seeds-2,5")
    point_file.write(copy / "checkpoints" / "seeds-2,5", (2, 5), {})
    wrong("several trainings", "--seed", "checkpoints/seeds-0-1; checkpoints/seeds-2,5", folder=copy)
    assert generator_checkpoints.load(copy, seed=5).seed == 5
    assert generator_checkpoints.load(copy / "checkpoints" / "seeds-2,5").seed == 2
    wrong("no generator of seed 3", "its seeds are 0-2,5", folder=copy, seed=3)


def test_a_point_of_a_sweep_has_its_own_network(copy, digits):
    """Texts stay texts, with commas in them; the folder's name says nothing."""
    point = {"gan.latent": 6, "gan.loss": "hinge", "gan.augment": "translation, cutout", "gan.r1": 1e-05}
    folder = copy / CHUNK / "any name"
    nets = digits[1]._replace(latent=6, generator=digits[1].generator.clone(latent=6))
    checkpoint.save(folder / "generator", 2, {"generator": weights(nets, (2,), 0)}, {})
    point_file.write(folder, (3, 4), point)
    generator = generator_checkpoints.load(folder, seed=4)
    assert (generator.nets.latent, generator.nets.r1, generator.nets.augment) == (6, 1e-05, ("translation", "cutout"))
    assert (generator.seed, generator.epoch, generator.run) == (4, 2, copy)
    config = generator_checkpoints._described(folder / "generator")[1]
    assert config.gan.to_dict() == arms.at(small.get_config(), point.items()).gan.to_dict() and config.gan.loss == "hinge"
    samples.draw(samples.Wanted(folder, copy / "drawn", ("4",), 1))
    assert (copy / "drawn" / "4_0000.png").is_file()
    point_file.write(folder, (3, 4), {"gan.latency": 6})
    wrong("config.json", "latency", folder=folder)


# --- files that do not fit ----------------------------------------------------------------------------------------------


def rewrite(path, change):
    content = json_files.read_json(path)
    change(content)
    json_files.write_json(path, content)


def test_a_checkpoint_of_another_network(copy):
    rewrite(copy / "config.json", lambda config: config["gan"].update(g_width=0.2))
    kernel = "generator/params/ConvTranspose_0/kernel: (2, 4, 4, 14, 13) in the checkpoint, (2, 4, 4, 14, 26) expected"
    wrong("a checkpoint of another network", kernel, folder=copy)
    rewrite(copy / "config.json", lambda config: config["gan"].update(model="s1_gan"))
    wrong("a checkpoint of another network", "nothing in the checkpoint", folder=copy)
    rewrite(copy / "config.json", lambda config: config["gan"].update(model="s9_gan"))
    wrong("config.gan.model must be one of", folder=copy)
    rewrite(copy / "config.json", lambda config: [config["gan"].update(model="s0_cgan"), config["gan"].pop("loss")])
    wrong("config.json is not a config of this version", "loss", folder=copy)


def test_rows_of_another_shape_than_the_data(beats, tmp_path):
    copy = shutil.copytree(beats, tmp_path / "copy")
    rewrite(copy / "config.json", lambda config: config["gan"].update(latent=13))  # no array depends on it
    wrong("generates rows of shape (201, 1), and the data has (200, 1)", folder=copy)


def test_files_that_are_damaged_or_lack_something(copy):
    path = copy / CHUNK / "generator" / "6" / "record.json"
    path.write_text(path.read_text().replace("epoch", "epocH"))
    wrong(f"{path.parent}: the checkpoint is damaged: record.json is altered", "choose another one (3)", folder=copy)
    assert generator_checkpoints.load(copy, epoch=3).epoch == 3
    shutil.rmtree(copy / CHUNK / "generator" / "3")
    wrong("is damaged", "there is no other one", folder=copy)
    rewrite(copy / "environment.json", lambda content: content["data"].pop("shape"))
    wrong("environment.json lacks shape of the data", "start the run's own command once more", folder=copy)
    (copy / "environment.json").unlink()
    wrong("environment.json", "No such file", folder=copy)


def test_an_older_run_started_again_gets_what_its_environment_lacks(copy):
    whole = json_files.read_json(copy / "environment.json")
    rewrite(copy / "environment.json", lambda content: [content["data"].pop(name) for name in ("shape", "dtype")])
    begin(small.get_config(), copy)
    assert json_files.read_json(copy / "environment.json") == whole and whole["data"]["shape"] == [28, 28, 1]


def test_weights_that_are_not_finite(copy, digits):
    state = weights(digits[1], (2,), 0)
    state["params"]["Conv_0"]["bias"][1] = np.nan
    checkpoint.save(copy / CHUNK / "generator", 9, {"generator": state}, {}, keep=9)
    assert generator_checkpoints.load(copy).epoch == 9
    wrong("the generator of seed 1 has weights that are not finite", folder=copy, seed=1)


# --- the command line ---------------------------------------------------------------------------------------------------


def told(monkeypatch, capsys, *argv):
    """The line that a command line prints when it exits with status 2."""
    values = absl_flags.FlagValues()
    define(values, ["launch.py", *argv])
    monkeypatch.setattr(launch.flags, "FLAGS", values)
    monkeypatch.setattr(launch.environment, "enable_compilation_cache", lambda _: None)
    with pytest.raises(SystemExit) as end:
        launch.main(parse(["launch.py", *argv], values))
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.startswith("error: ") and error.count("\n") == 1, error
    return error


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--sample=/nowhere/at/all"], ["/nowhere/at/all is not a folder"]),
        (["--sample="], ["--sample needs a folder"]),
        (["--sample=x", "--count=0"], ["error: flag --count=0"]),
        (["--sample=x", "--count=many"], ["error: flag --count=many"]),
        (["--sample=x", "--format=jpg"], ["error: flag --format=jpg", "png|npz"]),
        (["--sample=x", "y"], ["unknown argument 'y'"]),
        (["--sample=x", "--workdir=y"], ["--workdir cannot be combined with --sample: give the output folder as --out"]),
        (["--sample=x", "--config=tests/small.py"], ["--config cannot be combined with --sample"]),
        (["--sample=x", "--config.seeds=2"], ["config"]),
        (["--class=4"], ["error: --class needs --sample=DIR"]),
        (["--config=tests/small.py", "--seed=4"], ["error: --seed needs --sample=DIR"]),
    ],
)
def test_a_wrong_command_line_is_explained(monkeypatch, capsys, argv, words):
    error = told(monkeypatch, capsys, *argv)
    assert all(word in error for word in words), error


def test_the_whole_command(digits, beats, tmp_path, monkeypatch, capsys):
    argv = ["launch.py", f"--sample={beats}", "--class=S", "--class", "V", "--count=2", "--latent_seed=3", f"--out={tmp_path}"]
    values = absl_flags.FlagValues()
    define(values, argv)
    monkeypatch.setattr(launch.flags, "FLAGS", values)
    monkeypatch.setattr(launch.environment, "enable_compilation_cache", lambda _: None)
    launch.main(parse(argv, values))
    out, err = capsys.readouterr()
    assert out.endswith(f"drawing: 2 of each of S, V\nsamples: {tmp_path}\n") and not err
    with np.load(tmp_path / "samples.npz") as file:
        assert file["x"].shape == (4, 200, 1) and json.loads(str(file["metadata"]))["latent_seed"] == 3
