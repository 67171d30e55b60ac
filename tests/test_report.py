"""The plots and the page, on made-up runs: three arms, some seeds, a failed lane, warnings, generator quality; and joins."""

import json
import re
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from imbal_jax.artifacts import json_files
from imbal_jax.errors import UserError
from imbal_jax.evaluate import stats
from imbal_jax.evaluate.metrics import SCALARS
from imbal_jax.report import (
    analyses,
    build,
    charts,
    formats,
    grids,
    headline,
    plots,
    precision_recall,
    run,
    sections,
    style,
    terminal_table,
)
from imbal_jax.report.run import Run, analysed
from imbal_jax.report.run import read as read_run

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
    precisions = np.sort(rng.uniform(aim[:, None] - 0.3, 1, (10, 20)), axis=1)[:, ::-1]
    gan = 212.0 if arm.startswith("gan") else 0.0
    return {
        "seed": seed, "method": arm, **metrics, **{f"recall_{i}": float(r) for i, r in enumerate(recall)},
        **{f"pr_auc_{i}": float(p.mean()) for i, p in enumerate(precisions)},
        "confusion": matrix.tolist(), "pr_curve": precisions.tolist(), "seconds": 200.3 + gan, "gan_seconds": gan,
        "classifier_seconds": 200.3, "examples_seen": 570_000, "failed": None, "counts_before": BEFORE,
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


def fabricate(
    workdir: Path, seeds: int = 2, failed: bool = True, note: str = "", arms: tuple[str, ...] = ARMS, samples: bool = False
) -> Path:
    """A plausible run directory; the last seed of the over-sampling arm fails where there is more than one."""
    rng = np.random.default_rng(0)
    rows = [row(arm, seed, rng) for seed in range(seeds) for arm in arms]
    if failed and seeds > 1:
        lost = next(r for r in rows if r["seed"] == seeds - 1 and r["method"] == ARMS[1])
        empty = {name: None for name in lost if stats.is_metric(name)}
        lost |= empty | {"confusion": None, "failed": "the classifier's loss became NaN in epoch 4"}
    message = "discriminator loss is at 0: <the generator> learns nothing"
    history = curves(seeds, 8, rng)
    history += [{"stage": "warning", "seed": seed, "epoch": 6, "message": message} for seed in range(seeds)]
    quality = {"frechet": 12.3, "precision": 0.71, "recall": 0.32, "density": 0.64, "coverage": 0.41}
    quality |= {"nearest_train_mean": 4.61, "nearest_train_min": 2.02, "copies": 0.013}
    data = {"name": "mnist", "source": "tfds (array_record)", "digest": "5b1f" * 16, "class_names": NAMES, "note": note}
    files = {
        "environment": {
            "device_kind": "cpu", "commit": "0123abc", "command": "python launch.py --config=configs/mnist_cgan.py",
            "data": data | {"counts": BEFORE, "minority": [6, 8, 9]},
            "generator_space": "dense layer of 128 of a classifier trained on the full real training set",
        },
        "generator": {name: {k: v * (1 + i / 40) for k, v in quality.items()} for i, name in enumerate(NAMES)},
        "config": {
            "name": "mnist_cgan", "method": arms[-1], "baselines": arms[:-1], "seeds": seeds, "seed": 0,
            "expected": {"source system, experiment 1": 0.8487}, "classifier": {"epochs": 8},
        },
    }  # fmt: skip
    for name, value in files.items():
        json_files.write_json(workdir / f"{name}.json", value)
    rewrite(workdir, rows, history)
    if samples:
        (workdir / "plots").mkdir()
        rare = plots.minority(BEFORE)
        for name, title in {"samples_epoch_004": "epoch 4", "samples_epoch_008": "epoch 8", "samples": "end"}.items():
            grids.sample_grid(workdir / "plots" / f"{name}.png", digits(8, rng), digits(8, rng), NAMES, rare, title)
    return workdir


def rewrite(workdir: Path, rows: list[dict], history: list[dict] | None = None) -> None:
    for name, lines in {"rows": rows, "metrics": history}.items():
        if lines is not None:
            (workdir / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def configure(workdir: Path, **fields: object) -> Path:
    json_files.write_json(workdir / "config.json", json_files.read_json(workdir / "config.json") | fields)
    return workdir


def analyse(workdir: Path) -> Run:
    run = read_run(workdir)
    return run._replace(results=analysed(run, {}))


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """No plot is drawn: they take most of the time."""
    monkeypatch.setattr(build, "_draw", lambda run: None)


def enrich(workdir: Path) -> Path:
    """The run with what only some runs have: epochs, train-test duplicates, published results, files left out."""
    rows = json_files.read(workdir / "rows.jsonl")
    for r in rows:
        duplicates = {
            f"{name}_with_twins": None if r[name] is None else r[name] + 0.01 for name in ("accuracy", "balanced_accuracy")
        }
        r |= {**duplicates, "epoch_seconds": 0.1234 + r["seed"] / 100, "epoch_selected": 8 - r["seed"]}
    rewrite(workdir, rows)
    expected = {
        "a paper": {"accuracy": 0.8123, "macro_f1": 0.7777, "arm": "over( to=5000 )"},
        "a third": {"balanced_accuracy": 0.9001, "arm": "smote"},
    }
    chosen = {"epochs": 8, "select": "best", "select_by": "balanced_accuracy", "patience": 3, "ema": 0.99}
    configure(workdir, expected={"source system, experiment 1": 0.8487} | expected, classifier=chosen)
    environment = json_files.read_json(workdir / "environment.json")
    environment["data"]["left_out"] = [f"cats/<{i}>.jpg: truncated" for i in range(1234)]
    json_files.write_json(workdir / "environment.json", environment)
    (workdir / "plots").mkdir(exist_ok=True)
    for arm in ("over(to=5000)", "an arm of another run"):
        images = list(digits(1, np.random.default_rng(1))[:9, 0])
        blocks = [grids.Block("before", images, NAMES[:9]), grids.Block("after", images, ["0.73 Sneaker\n+ 0.27 Bag"] * 9)]
        path = workdir / "plots" / f"transformed-{style.slug(arm)}.png"
        grids.transformed(path, arm, {"images in the training step": blocks})
    return workdir


class Reader(HTMLParser):
    """Collects what the page shows and what it would fetch, and checks that tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.shown = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "input", "br", "wbr", "link"):
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.shown += data if not {"style", "script"} & set(self.open) else ""


def parsed(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with its report."""
    workdir = fabricate(tmp_path_factory.mktemp("run"), note="5,000 images only", samples=True)
    build.build(workdir, {"compile_seconds": 14.2})
    return workdir


def test_every_plot_is_a_picture(whole):
    from PIL import Image

    for path in sorted((whole / "plots").iterdir()):
        assert path.suffix == ".png"
        with Image.open(path) as image:
            assert min(image.size) > 300 and max(image.size) < 4000
            assert len(np.unique(np.asarray(image.convert("L")))) > 10


def test_the_page_stands_alone(whole):
    reader = parsed(whole / "report.html")
    pictures = [link for link in reader.links if link.startswith("data:image/png;base64,")]
    assert len(pictures) == 8 and len(reader.links) == 9 and "data:," in reader.links
    text = (whole / "report.html").read_text()
    assert not re.search(r"https?://|@import|url\(", text) and "default-src 'none'" in text
    assert "None" not in reader.shown.split("Configuration")[0] and "null" not in reader.shown.split("Configuration")[0]


def test_the_page_says_what_happened(whole):
    shown = parsed(whole / "report.html").shown
    for text in (
        "gan_synth(to=5000) reached", ", no balancing ", "2 paired seeds", "source system, experiment 1 published",
        "84.87%", "570,000", "Recall of 8", "PR-AUC of 6", "PR-AUC of 8", "undecided", "ROC AUC",
        "no verdict possible with 2 seeds and 2 comparisons: add --config.seeds=7, same workdir",
        "±0.2 points", "python launch.py --config=configs/mnist_cgan.py",
        "over(to=5000), seed 1: the classifier's loss became NaN in epoch 4", "1 failed", "seeds 0, 1; epoch 6",
        "<the generator> learns nothing", "5,000 images only", "tfds (array_record)", "5b1f5b1f", "14 s",
        "last step", "dense layer of 128", "3 min 20 s", "GAN 3 min 32 s", "the best arm was over(to=5000)",
    ):  # fmt: skip
        assert text in shown, text


def test_results_are_built_from_the_files_alone(whole, undrawn):
    before = json_files.read_json(whole / "results.json")
    assert before["selection"] == "last step" and before["metric"] == "balanced_accuracy" and before["baseline"] == "none"
    assert [warning["seed"] for warning in before["warnings"]] == [0, 1]
    assert list(before["methods"]) == list(ARMS) and before["data"]["class_names"] == NAMES
    build.build(whole)  # without what compiling cost, which is kept
    assert json_files.read_json(whole / "results.json") == before


def test_what_only_some_runs_have_is_shown(tmp_path, undrawn):
    reader = parsed(build.build(enrich(fabricate(tmp_path))))
    shown = reader.shown.split("Configuration")[0]
    for text in (
        "s per epoch", "0.128", "Epoch selected", "7.5", "accuracy with train-test duplicates",
        "balanced accuracy with train-test duplicates", "test set without train-test duplicates",
        "best epoch by balanced accuracy on the validation rows, stopped after 3 epochs without improvement, moving average",
        "Files left out", "1,234 files could not be read", "cats/<49>.jpg: truncated", "and 1,184 more",
        "What the network sees", "Recall by frequency", "Many-shot (7 classes)", "Medium-shot (3 classes)", "20 to 100",
    ):  # fmt: skip
        assert text in shown, text
    assert "cats/<50>.jpg" not in shown and "Few-shot" not in shown and "None" not in shown
    assert sum(link.startswith("data:image/png") for link in reader.links) == 1  # of the arm that this run has
    results = json_files.read_json(tmp_path / "results.json")
    over = results["methods"][ARMS[1]]
    assert over["epoch_seconds"] == pytest.approx(0.1284) and over["epoch_selected"] == 7.5
    assert over["metrics"]["accuracy_with_twins"]["n"] == 1  # the other seed failed
    assert over["shots"]["medium"]["mean"] == pytest.approx(RARE_RECALL[ARMS[1]], abs=0.03)
    assert list(over["shots"]) == ["many", "medium"]
    title = " ".join(terminal_table.text(results).split())  # it goes on in a second line
    assert "test set without train-test duplicates, best epoch by" in title


def test_what_a_run_lacks_is_not_shown(whole):
    shown = parsed(whole / "report.html").shown
    for text in ("s per epoch", "Epoch selected", "train-test duplicates", "Files left out", "What the network sees"):
        assert text not in shown, text


def test_a_published_figure_stands_beside_our_arm_of_the_same_spec(tmp_path, undrawn):
    html = build.build(enrich(fabricate(tmp_path))).read_text(encoding="utf-8")
    first = html[html.index("<tbody>") : html.index("</tbody>")].split("<tr>")[1:]
    ours, apart = next(r for r in first if "over(to=5000)" in r), next(r for r in first if "a third" in r)
    assert "published 81.23%" in ours and "a paper: macro F1 77.77%" in ours
    assert "90.01%" in apart and "smote" in apart and "84.87%" in first[-2]
    assert len(first) == len(ARMS) + 2 and html.count('class="theirs"') == 1
    assert "Rings: published results" in html


@pytest.mark.parametrize("entry", ["0.9", {}, {"arm": "none"}, {"accuracy": "high"}, True])
def test_a_published_figure_of_another_form_is_refused(entry):
    with pytest.raises(UserError, match=r"config.expected\['a paper'\] is .* give an accuracy"):
        run.published({"expected": {"a paper": entry}})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "last step"),
        ({"select": "last", "patience": 0, "ema": 0.0}, "last step"),
        ({"select": "last", "ema": 0.999}, "last step, moving average of the weights (0.999)"),
        ({"select": "best", "select_by": "loss"}, "best epoch by loss on the validation rows"),
    ],
)
def test_the_state_that_is_evaluated_is_named(options, words):
    usual = {"select": "last", "select_by": "balanced_accuracy", "patience": 0, "ema": 0.0}
    assert run.selection({"classifier": usual | options}) == words


