import numpy as np

from imbal_jax.report import group_tables, signal_plots
from imbal_jax.report.run import Run


def run_of(rows):
    methods = list(dict.fromkeys(row["method"] for row in rows))
    found = {method: {"metrics": {"accuracy": {"mean": 0.5}}} for method in methods}
    results = {"metric": "accuracy", "baseline": "none", "methods": found}
    data = {"class_names": ["N", "S", "V"], "counts": [9, 1, 1], "minority": [1, 2]}
    return Run("ecg", {}, {}, data, rows, [], {}, None, (), results)


def row(method, seed, tables):
    return {"method": method, "seed": seed, "point": None, "kappa": 0.1, "confusion_by_group": tables.tolist()}


def test_seeds_are_pooled_and_records_drawn():
    table = np.zeros((3, 3, 3), int)
    table[:, 0, 0], table[:, 1, 1], table[:, 1, 0], table[:, 2, 2] = 80, 3, 1, 5
    html = group_tables.by_group(run_of([row("none", 0, table), row("none", 1, table), row("<b>", 0, table)]))
    assert "75.00%<small>75.00 – 75.00</small>" in html  # Se of S: every record has the same
    assert "j-kappa" in html and "3 test records" in html and "&lt;b&gt;" in html
    assert "j-kappa against none" in html
    assert '+0.000<small class="words">one seed: no interval' in html  # of the seed that both have
    assert group_tables.by_group(run_of([{"method": "none", "seed": 0}])) == ""


def test_grades_of_patients():
    table = np.zeros((4, 3, 3), int)
    table[:, 0, 0], table[:, 1, 0], table[:, 2, 2] = 8, 1, 1
    rows = [{**row(name, 0, table), "quadratic_kappa": 0.1} for name in ("none", "over")]
    run = run_of([{k: v for k, v in one.items() if k != "kappa"} for one in rows])
    html = group_tables.by_group(run)
    assert "4 test patients" in html and "quadratic kappa against none" in html and "AAMI" not in html
    assert "Recall of V" in html and "100.00%<small>100.00 – 100.00</small>" in html


def test_names_are_escaped_once():
    run = run_of([{"method": "none", "seed": 0, "quadratic_kappa": 0.1, "confusion_by_group": np.ones((2, 3, 3)).tolist()}])
    html = group_tables.by_group(run._replace(data={**run.data, "class_names": ["<0", "S", "V"]}))
    assert "Recall of &lt;0" in html and "&amp;" not in html


def test_the_picture_is_written(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "beats.png"
    signal_plots.overlaid(
        path, rng.normal(size=(2, 5, 30)), [rng.normal(size=(1, 30)), rng.normal(size=(9, 30))], "SV", {0}, "t"
    )
    assert path.read_bytes()[:4] == b"\x89PNG"
