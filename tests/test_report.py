"""The plots and the page, on a made-up run: three arms, some seeds, a failed lane, warnings, generator quality."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import jax
import numpy as np
import pytest

from imbal_jax.errors import UserError
from imbal_jax.evaluate import stats
from imbal_jax.evaluate.metrics import SCALARS
from imbal_jax.report import page, plots

ARMS = ("none", "over(to=5000)", "gan_synth(to=5000)")
NAMES = [str(i) for i in range(10)]
BEFORE = [5923, 6742, 5958, 6131, 5842, 5421, 100, 6265, 100, 100]
AFTER = [max(count, 5000) for count in BEFORE]
RARE_RECALL = {ARMS[0]: 0.68, ARMS[1]: 0.9, ARMS[2]: 0.6}


def row(arm: str, seed: int, rng: np.random.Generator) -> dict:
    aim = np.where(np.array(BEFORE) < 1000, RARE_RECALL[arm], 0.985) + rng.normal(0, 0.006, 10).clip(-0.01, 0.01)
    chances = np.where(np.eye(10) == 1, aim[:, None], (1 - aim[:, None]) / 9)
    matrix = np.stack([rng.multinomial(1000, chance) for chance in chances])
    recall = np.diag(matrix) / 1000
    metrics = {name: float(recall.mean()) for name in SCALARS} | {"mcc": 0.89, "ece": 0.041, "brier": 0.16, "nll": 0.42}
    gan = 212.0 if arm.startswith("gan") else 0.0
    return {
        "seed": seed, "method": arm, **metrics, **{f"recall_{i}": float(r) for i, r in enumerate(recall)},
        "confusion": matrix.tolist(), "seconds": 200.3 + gan, "gan_seconds": gan, "classifier_seconds": 200.3,
        "examples_seen": 570_000, "failed": None, "counts_before": BEFORE,
        "counts_after": BEFORE if arm == "none" else AFTER, "source": "tfds", "digest": "5b1f" * 16,
    }  # fmt: skip


def curves(seeds: int, epochs: int, rng: np.random.Generator) -> list[dict]:
    lines: list[dict] = []
    for seed in range(seeds):
        for epoch in range(1, epochs + 1):
            gan = {"d_loss": 0.68 + rng.normal(0, 0.02), "g_loss": 0.78 + rng.normal(0, 0.04)}
            gan |= {"d_real_accuracy": 0.6 + rng.normal(0, 0.03), "d_fake_accuracy": 0.55 + rng.normal(0, 0.03)}
            lines.append({"stage": "gan", "seed": seed, "epoch": epoch, **gan})
            for place, arm in enumerate(ARMS):
                loss = 2 * np.exp(-epoch / (2 + place)) + 0.05 * rng.random()
                line = {"stage": "classifier", "method": arm, "seed": seed, "epoch": epoch}
                lines.append(line | {"loss": loss, "accuracy": 0.9})
    return lines


def digits(n: int, rng: np.random.Generator) -> np.ndarray:
    """Rings and bars with noise, uint8 [10, n, 28, 28, 1]."""
    y, x = np.mgrid[:28, :28] - 13.5
    centre = rng.normal(0, 1.5, (10, n, 2, 1, 1))
    shift = np.hypot(y - centre[:, :, 0], (x - centre[:, :, 1]) * np.linspace(0.8, 2.5, 10)[:, None, None, None])
    image = 255 * np.exp(-((shift - 7) ** 2) / 4) + rng.normal(0, 10, shift.shape)
    return np.clip(image, 0, 255).astype(np.uint8)[..., None]


def fabricate(workdir: Path, seeds: int = 2, failed: bool = True, note: str = "", pictures: bool = True) -> Path:
    """A plausible run directory; the last seed of the over-sampling arm fails where there is more than one."""
    rng = np.random.default_rng(0)
    rows = [row(arm, seed, rng) for seed in range(seeds) for arm in ARMS]
    if failed and seeds > 1:
        lost = next(r for r in rows if r["seed"] == seeds - 1 and r["method"] == ARMS[1])
        empty = {name: None for name in lost if stats.is_metric(name)}
        lost |= empty | {"confusion": None, "failed": "the classifier's loss became NaN in epoch 4"}
    history = curves(seeds, 8, rng)
    message = "discriminator loss is at 0: <the generator> learns nothing"
    warnings = [{"stage": "warning", "seed": seed, "epoch": 6, "message": message} for seed in range(seeds)]
    quality = {"frechet": 12.3, "precision": 0.71, "recall": 0.32, "density": 0.64, "coverage": 0.41}
    quality |= {"nearest_train_mean": 4.61, "nearest_train_min": 2.02, "copies": 0.013}
    data = {"name": "mnist", "source": "tfds (array_record)", "digest": "5b1f" * 16, "class_names": NAMES, "note": note}
    results = {
        "name": "mnist_cgan", "data": data, "seeds": list(range(seeds)), "selection": "last step",
        "methods": stats.results(rows), "paired": stats.comparisons(rows, jax.random.key(0)),
        "generator": {name: {k: v * (1 + i / 40) for k, v in quality.items()} for i, name in enumerate(NAMES)},
        "generator_space": "dense layer of 128 of a classifier trained on the full real training set",
        "warnings": ["the cut was scaled to the data at hand"], "compile_seconds": 14.2,
    }  # fmt: skip
    config = {"method": ARMS[2], "seeds": seeds, "expected": {"source system, experiment 1": 0.8487}}
    environment = {"device": "2 CPU cores", "commit": "0123abc", "jax": "0.10.2"}
    workdir.mkdir(parents=True, exist_ok=True)
    for name, value in {"results": results, "config": config, "environment": environment}.items():
        (workdir / f"{name}.json").write_text(json.dumps(value, allow_nan=False))
    (workdir / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in rows))
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history + warnings))
    if pictures:
        draw(workdir / "plots", rows, history, rng)
    return workdir


def draw(folder: Path, rows: list[dict], history: list[dict], rng: np.random.Generator) -> None:
    folder.mkdir(exist_ok=True)
    rare = plots.minority(BEFORE)
    of = {arm: [r for r in rows if r["method"] == arm and r["confusion"]] for arm in ARMS}
    matrices = {arm: np.sum([r["confusion"] for r in lanes], axis=0) for arm, lanes in of.items()}
    recall = {arm: np.array([[r[f"recall_{i}"] for i in range(10)] for r in lanes]) for arm, lanes in of.items()}
    for epoch in (4, 8):
        name = f"samples_epoch_{epoch:03d}.png"
        plots.sample_grid(folder / name, digits(8, rng), digits(8, rng), NAMES, rare, f"MNIST, epoch {epoch}")
    plots.sample_grid(folder / "samples.png", digits(8, rng), digits(8, rng), NAMES, rare, "MNIST, end of training")
    plots.losses(folder / "losses.png", history)
    plots.confusion(folder / "confusion.png", matrices, NAMES)
    plots.recalls(folder / "recalls.png", recall, NAMES, rare)
    after = {arm: BEFORE if arm == "none" else AFTER for arm in ARMS}
    plots.class_counts(folder / "class_counts.png", BEFORE, after, NAMES)


class Reader(HTMLParser):
    """Collects what the page shows and what it would fetch, and checks that tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.shown = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "input", "br"):
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.shown += data if not {"style", "script"} & set(self.open) else ""