@pytest.mark.parametrize(
    ("counts", "kinds"),
    [
        ([500, 101, 100, 20, 19, 0], {"many": [0, 1], "medium": [2, 3], "few": [4, 5]}),
        ([500, 300, 2], {"many": [0, 1], "few": [2]}),
        ([500, 101], {}),
        ([], {}),
    ],
)
def test_classes_by_their_frequency(whole, counts, kinds):
    found = read_run(whole)
    assert run.shots(found._replace(data=found.data | {"counts": counts})) == kinds


def test_an_older_run_lacks_fields(tmp_path, undrawn):
    workdir = fabricate(tmp_path)
    rewrite(workdir, [*json_files.read(workdir / "rows.jsonl"), row("none", 0, np.random.default_rng(0)) | {"method": "smote"}])
    for name in ("config.json", "environment.json", "generator.json", "metrics.jsonl"):
        (workdir / name).unlink()
    build.build(workdir)
    results = json_files.read_json(workdir / "results.json")
    assert results["data"]["class_names"] == NAMES and results["data"]["minority"] == [6, 8, 9]
    assert list(results["methods"]) == [*ARMS, "smote"] and results["data"]["source"] == "tfds"


def test_the_table_fits_a_terminal(tmp_path, undrawn):
    results = analyse(fabricate(tmp_path, seeds=3)).results
    assert max(map(len, terminal_table.text(results).splitlines())) <= 80
    long = "gan_synth(to=5000, latent=uniform, filter=classifier) | mixup(alpha=0.2) | logit_adjust(tau=1.5) [gan.ema=0.999]"
    names = dict(zip(ARMS, ("none", long, long + "9"), strict=True))
    for part in ("methods", "paired"):
        results[part] = {names[arm]: found for arm, found in results[part].items()}
    lines = terminal_table.text(results).splitlines()
    assert max(map(len, lines)) <= 80
    whole = " ".join(" ".join(lines).split())
    assert f"[1] {long}" in whole and f"[2] {long}9" in whole  # in full below
    assert sum(line.startswith("gan_synth(to=50... [1] ") for line in lines) == 3  # two blocks of columns, the verdict
    of_metric = results["methods"][long]["metrics"]
    for name in ("balanced_accuracy", "macro_f1", "ece"):  # no figure is left out
        assert f"{100 * of_metric[name]['mean']:.2f} ± " in whole
    assert terminal_table.shortened(["short", "x" * 12], 10) == (
        {"short": "short", "x" * 12: "xxx... [1]"},
        [f"[1] {'x' * 12}"],
    )


