"""Tables and README's figures come from committed rows: rendered again, they are the same bytes."""

import itertools
import re

import numpy as np
import pytest
from scipy import stats as scipy_stats

from docs import folders, render, tables
from imbal_jax.evaluate import result_rows

CODE = re.compile(r"```.*?```", re.DOTALL)


def test_what_is_committed_is_what_the_rows_say():
    for path, text in render.rendered().items():
        assert path.read_text() == text, f"{path.relative_to(folders.ROOT)} is stale: run `make results`"


def test_no_figure_is_typed_by_hand():
    readme = (folders.ROOT / "README.md").read_text()
    assert render.MARKS.search(readme)
    texts = {"README.md": CODE.sub("", render.MARKS.sub("", readme))}
    texts |= {str(path): path.read_text() for path in folders.RESULTS.glob("*/about.json")}
    texts["LOG.md"] = render.MARKS.sub("", (folders.ROOT / "docs" / "LOG.md").read_text())
    texts["adding_a_method.md"] = CODE.sub("", (folders.ROOT / "docs" / "adding_a_method.md").read_text())
    for name, text in texts.items():
        found = re.findall(r"[^\n]*(?:±|\d %|\bp = |\d points)[^\n]*", text)
        assert not found, f"{name}: {found[0]}"


@pytest.mark.parametrize("name", folders.names())
def test_a_folder_says_where_each_row_was_measured(name):
    entries = folders.json_files.read_json(folders.RESULTS / name / "environment.json")
    named = [(arm, seed) for entry in entries for arm, seeds in entry["rows"].items() for seed in seeds]
    rows = folders.json_files.read(folders.RESULTS / name / "rows.jsonl")
    assert sorted(named) == sorted((row["method"], row["seed"]) for row in rows)
    assert all({"versions", "cpu", "device_kind", "commit", "date"} <= entry.keys() for entry in entries)


@pytest.mark.parametrize("name", folders.names())
def test_steps_of_old_rows_are_those_that_they_were_trained_for(name):
    folder = folders.read(name)
    for row in folder.rows:
        alone = not row["gan_seconds"] and not any(word in row["method"] for word in ("crt", "lws"))
        if row["derived"] and alone:  # then all examples are the classifier's
            batch = folder.config["classifier"]["batch"]
            assert row["steps"] == row["examples_seen"] / batch, row["method"]


# --- an invented folder -----------------------------------------------------------------------------------------------

NONE, OVER, FOCAL = (np.random.default_rng(i).uniform(0.5, 0.9, 5).tolist() for i in range(3))
CONFIG = {"classifier": {"batch": 10, "epochs": 3}, "baselines": ["none"], "method": "over", "seed": 0, "metric": "accuracy"}
ENTRY = {"cpu": "a processor", "cores": 2, "device_kind": "cpu", "versions": {"jax": "1"}, "date": "2026-01-01"}


def rows(method, values, count, **more):
    """Rows of an arm with so many training rows of each of two classes."""
    head = {"method": method, "point": "", "counts_after": [count, count], "counts_before": [50, 50], "failed": None}
    return [{**head, "seed": seed, "accuracy": value, **more} for seed, value in enumerate(values)]


def folder_of(*arms, **about):
    every = [result_rows.with_length(row, CONFIG) for arm in arms for row in arm]
    measured = {**ENTRY, "rows": {"none": list(range(len(every)))}}
    told = {"columns": ("accuracy",), **about}
    told = folders.About("Title", "Set.", "Nothing.", **told)
    return folders.Folder("made", CONFIG, [measured], folders.current(every), told)


def sign_flip_test(gap):
    """The share of all patterns of signs whose mean is as far from 0."""
    means = [abs(np.mean(signs * gap)) for signs in map(np.array, itertools.product((1, -1), repeat=len(gap)))]
    return np.mean(np.array(means) >= abs(gap.mean()) - 1e-12)


def test_means_intervals_and_differences_are_right():
    text = tables.page(folder_of(rows("none", NONE, 50), rows("focal", FOCAL, 50), rows("logit_adjust", OVER, 50)))
    half = scipy_stats.t.ppf(0.975, 4) * np.std(NONE, ddof=1) / np.sqrt(5)
    assert f"| `none` | 5 | 30 | {100 * np.mean(NONE):.2f} ± {100 * half:.2f} |" in text
    gap = np.array(FOCAL) - NONE
    low, high = scipy_stats.ttest_1samp(gap, 0).confidence_interval(0.95)
    p, q = sign_flip_test(gap), sign_flip_test(np.array(OVER) - NONE)
    adjusted = min(1, 2 * p) if p <= q else min(1, max(2 * q, p))
    ends = f"{100 * gap.mean():+.2f} ({100 * low:.2f} to {100 * high:.2f})"
    line = f"| `focal` - `none` | accuracy % | 5 | {ends} | {adjusted:.2g} |"
    assert line in text
    assert "With 2 comparisons and 5 pairs no adjusted p can be below 0.12: no verdict." in text


def test_arms_of_different_length_are_not_compared():
    folder = folder_of(rows("none", NONE, 50), rows("over", OVER, 80), rows("focal", FOCAL, 50))
    text = tables.page(folder)
    assert "`focal` - `none`" in text and "`over` - `none`" not in text
    assert "Not compared, since the number of steps differs: `over`." in text
    assert "| `over` | 5 | 48 |" in text and "| `over` |" not in tables.region(folder)


def test_an_arm_that_was_measured_again_at_equal_steps_is_compared():
    again = rows("over", FOCAL, 80, steps=30, length="epochs of the real rows")
    folder = folder_of(rows("none", NONE, 50), rows("over", OVER, 80), again)
    text = tables.region(folder)
    assert "`over` - `none`" in text and f"| `over` | 5 | 30 | {100 * np.mean(FOCAL):.2f} ±" in text
    assert "epochs of the real rows" in text and "3 epochs of the arm's own rows" in text


def test_a_fault_is_named_and_nothing_is_compared():
    text = tables.page(folder_of(rows("none", NONE, 50), rows("focal", FOCAL, 50), faults=("It was wrong.",), compare=False))
    assert "**It was wrong.**" in text and "`focal` - `none`" not in text and "| `focal` | 5 |" in text


def test_long_arms_are_numbered():
    long = " | ".join(["affine(rotation=20, shear=15, zoom=0.2)"] * 3)
    text = tables.page(folder_of(rows("none", NONE, 50), rows(long, FOCAL, 50)))
    assert "| (1) | 5 | 30 |" in text and f"- (1): `{long}`" in text and "| (1) - `none` |" in text


def test_figures_of_a_document_are_filled_in_and_the_rest_stays():
    text = "before\n<!-- figure:speed -->\nold\n<!-- /figure:speed -->\nafter\n"
    made = render.filled(text)
    assert made.startswith("before\n<!-- figure:speed -->\n| |") and made.endswith("\n<!-- /figure:speed -->\nafter\n")
    assert "old" not in made and render.filled(made) == made