def read(workdir: Path) -> Reader:
    reader = Reader()
    reader.feed(page.write(workdir).read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def run_with_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fabricate(tmp_path_factory.mktemp("run"), note="5,000 images only")


def test_every_plot_is_a_picture(run_with_pictures):
    from PIL import Image

    for path in sorted((run_with_pictures / "plots").iterdir()):
        assert path.suffix == ".png"
        with Image.open(path) as image:
            assert min(image.size) > 300 and max(image.size) < 4000
            assert len(np.unique(np.asarray(image.convert("L")))) > 10


def test_the_page_stands_alone(run_with_pictures):
    reader = read(run_with_pictures)
    assert len(reader.links) == 7 and all(link.startswith("data:image/png;base64,") for link in reader.links)
    text = (run_with_pictures / "report.html").read_text()
    assert not re.search(r"https?://|@import|url\(", text) and "default-src 'none'" in text
    assert "None" not in reader.shown and "null" not in reader.shown.split("Configuration")[0]


def test_the_page_says_what_happened(run_with_pictures):
    shown = read(run_with_pictures).shown
    for text in (
        "gan_synth(to=5000) lost", "to doing nothing", "2 paired seeds", "source system, experiment 1 published",
        "84.87%", "570,000 examples",
        "over(to=5000), seed 1: the classifier's loss became NaN in epoch 4", "1 failed", "seeds 0, 1; epoch 6",
        "the cut was scaled", "<the generator> learns nothing", "5,000 images only", "tfds (array_record)", "5b1f5b1f",
        "last step", "dense layer of 128", "3 min 20 s", "GAN 3 min 32 s", "the best arm was over(to=5000)",
    ):  # fmt: skip
        assert text in shown, text


def test_one_seed_has_no_interval(tmp_path):
    shown = read(fabricate(tmp_path, seeds=1, pictures=False)).shown
    assert "one seed: no interval" in shown and "One seed: no interval, and no claim beyond this seed" in shown
    assert "None" not in shown and "p =" not in shown


@pytest.mark.parametrize(
    ("arm", "verdict", "words"),
    [
        ("over(to=5000)", "gain", "gained"),
        ("gan_synth(to=5000)", "loss", "lost"),
        ("none", "loss", "lost"),  # the baseline is compared with nothing: the last arm is taken
    ],
)
def test_headline_is_plain(tmp_path, arm, verdict, words):
    workdir = fabricate(tmp_path, seeds=8, failed=False, pictures=False)
    config = json.loads((workdir / "config.json").read_text()) | {"method": arm}
    (workdir / "config.json").write_text(json.dumps(config))
    found, sentence, detail = page.headline(page._read(workdir))
    assert found == verdict and words in sentence and "8 paired seeds" in detail


def test_headline_without_a_clear_difference(tmp_path):
    workdir = fabricate(tmp_path, seeds=4, pictures=False)
    rows = [json.loads(line) for line in (workdir / "rows.jsonl").read_text().splitlines()]
    for r in rows:
        r["balanced_accuracy"] = 0.9 + 0.01 * ((r["seed"] + (r["method"] == ARMS[2])) % 2)
    results = json.loads((workdir / "results.json").read_text())
    results |= {"methods": stats.results(rows), "paired": stats.comparisons(rows, jax.random.key(0))}
    (workdir / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (workdir / "results.json").write_text(json.dumps(results))
    verdict, sentence, _ = page.headline(page._read(workdir))
    assert verdict == "even" and "no clear difference" in sentence


def test_a_method_whose_every_seed_failed(tmp_path):
    workdir = fabricate(tmp_path, seeds=2, pictures=False)
    rows = [json.loads(line) for line in (workdir / "rows.jsonl").read_text().splitlines()]
    for r in (r for r in rows if r["method"] == ARMS[2]):
        r |= {name: None for name in r if stats.is_metric(name)} | {"confusion": None, "failed": "NaN"}
    results = json.loads((workdir / "results.json").read_text())
    results |= {"methods": stats.results(rows), "paired": stats.comparisons(rows, jax.random.key(0))}
    (workdir / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (workdir / "results.json").write_text(json.dumps(results))
    assert "every seed of it failed" in read(workdir).shown


def test_an_unfinished_run_is_reported_from_its_rows(tmp_path):
    workdir = fabricate(tmp_path, pictures=False)
    (workdir / "results.json").unlink()
    with (workdir / "rows.jsonl").open("a") as file:
        file.write('{"seed": 7, "meth')  # torn by a kill
    shown = read(workdir).shown
    assert "has not reached its end" in shown and "gan_synth(to=5000)" in shown


def test_text_of_the_run_is_escaped(tmp_path):
    workdir = fabricate(tmp_path, pictures=False)
    evil = "<script>alert(1)</script>"
    for name in ("results.json", "rows.jsonl", "metrics.jsonl", "config.json"):
        text = (workdir / name).read_text().replace("gan_synth(to=5000)", evil).replace("mnist", evil)
        (workdir / name).write_text(text.replace("source system", evil).replace("last step", evil))
    reader = read(workdir)
    assert evil in reader.shown
    assert (workdir / "report.html").read_text().count("<script>") == 1


def test_bad_files_are_named(tmp_path):
    with pytest.raises(UserError, match="neither results.json"):
        page.write(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(UserError, match="results.json is no JSON"):
        page.write(tmp_path)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.42, "0.4 s"), (45, "45 s"), (200.3, "3 min 20 s"), (7500, "2 h 05 min"), (3599.7, "1 h 00 min")],
)
def test_durations(seconds, text):
    assert page.duration(seconds) == text


def test_plots_take_edge_cases(tmp_path):
    rng = np.random.default_rng(0)
    plots.losses(tmp_path / "none.png", [])
    plots.losses(tmp_path / "nan.png", [{"stage": "gan", "seed": 0, "epoch": 1, "d_loss": float("nan"), "g_loss": 1.0}])
    plots.losses(tmp_path / "many.png", curves(32, 4, rng))
    plots.confusion(tmp_path / "empty_row.png", {"none": np.array([[3, 1], [0, 0]])}, ["a", "b"])
    many = [f"class {i}" for i in range(100)]
    plots.recalls(tmp_path / "many_classes.png", {"none": rng.random((2, 100))}, many, {1, 2})
    failed = {"none": np.full((2, 2), np.nan), "over": rng.random((1, 2))}
    plots.recalls(tmp_path / "failed.png", failed, ["a", "b"], set())
    plots.class_counts(tmp_path / "same.png", [5, 5], {"none": [5, 5]}, ["a", "b"])
    colour = rng.integers(0, 256, (2, 3, 8, 8, 3)).astype(np.uint8)
    plots.sample_grid(tmp_path / "colour.png", colour, None, ["a", "b"], {1}, "colour")
    assert len(list(tmp_path.iterdir())) == 8 and not list(tmp_path.glob("*.part"))


def test_minority_is_below_half_of_the_largest():
    assert plots.minority(BEFORE) == {6, 8, 9}
    assert plots.minority([10, 5, 4]) == {2}