def test_the_table_is_sorted_by_the_chosen_metric(tmp_path, undrawn):
    workdir = fabricate(tmp_path, seeds=3, failed=False)
    order = [text.split()[0] for text in terminal_table.text(analyse(workdir).results).splitlines()[2:5]]
    assert order == ["over(to=5000)", "none", "gan_synth(to=5000)"]
    rows = json_files.read(workdir / "rows.jsonl")
    rewrite(workdir, [r | {"ece": 0.1 * (r["method"] == "none")} for r in rows])
    configure(workdir, metric="ece", baseline=ARMS[1])  # nothing was reported before
    shown = parsed(build.build(workdir)).shown
    assert "3none" in shown and "1over(to=5000)" in shown  # lower is better
    assert "gan_synth(to=5000) equals over(to=5000): 0.0000 against 0.0000 ECE" in shown
    with pytest.raises(UserError, match="config.metric is 'balanced'.*did you mean 'balanced_accuracy'"):
        build.build(configure(workdir, metric="balanced"))


def test_long_names_are_told_apart_in_two_lines():
    names = [f"gan_synth(to=0.1, filter={name})" for name in ("discriminator", "classifier", "random")]
    assert [style.folded(name, 21).split("\n")[1] for name in names] == [
        "filter=discriminator)",
        "filter=classifier)",
        "filter=random)",
    ]
    assert style.folded("none", 21) == "none" and style.folded("a | b | c | d", 5) == "a | b\n| c…"


