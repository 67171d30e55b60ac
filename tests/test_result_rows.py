"""Rows of a run that are damaged, altered or doubled: one line says which; nothing of it is believed."""

import json

import pytest

from imbal_jax import experiment
from imbal_jax.artifacts import json_files
from imbal_jax.errors import UserError
from imbal_jax.evaluate import result_rows
from imbal_jax.report import build
from tests.test_report import fabricate

ROW = {"seed": 0, "method": "none", "accuracy": 0.75, "confusion": [[2, 0], [1, 1]], "failed": None, "seconds": 1.5}


def written(path, rows):
    path.unlink(missing_ok=True)
    json_files.append(path, rows)
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seed": "0"}, ["'seed' is '0'"]),
        ({"seed": True}, ["'seed' is True"]),
        ({"seed": -1}, ["'seed' is -1"]),
        ({"seed": 2**32}, ["'seed'"]),
        ({"method": 3}, ["'method' is 3"]),
        ({"method": ""}, ["'method' is ''"]),
        ({"accuracy": "0.75"}, ["'accuracy' is '0.75'"]),
        ({"accuracy": [0.75]}, ["'accuracy'"]),
        ({"recall_x": {}}, ["'recall_x'"]),
        ({"confusion": [[2, 0], [1]]}, ["'confusion'"]),
        ({"confusion": [[2, 0.5], [1, 1]]}, ["'confusion'"]),
        ({"confusion": [[2, -1], [1, 1]]}, ["'confusion'"]),
        ({"confusion": 4}, ["'confusion'"]),
        ({"confusion_by_group": [[[1]]]}, ["other classes"]),
        ({"seconds": "long"}, ["'seconds'"]),
        ({"counts_before": [1.5]}, ["'counts_before'"]),
        ({"pr_curve": [[0.5], ["x"]]}, ["'pr_curve'"]),
        ({"pr_curve": [[0.5], [0.5, 1]]}, ["'pr_curve'"]),
        ({"failed": 1}, ["'failed'"]),
        ({"point": ["x"]}, ["'point'"]),
        ({"confusion": [[20, 0], [1, 1]]}, ["22 test rows (20, 2 by class)", "4 (2, 2)"]),
        ({"confusion": [[1, 1], [0, 1]]}, ["3 test rows"]),
    ],
)
def test_a_wrong_field_is_named(tmp_path, change, words):
    path = written(tmp_path / "rows.jsonl", [{**ROW, "seed": 1}, {**ROW, **change}])
    with pytest.raises(UserError) as error:
        result_rows.read(path, [2, 2])
    assert all(word in str(error.value) for word in [str(path), "line 2", *words]), error.value
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


@pytest.mark.parametrize("row", [{}, {"seed": 0, "method": "none"}, {"seed": 0, "method": "none", "failed": None}])
def test_a_row_without_what_makes_one(tmp_path, row):
    with pytest.raises(UserError, match="line 1 is not a valid result"):
        result_rows.read(written(tmp_path / "rows.jsonl", [row]))


def test_without_a_known_test_set_all_rows_have_to_agree(tmp_path):
    path = written(tmp_path / "rows.jsonl", [ROW, {**ROW, "seed": 1, "confusion": [[2, 1], [1, 1]]}])
    with pytest.raises(UserError, match=r"line 2 has 5 test rows .*line 1 has 4"):
        result_rows.read(path)


def test_a_line_that_is_there_twice_counts_once(tmp_path, caplog):
    path = written(tmp_path / "rows.jsonl", [ROW, {**ROW, "seed": 1}, ROW])
    assert result_rows.read(path) == [ROW, {**ROW, "seed": 1}]
    assert "repeated lines are counted once: 3" in caplog.text


def test_two_different_results_of_one_seed_are_refused(tmp_path):
    path = written(tmp_path / "rows.jsonl", [ROW, {**ROW, "accuracy": 0.5}])
    with pytest.raises(UserError, match="line 2 is a second, different result of 'none' on seed 0"):
        result_rows.read(path)


def test_lines_without_a_digest_are_said_once(tmp_path, caplog):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({**ROW, "seed": seed}) + "\n" for seed in range(3)))
    assert len(result_rows.read(path)) == 3
    assert caplog.text.count("3 of 3 lines have no digest") == 1


def test_a_group_table_that_lacks_rows_is_refused(tmp_path):
    whole = {**ROW, "confusion_by_group": [[[1, 0], [0, 1]], [[1, 0], [1, 0]]]}
    assert result_rows.read(written(tmp_path / "rows.jsonl", [whole])) == [whole]
    path = written(tmp_path / "rows.jsonl", [{**whole, "confusion_by_group": whole["confusion_by_group"][:1]}])
    with pytest.raises(UserError, match="'confusion_by_group' lacks rows"):
        result_rows.read(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", "[" * 5000),
        ("config.json", '{"a": ' * 1000 + "1" + "}" * 1000),
        ("config.json", "[]"),
        ("config.json", '{"baselines": "none"}'),
        ("config.json", '{"baselines": [[1]]}'),
        ("config.json", '{"baselines": null}'),
        ("config.json", '{"classifier": 5}'),
        ("config.json", '{"seed": "x"}'),
        ("config.json", '{"seeds": 2147483648}'),
        ("environment.json", "[]"),
        ("environment.json", "null"),
        ("environment.json", '{"data": []}'),
        ("environment.json", '{"data": {"counts": ["x"]}}'),
        ("environment.json", '{"data": {"class_names": [1]}}'),
        ("environment.json", '{"looks": "many"}'),
        ("environment.json", '{"data": {"class_names": ["a", "b"], "counts": [1, 2, 3]}}'),
        ("environment.json", '{"data": {"class_names": ["a", "b"]}}'),
        ("environment.json", '{"data": {"scale": {"how": "x"}}}'),
        ("generator.json", "[]"),
        ("generator.json", '{"0": {"frechet": "low"}}'),
        ("generator.json", '{"0": 3}'),
        ("metrics.jsonl", '{"stage": "gan", "seed": 0}\n'),
        ("metrics.jsonl", '{"stage": "gan", "seed": 0, "epoch": 1, "d_loss": "low"}\n'),
        ("metrics.jsonl", '{"stage": "warning", "seed": 0, "epoch": 1}\n'),
        ("analyses.json", "[]"),
        ("analyses.json", '{"plan": {"power": 1}}'),
        ("analyses.json", '{"plan": {"seeds": 0}}'),
        ("analyses.json", '{"analyses": {}}'),
        ("analyses.json", '{"analyses": [{"seeds": {"a": 1}, "spent": ["b"], "metric": "m", "baseline": "n", "margin": 0}]}'),
        ("results.json", '{"paired": {"over": {"accuracy": {}}}, "metric": "accuracy"}'),
        ("results.json", '{"metric": 5}'),
        ("results.json", "null"),
        ("rows.jsonl", "{}\n"),
        ("rows.jsonl", '{"seed": "0", "method": "none", "accuracy": 0.5}\n'),
        ("rows.jsonl", '{"seed": 0, "method": "none"}\n'),
    ],
)
def test_a_report_of_damaged_files_is_one_line(tmp_path, name, text):
    fabricate(tmp_path, seeds=1)
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as error:
        build.build(tmp_path)
    assert name in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 500


def test_meeting_refuses_what_the_report_refuses(tmp_path):
    path = written(tmp_path / "rows.jsonl", [ROW])
    assert experiment.gather_rows("start", path, test_counts=[2, 2]) == [ROW]
    with pytest.raises(UserError, match="4 test rows"):
        experiment.gather_rows("start", path, test_counts=[3, 3])