def test_measures_that_are_no_shares_have_three_decimals():
    assert terminal_table._cell("j_kappa", {"mean": 0.9379, "ci95": [0.931, 0.945]}) == "0.938 ± 0.007"
    assert (
        terminal_table._cell("accuracy", {"mean": 0.5, "ci95": None}) == "50.00 %"
        and terminal_table._cell("kappa", None) == "-"
    )


def test_one_seed_has_no_interval(tmp_path, undrawn):
    shown = parsed(build.build(fabricate(tmp_path, seeds=1))).shown
    assert "one seed: no interval" in shown and "One seed: no interval, and no claim beyond this seed" in shown
    assert "None" not in shown.split("Configuration")[0] and "p =" not in shown


@pytest.mark.parametrize(
    ("arm", "verdict", "words"),
    [
        ("over(to=5000)", "better", "gained"),
        ("gan_synth(to=5000)", "worse", "lost"),
        ("none", "better", "gained"),  # the baseline is compared with nothing: the best arm is taken
    ],
)
def test_headline_is_plain(tmp_path, arm, verdict, words):
    workdir = fabricate(tmp_path, seeds=8, failed=False)
    found = headline.headline(analyse(configure(workdir, method=arm, baseline="none")))
    assert found.verdict == verdict and words in found.claim and "8 paired seeds" in found.detail
    assert found.arm == (arm if arm != "none" else "over(to=5000)")


def test_headline_without_a_clear_difference(tmp_path):
    workdir = fabricate(tmp_path, seeds=8, failed=False)
    rows = json_files.read(workdir / "rows.jsonl")
    for r in rows:
        r["balanced_accuracy"] = 0.9 + 0.01 * ((r["seed"] + (r["method"] == ARMS[2])) % 2)
    rewrite(workdir, rows)
    found = headline.headline(analyse(workdir))
    assert found.verdict == "undecided" and "no clear difference" in found.claim


def test_among_many_the_best_makes_the_headline(tmp_path):
    rng = np.random.default_rng(0)
    workdir = fabricate(tmp_path, seeds=3, failed=False)
    rewrite(
        workdir,
        json_files.read(workdir / "rows.jsonl") + [row("none", s, rng) | {"method": m} for s in range(3) for m in "abc"],
    )
    found = headline.headline(analyse(workdir))
    assert found.arm == "over(to=5000)" and "the best of 5" in found.detail


def test_what_is_alike_for_all_arms_is_said_once(tmp_path, undrawn):
    alike = (build.build(fabricate(tmp_path / "a", seeds=3, failed=False))).read_text()
    assert "Seeds: 3 per arm. No seed failed." in alike
    assert 'type="button">Seeds<' not in alike and 'type="button">Failed<' not in alike
    one_lost = (build.build(fabricate(tmp_path / "b", seeds=3))).read_text()
    assert "Seeds: 3 per arm" in one_lost and "No seed failed" not in one_lost and 'type="button">Failed<' in one_lost
    rows = json_files.read(tmp_path / "a" / "rows.jsonl")
    rewrite(tmp_path / "a", rows[1:])
    assert 'type="button">Seeds<' in build.build(tmp_path / "a").read_text()


def test_a_method_whose_every_seed_failed(tmp_path, undrawn):
    workdir = fabricate(tmp_path, seeds=2)
    rows = json_files.read(workdir / "rows.jsonl")
    for r in (r for r in rows if r["method"] == ARMS[2]):
        r |= {name: None for name in r if stats.is_metric(name)} | {"confusion": None, "failed": "NaN"}
    rewrite(workdir, rows)
    assert "all its seeds failed" in parsed(build.build(workdir)).shown


def test_an_older_sweep_that_was_analysed_often_says_so(tmp_path, undrawn):
    workdir = fabricate(tmp_path, seeds=12, failed=False)
    environment = json_files.read_json(workdir / "environment.json")
    json_files.write_json(workdir / "environment.json", environment | {"looks": 4})
    page = parsed(build.build(workdir))
    assert "2 comparisons and 4 interim analyses" in page.shown and "at 3, 6, 9, 12 seeds" in page.shown
    p = json_files.read_json(workdir / "results.json")["paired"][ARMS[1]]["accuracy"]
    assert p["p_holm"] == pytest.approx(2 * p["p"] * 4 / 0.95)


def grown(workdir: Path, seeds: int, **fields: object) -> dict:
    """The results of a report of the first seeds of a run."""
    kept = [r for r in json_files.read(workdir / "all.jsonl") if r["seed"] < seeds]
    rewrite(workdir, kept)
    build.build(configure(workdir, seeds=seeds, **fields))
    return json_files.read_json(workdir / "results.json")


@pytest.fixture
def growing(tmp_path, undrawn):
    workdir = fabricate(tmp_path, seeds=24, failed=False)
    (workdir / "rows.jsonl").rename(workdir / "all.jsonl")
    return workdir


def test_each_report_of_more_seeds_spends_a_part_of_the_error(growing):
    shares = []
    for seeds, made in ((5, []), (8, [8]), (8, [8]), (16, [8, 16]), (24, [8, 16, 24]), (8, [8, 16, 24])):
        results = grown(growing, seeds)
        pair = results["paired"][ARMS[1]]["balanced_accuracy"]
        shares.append(pair["share"])
        assert pair["p_holm"] == pytest.approx(min(1, 2 * pair["p"] / pair["share"])) and results["analyses"] == made
    first = 1 - 0.05 * 5 / 8  # 5 seeds were planned, and could give no verdict
    assert shares == pytest.approx([0.95, first, first, 0.05 * (5 / 8 - 5 / 16), 0.05 * (5 / 16 - 5 / 24), first])
    assert "8 analyses" not in (growing / "report.html").read_text()
    kept = json_files.read_json(growing / "analyses.json")
    assert kept["plan"] == {"seeds": 5, "power": 3} and [a["seeds"][ARMS[1]] for a in kept["analyses"]] == [5, 8, 16, 24]
    assert "24 seeds" in parsed(build.build(configure(growing, seeds=24))).shown


@pytest.mark.parametrize("field", [{"metric": "accuracy"}, {"margin": 0.05}, {"baseline": ARMS[1]}])
def test_what_is_changed_after_the_first_report_gets_no_verdict(growing, field):
    results = grown(growing, 8)
    assert results["paired"][ARMS[1]]["balanced_accuracy"]["verdict"] == "better" and not results["changed"]
    results = grown(growing, 16, **field)
    metric = results["metric"]
    assert {pair[metric]["verdict"] for pair in results["paired"].values()} == {"none"}
    (name,) = field
    shown = parsed(growing / "report.html").shown
    assert f"No verdict: {name} changed from" in shown and "gained" not in shown.split("Configuration")[0]
    results = grown(growing, 8, **{name: {"margin": 0.002}.get(name)})
    assert results["paired"][ARMS[1]]["balanced_accuracy"]["verdict"] == "better"  # as it was first


def test_only_the_chosen_metric_has_verdicts(tmp_path):
    paired = analyse(fabricate(tmp_path, seeds=8, failed=False)).results["paired"][ARMS[1]]
    assert [name for name, pair in paired.items() if pair["verdict"]] == ["balanced_accuracy"]


def test_a_joined_report_knows_the_analyses_of_its_parts(tmp_path, undrawn):
    runs = [fabricate(tmp_path / name, seeds=8, failed=False) for name in ("first", "second")]
    rewrite(runs[1], [{**r, "seed": r["seed"] + 8} for r in json_files.read(runs[1] / "rows.jsonl")])
    for folder in runs:
        build.build(folder)
    build.join(runs, tmp_path / "both")
    results = json_files.read_json(tmp_path / "both" / "results.json")
    assert results["planned"]["seeds"] == 16 and results["analyses"] == [8, 16] and results["missing"] == []
    pair = results["paired"][ARMS[1]]["balanced_accuracy"]
    assert pair["n"] == 16 and pair["share"] == pytest.approx(0.95 * (1 - (8 / 16) ** 3))
    assert "one experiment" in parsed(tmp_path / "both" / "report.html").shown
    build.build(configure(runs[0], metric="accuracy"))
    changed = json_files.read_json(tmp_path / "first" / "results.json")
    assert changed["paired"][ARMS[1]]["accuracy"]["verdict"] == "none"
    build.join(runs, tmp_path / "again")
    results = json_files.read_json(tmp_path / "again" / "results.json")
    assert "metric changed from balanced_accuracy to accuracy after the first analysis" in results["changed"]


def test_seed_ranges_are_read():
    assert [list(analyses.seeds_of({"seeds": asked})) for asked in (3, "2:4", "3", None, True)] == [
        [0, 1, 2], [2, 3], [0, 1, 2], [], [],
    ]  # fmt: skip


def test_arms_of_different_length_get_no_verdict(tmp_path, undrawn):
    workdir = fabricate(tmp_path, seeds=8, failed=False)
    steps = {ARMS[0]: 420, ARMS[1]: 1000, ARMS[2]: 420}
    rows = [r | {"steps": steps[r["method"]], "length": "steps"} for r in json_files.read(workdir / "rows.jsonl")]
    rewrite(workdir, rows)
    page = parsed(build.build(configure(workdir, method=ARMS[1], baselines=["none", ARMS[2]])))
    paired = json_files.read_json(workdir / "results.json")["paired"]
    words = {arm: paired[arm]["balanced_accuracy"]["verdict"] for arm in ARMS[1:]}
    assert words == {ARMS[1]: "none", ARMS[2]: "worse"}
    assert paired[ARMS[1]]["balanced_accuracy"]["reason"] == "trained 1,000 and 420 steps"
    assert "trained 1,000 and 420 steps" in page.shown and "gained" not in page.shown and "no verdict" in page.shown
    build.build(configure(workdir, unequal_steps=True))
    pair = json_files.read_json(workdir / "results.json")["paired"][ARMS[1]]["balanced_accuracy"]
    assert pair["verdict"] == "better"


def test_a_collapsed_classifier_is_told_as_such(tmp_path, undrawn):
    workdir = fabricate(tmp_path, seeds=8, failed=False)
    rows = json_files.read(workdir / "rows.jsonl")
    for r in rows:  # both predict one class, so they are equal
        r |= {"balanced_accuracy": 0.1, "confusion": [[1000] + [0] * 9] * 10} if r["method"] != ARMS[1] else {}
    rewrite(workdir, rows)
    page = parsed(build.build(workdir))
    paired = json_files.read_json(workdir / "results.json")["paired"]
    verdicts = {arm: paired[arm]["balanced_accuracy"]["verdict"] for arm in ARMS[1:]}
    assert verdicts == {ARMS[1]: "better", ARMS[2]: "none"}  # better than a collapsed baseline is a fact
    assert "collapsed to a single predicted class in 8 of 8 seeds" in page.shown and "equivalent to" not in page.shown
    assert "collapsed in 8 of 8 seeds" in terminal_table.text(json_files.read_json(workdir / "results.json"))


def test_an_interval_beyond_the_frame_has_arrowheads():
    scale = charts.Scale(-1.0, 1.0)
    assert [[mark.text for mark in charts._bar(scale, ends)] for ends in ((-0.5, 0.5), (-2, 0.5), (-2, 2))] == [
        [""], ["", "◂"], ["", "◂", "▸"],
    ]  # fmt: skip
    assert charts._bar(scale, (0, 2))[-1].text == "▸" and charts._bar(scale, (-2, 0))[-1].text == "◂"
    assert charts._bar(scale, None) == []
    assert charts._is_cut(scale, [None, (-2, 0)]) and not charts._is_cut(scale, [None, (-1, 1)])


def test_print_shows_every_column():
    css = (Path(charts.__file__).parent / "page.css").read_text().split("@media print")[1]
    assert ".scroll { overflow: visible; }" in css and "landscape" in css


def test_equal_differences_of_two_seeds_claim_nothing(tmp_path):
    workdir = fabricate(tmp_path, seeds=2, failed=False)
    rows = json_files.read(workdir / "rows.jsonl")
    rewrite(workdir, [r | {"balanced_accuracy": 0.9 + 0.03 * (r["method"] == ARMS[2])} for r in rows])
    verdict, _, claim, detail = headline.headline(analyse(workdir))
    assert verdict == "few" and "no verdict" in claim and "gained" not in claim
    assert "the differences of all 2 paired seeds are equal (+3.00): no interval" in detail and "+3.00 to +3.00" not in detail


def test_an_unfinished_run_is_reported_from_its_rows(tmp_path, undrawn):
    workdir = configure(fabricate(tmp_path), seeds=3, baselines=["none", "smote"])
    with (workdir / "rows.jsonl").open("a") as file:
        file.write('{"seed": 7, "meth')  # torn by a kill
    shown = parsed(build.build(workdir)).shown
    assert "is not finished" in shown and "none, 2 of 3 seeds; smote;" in shown
    assert "is not finished" not in parsed(build.build(configure(workdir, stop="decided", baselines=["none"]))).shown


def test_text_of_the_run_is_escaped(tmp_path, undrawn):
    workdir = fabricate(tmp_path)
    evil = "<script>alert(1)</script>"
    for name in ("rows.jsonl", "metrics.jsonl", "config.json", "environment.json", "generator.json"):
        text = (workdir / name).read_text().replace("gan_synth(to=5000)", evil).replace("mnist", evil)
        (workdir / name).write_text(text.replace("source system", evil).replace("dense layer", evil))
    reader = parsed(build.build(workdir))
    assert evil in reader.shown
    html = (workdir / "report.html").read_text()
    assert html.count("<script>") == 1 and "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "&amp;" not in html  # nothing is escaped twice


def test_no_module_writes_html():
    """Only the templates do, which escape what they are given; `safe` would be the way around that."""
    folder = Path(build.__file__).parent
    for path in folder.glob("*.py"):
        assert not re.search(r"</|<(div|span|small|section|table|p|i|b)[ >]|\.unescape", path.read_text()), path.name
    assert [path.name for path in folder.glob("templates/*") if re.search(r"\|\s*safe", path.read_text())] == ["label.html"]
    assert 'else "<wbr>" | safe' in (folder / "templates" / "label.html").read_text()


def test_the_templates_are_files_of_the_package():
    root = Path(build.__file__).parent.parent.parent
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    folder = Path(build.__file__).parent
    for path in [*folder.glob("templates/*"), *folder.glob("*.css"), *folder.glob("*.js")]:
        assert any(path.relative_to(folder).match(pattern) for pattern in patterns), path.name


def test_bad_files_are_named(tmp_path):
    with pytest.raises(UserError, match="holds no finished row"):
        build.build(tmp_path)
    fabricate(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="config.json is damaged"):
        build.build(tmp_path)


def two(tmp_path: Path, seeds: int = 2, **fields: object) -> list[Path]:
    """Two runs; the second one's config differs in the given fields."""
    runs = [fabricate(tmp_path / name, seeds=seeds, failed=False) for name in ("first", "second")]
    configure(runs[1], **fields)
    return runs


def test_equal_configs_join_into_one_set_of_seeds(tmp_path, undrawn):
    first, second = two(tmp_path, name="again", margin=0.01, method=ARMS[1], baselines=["none"])
    rows = json_files.read(second / "rows.jsonl")
    rewrite(second, [{**r, "seed": r["seed"] + 1, "accuracy": 0.5} for r in rows])
    page = parsed(build.join([first, second], tmp_path / "both"))
    results = json_files.read_json(tmp_path / "both" / "results.json")
    assert results["seeds"] == [0, 1, 2] and list(results["methods"]) == list(ARMS)
    assert [source["repeated"] for source in results["sources"]] == [0, 3] and "Duplicates: rows left out" in page.shown
    assert results["methods"]["none"]["metrics"]["accuracy"]["worst"] == 0.5  # of seed 2 alone
    assert results["name"] == "mnist_cgan + again"


def test_arms_of_different_configs_are_named_apart(tmp_path, undrawn):
    first, second = two(tmp_path, classifier={"epochs": 10}, parallel="pmap")
    rows = json_files.read(second / "rows.jsonl")
    rewrite(second, [{**r, "balanced_accuracy": r["balanced_accuracy"] - 0.1} for r in rows])
    page = parsed(build.join([first, second], tmp_path / "both"))
    results = json_files.read_json(tmp_path / "both" / "results.json")
    point = " [classifier.epochs=10]"
    assert f"over(to=5000){point}" in results["methods"] and "over(to=5000) [classifier.epochs=8]" in results["methods"]
    assert len(results["methods"]) == 6 and len(results["paired"]) == 4
    ours, theirs = (results["paired"][f"over(to=5000) [classifier.epochs={n}]"]["balanced_accuracy"]["mean"] for n in (8, 10))
    assert ours == pytest.approx(theirs)  # each against its own baseline
    assert "classifier.epochs" in page.shown and str(second) in page.shown and "parallel" not in page.shown.split("Conf")[0]
    assert page.shown.count("python launch.py --config=configs/mnist_cgan.py") >= 2


def test_a_point_of_a_grid_stays_in_the_name(tmp_path, undrawn):
    first, second = two(tmp_path, seed=1)
    rows = json_files.read(second / "rows.jsonl")
    place = "classifier.learning_rate=0.1"
    rewrite(second, [{**r, "method": stats.at_point(r["method"], place), "point": place} for r in rows])
    build.join([first, second], tmp_path / "both")
    assert f"none [seed=1, {place}]" in json_files.read_json(tmp_path / "both" / "results.json")["methods"]


def test_what_is_evaluated_is_said_of_every_run_that_is_joined(tmp_path, undrawn):
    shown = parsed(build.join(two(tmp_path, classifier={"epochs": 8, "select": "best"}), tmp_path / "both")).shown
    assert "last step; best epoch by balanced accuracy on the validation rows" in shown


def test_runs_that_differ_in_much_are_named_by_their_folder(tmp_path, undrawn):
    build.join(two(tmp_path, a=1, b=2, c=3, d=4), tmp_path / "both")
    assert "none [second]" in json_files.read_json(tmp_path / "both" / "results.json")["methods"]


def test_a_join_refuses_what_does_not_belong_together(tmp_path, undrawn):
    first, second = two(tmp_path)
    with pytest.raises(UserError, match="is one of the runs"):
        build.join([first, second], first)
    with pytest.raises(UserError, match="no run to report"):
        build.join([], tmp_path)
    environment = json_files.read_json(second / "environment.json")
    environment["data"]["counts"] = [5] * 10
    json_files.write_json(second / "environment.json", environment)
    with pytest.raises(UserError, match=r"first and .*second do not belong .* rows of each class after the cut \[5923"):
        build.join([first, second], tmp_path / "both")
    assert build.join([second], tmp_path / "both") == second / "report.html"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.42, "0.4 s"), (45, "45 s"), (200.3, "3 min 20 s"), (7500, "2 h 05 min"), (3599.7, "1 h 00 min")],
)
def test_durations(seconds, text):
    assert formats.duration(seconds) == text


def test_plots_take_edge_cases(tmp_path, monkeypatch):
    monkeypatch.setattr(style, "DPI", 40)  # quicker
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
    grids.sample_grid(tmp_path / "colour.png", colour, None, ["a", "b"], {1}, "colour")
    arms = {f"arm {i}": rng.random((2, 10)) for i in range(24)}
    plots.recalls(tmp_path / "many_arms.png", arms | {"failed": np.full((1, 10), np.nan)}, NAMES, {6})
    plots.class_counts(tmp_path / "many.png", BEFORE, {arm: [i + 1] * 10 for i, arm in enumerate(arms)}, NAMES)
    assert len(list(tmp_path.iterdir())) == 9 and not list(tmp_path.glob("*.part"))


def test_curves_of_the_rarest_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(style, "DPI", 40)
    assert precision_recall.rarest([900, 20, 3, 50], {1, 2}) == [2, 1]
    assert precision_recall.rarest(range(12, 0, -1), set()) == list(range(11, 3, -1))
    tables = {"none": np.full((2, 3, 20), np.nan), "over": np.random.default_rng(0).random((2, 3, 20))}
    for name, shares in (("two", [0.9, 0.1, 0.0]), ("no_class", [1.0, 0.0, 0.0])):
        precision_recall.curves(tmp_path / f"{name}.png", tables, shares, ["a", "b", "c"], [2, 1], {1, 2})
        assert (tmp_path / f"{name}.png").stat().st_size


def test_minority_is_below_half_of_the_largest():
    assert plots.minority(BEFORE) == {6, 8, 9}
    assert plots.minority([10, 5, 4]) == {2}


def test_warnings_that_differ_in_a_decimal_are_one_line():
    heard = [("class 3: loss is 0.00098", 1), ("class 3: loss is 5.4e-05", 2), ("class 4: loss is 2e-07", 2)]
    warnings = [{"message": message, "seed": 0, "epoch": epoch} for message, epoch in heard]
    page = sections.trouble(SimpleNamespace(rows=[], results={"warnings": warnings}))
    assert page.count("<li>") == 2 and "class 3: loss is 5.4e-05" in page and "epochs 1, 2" in page
    assert formats.listed("epoch", range(0, 40, 2)) == "20 epochs from 0 to 38"
