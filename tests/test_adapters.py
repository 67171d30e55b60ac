"""The adapter against imbalanced-learn: its own checks, the same neighbours, removals and distributions."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse, stats

imblearn = pytest.importorskip("imblearn")

from imblearn import combine, over_sampling, under_sampling  # noqa: E402
from imblearn.pipeline import make_pipeline  # noqa: E402
from imblearn.utils.estimator_checks import check_param_validation, parametrize_with_checks  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.neighbors import NearestNeighbors  # noqa: E402

from imbal_jax.adapters import device_search, draws, neighbours  # noqa: E402
from imbal_jax.adapters import imblearn as adapter  # noqa: E402
from imbal_jax.adapters.rows import join  # noqa: E402

ALL = (
    adapter.RandomOverSampler(random_state=0),
    adapter.RandomUnderSampler(random_state=0),
    adapter.SMOTE(random_state=0),
    adapter.BorderlineSMOTE(random_state=0),
    adapter.ADASYN(random_state=0),
    adapter.TomekLinks(),
    adapter.EditedNearestNeighbours(),
    adapter.SMOTETomek(random_state=0),
    adapter.SMOTEENN(random_state=0),
)
ORIGINALS = {name: getattr(home, name) for home in (over_sampling, under_sampling, combine) for name in home.__all__}
ALPHA = 1e-3
ROOT = pathlib.Path(__file__).resolve().parent.parent


def overlapping(counts=(120, 60, 40), width=4, seed=0):
    """Classes that overlap, in random order: X float64 [n, width], y [n]."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return rng.normal(size=(len(y), width)) + 0.8 * y[:, None], y


def neighbours_of(points, k):
    """The k nearest other points, of equally near ones the first: int [N, k]."""
    squared = np.sum((points[:, None].astype(np.float64) - points[None]) ** 2, axis=2)
    np.fill_diagonal(squared, np.inf)
    return np.argsort(squared, axis=1, kind="stable")[:, :k]


CHECKS = parametrize_with_checks(list(ALL))  # its cases come from a generator, which pytest no longer likes


@pytest.mark.parametrize(CHECKS.args[0], list(CHECKS.args[1]), **CHECKS.kwargs)
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", ALL, ids=lambda e: type(e).__name__)
def test_arguments_are_those_of_imbalanced_learn_and_checked(estimator):
    original = ORIGINALS[type(estimator).__name__]
    assert estimator.get_params().keys() == original().get_params().keys()
    assert type(estimator)().get_params() == original().get_params()
    check_param_validation(type(estimator).__name__, estimator)


@pytest.mark.parametrize("estimator", ALL, ids=lambda e: type(e).__name__)
def test_images_keep_shape_and_dtype(estimator):
    x, y = overlapping()
    images = np.clip(40 * x + 120, 0, 255).astype(np.uint8).reshape(-1, 2, 2, 1)
    given = images.copy()
    new, labels = estimator.fit_resample(images, y)
    assert new.dtype == np.uint8 and new.shape == (len(labels), 2, 2, 1) and labels.dtype == y.dtype
    np.testing.assert_array_equal(images, given)
    if estimator._sampling_type == "over-sampling" and not hasattr(estimator, "n_jobs"):
        np.testing.assert_array_equal(new[: len(y)], images)
        np.testing.assert_array_equal(np.bincount(labels), [120, 120, 120])
    assert estimator.fit(images, y).n_features_in_ == 4


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int64, np.uint8])
def test_smote_joins_rows_in_their_own_precision_and_originals_stay(dtype):
    x, y = overlapping()
    x = (50 * (x + 4)).clip(0, 255).astype(dtype)
    new, labels = adapter.SMOTE(random_state=7).fit_resample(x, y)
    assert new.dtype == dtype
    assert new[: len(y)].tobytes() == x.tobytes()
    points = x[np.argsort(y, kind="stable")][120:]  # those of the growing classes
    around = np.concatenate([begin + neighbours_of(points[begin:end], 5) for begin, end in ((0, 60), (60, 100))])
    seed = np.random.RandomState(7).randint(2**31 - 1)
    parents, weight = draws.joins(seed, (0, 60, 40), (0, 60, 80), around)
    base, other = points[parents[:, 0]].astype(np.float64), points[parents[:, 1]].astype(np.float64)
    expected = base + weight[:, None].astype(np.float64) * (other - base)
    np.testing.assert_array_equal(labels[len(y) :], np.repeat([1, 2], [60, 80]))
    away = np.abs(new[len(y) :].astype(np.float64) - expected)
    assert away.max() <= (0.5001 if np.issubdtype(dtype, np.integer) else 0.07 if dtype == np.float16 else 1e-4)


def test_large_offsets_do_not_blur_neighbours():
    x, y = overlapping()
    new, _ = adapter.SMOTE(random_state=0).fit_resample(x, y)
    moved, _ = adapter.SMOTE(random_state=0).fit_resample(x * 1e200 + 1e202, y)
    np.testing.assert_allclose(moved / 1e200 - 100, new, atol=1e-4)


@pytest.mark.parametrize("weights", [None, "foreign"])
def test_neighbours_are_the_nearest_and_new_rows_lie_between(weights):
    x, y = overlapping((40, 60), width=3)
    points = x[y == 0]
    chances = None if weights is None else np.arange(40)
    parents, weight = draws.joins(0, (40,), (20_000,), neighbours.same_class(points, (40,), (1,), 5), chances)
    around = neighbours_of(points, 5)
    drawn = [set(parents[parents[:, 0] == i, 1]) for i in range(40)]
    first = 0 if weights is None else 1
    assert drawn[first:] == [set(row) for row in around[first:]] or weights
    assert all(some <= set(row) for some, row in zip(drawn, around, strict=True))
    out = np.empty((20_000, 3))
    join(points, parents, weight, out)
    base, other = points[parents[:, 0]], points[parents[:, 1]]
    np.testing.assert_allclose(out, base + weight[:, None].astype(np.float64) * (other - base), atol=1e-6)
    assert weight.min() >= 0 and weight.max() < 1
    assert stats.kstest(weight, "uniform").pvalue > ALPHA


CASES = {
    "smote": (adapter.SMOTE, over_sampling.SMOTE, {}),
    "borderline 1": (adapter.BorderlineSMOTE, over_sampling.BorderlineSMOTE, {"kind": "borderline-1"}),
    "borderline 2": (adapter.BorderlineSMOTE, over_sampling.BorderlineSMOTE, {"kind": "borderline-2"}),
    "adasyn": (adapter.ADASYN, over_sampling.ADASYN, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_new_rows_have_the_distribution_of_imbalanced_learn(case):
    mine, original, options = CASES[case]
    x, y = overlapping((100, 40, 30), width=3)
    strategy = {1: 2000 + 40, 2: 2000 + 30}
    directions = np.random.default_rng(1).normal(size=(3, 6))
    values = []
    for kind in (mine, original):
        new = [kind(sampling_strategy=strategy, random_state=seed, **options).fit_resample(x, y) for seed in range(3)]
        assert all((rows[: len(y)] == x).all() for rows, _ in new)
        added = np.concatenate([rows[len(y) :] for rows, _ in new]), np.concatenate([labels[len(y) :] for _, labels in new])
        values.append([added[0][added[1] == label] @ directions for label in (1, 2)])
    for ours, theirs in zip(*values, strict=True):
        assert len(ours) == 6000 and abs(len(theirs) - 6000) <= (60 if case == "adasyn" else 0)
        if case == "adasyn":  # the same expected shares, but rounded there: the exact shares stand in for it
            np.testing.assert_allclose(ours.mean(axis=0), theirs.mean(axis=0), atol=0.1 * theirs.std())
        for column in range(6):
            assert stats.ks_2samp(ours[:, column], theirs[:, column]).pvalue > ALPHA


def test_adasyn_draws_bases_in_the_shares_of_imbalanced_learn():
    x, y = overlapping((100, 40), width=3)
    minority = x[y == 1]
    around = NearestNeighbors(n_neighbors=6).fit(x).kneighbors(minority, return_distance=False)[:, 1:]
    foreign = np.sum(y[around] != 1, axis=1)
    ordered = np.concatenate([x[y == 0], minority])
    found = neighbours.foreign(neighbours.among_all(ordered, (100, 40), (0, 60), 5), (100, 40))
    np.testing.assert_array_equal(found[100:], foreign)
    near = neighbours.same_class(ordered, (100, 40), (0, 1), 5)
    parents, _ = draws.joins(0, (100, 40), (0, 20_000), near, found)
    seen = np.bincount(parents[:, 0] - 100, minlength=40)
    assert not seen[foreign == 0].any()
    there = foreign > 0
    assert stats.chisquare(seen[there], 20_000 * foreign[there] / foreign.sum()).pvalue > ALPHA


def test_rows_in_danger_are_those_of_imbalanced_learn():
    x, y = overlapping()
    ours, theirs = adapter.BorderlineSMOTE(random_state=0), over_sampling.BorderlineSMOTE(random_state=0)
    counts = [np.bincount(sampler.fit_resample(x, y)[1]).tolist() for sampler in (ours, theirs)]
    assert counts[0] == counts[1] and ours.in_danger_indices.keys() == theirs.in_danger_indices.keys()
    for label, rows in theirs.in_danger_indices.items():
        np.testing.assert_array_equal(ours.in_danger_indices[label], rows)
    far = x + 100 * y[:, None]  # no row is in danger
    assert len(ours.fit_resample(far, y)[1]) == len(theirs.fit_resample(far, y)[1]) == len(y)


@pytest.mark.parametrize("strategy", ["auto", "all", "majority", "not majority", [0, 2]])
@pytest.mark.parametrize(
    "name, options",
    [
        ("TomekLinks", {}),
        ("EditedNearestNeighbours", {"kind_sel": "all"}),
        ("EditedNearestNeighbours", {"kind_sel": "mode", "n_neighbors": 4}),
    ],
)
def test_cleaning_removes_the_same_rows(name, options, strategy):
    x, y = overlapping()
    labels = np.array([5, 7, -1])[y]  # sorted, the classes come in another order
    strategy = [5, -1] if isinstance(strategy, list) else strategy
    ours = getattr(adapter, name)(sampling_strategy=strategy, **options)
    theirs = ORIGINALS[name](sampling_strategy=strategy, **options)
    for mine, original in zip(ours.fit_resample(x, labels), theirs.fit_resample(x, labels), strict=True):
        np.testing.assert_array_equal(mine, original)
    np.testing.assert_array_equal(ours.sample_indices_, theirs.sample_indices_)
    assert len(ours.sample_indices_) < len(y)


@pytest.mark.parametrize("name, part", [("SMOTETomek", "tomek"), ("SMOTEENN", "enn")])
def test_combinations_clean_what_smote_made(name, part):
    x, y = overlapping()
    grown = adapter.SMOTE(random_state=3).fit_resample(x, y)
    cleaner = ORIGINALS["TomekLinks" if part == "tomek" else "EditedNearestNeighbours"](sampling_strategy="all")
    expected = cleaner.fit_resample(*grown)
    ours = getattr(adapter, name)(random_state=3)
    for mine, original in zip(ours.fit_resample(x, y), expected, strict=True):
        np.testing.assert_array_equal(mine, original)
    given = getattr(adapter, name)(random_state=0, smote=adapter.SMOTE(random_state=3), **{part: cleaner})
    np.testing.assert_array_equal(given.fit_resample(x, y)[0], expected[0])


def test_random_samplers_repeat_and_leave_out_rows():
    x, y = overlapping()
    over = adapter.RandomOverSampler(random_state=0, sampling_strategy={1: 200, 2: 90})
    rows, labels = over.fit_resample(x, y)
    np.testing.assert_array_equal(rows, x[over.sample_indices_])
    np.testing.assert_array_equal(labels, y[over.sample_indices_])
    np.testing.assert_array_equal(over.sample_indices_[: len(y)], np.arange(len(y)))
    np.testing.assert_array_equal(labels[len(y) :], np.repeat([1, 2], [140, 50]))
    assert len(set(over.sample_indices_[len(y) : len(y) + 140])) > 40
    for replacement in (False, True):
        under = adapter.RandomUnderSampler(random_state=0, sampling_strategy={0: 100}, replacement=replacement)
        rows, labels = under.fit_resample(x, y)
        np.testing.assert_array_equal(rows, x[under.sample_indices_])
        np.testing.assert_array_equal(labels, np.repeat([0, 1, 2], [100, 60, 40]))
        assert (len(set(under.sample_indices_[:100])) == 100) is not replacement
        whole = [np.flatnonzero(y == label) for label in (1, 2)]
        np.testing.assert_array_equal(under.sample_indices_[100:], np.concatenate(whole))


def test_shrinkage_moves_repeats_as_in_imbalanced_learn():
    x, y = overlapping((100, 40), width=3)
    spread = []
    for kind in (adapter.RandomOverSampler, over_sampling.RandomOverSampler):
        sampler = kind(random_state=0, shrinkage={1: 0.7}, sampling_strategy={1: 4040})
        rows, _ = sampler.fit_resample(x, y)
        spread.append(np.std((rows - x[sampler.sample_indices_])[140:], axis=0))
        assert sampler.shrinkage_ == {1: 0.7}
    np.testing.assert_allclose(*spread, rtol=0.05)
    for wrong, words in (({0: 1.0}, "factor for each class"), ({1: -1.0}, ">= 0")):
        with pytest.raises(ValueError, match=words):
            adapter.RandomOverSampler(shrinkage=wrong).fit_resample(x, y)
    with pytest.raises(ValueError, match="only numerical"):
        adapter.RandomOverSampler(shrinkage=1.0).fit_resample(x.astype(str).astype(object) + "a", y)


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_sparse_rows_keep_their_form(form):
    x, y = overlapping()
    x = np.maximum(x, 0)
    smoothed = adapter.RandomOverSampler(random_state=0, shrinkage=1.0)
    for sampler in (adapter.SMOTE(random_state=0), adapter.TomekLinks(), smoothed):
        rows, labels = sampler.fit_resample(form(x), y)
        dense, _ = sampler.fit_resample(x, y)
        assert isinstance(rows, form) and rows.shape[0] == len(labels)
        np.testing.assert_allclose(rows.toarray(), dense)


def test_too_few_rows_and_other_metrics_are_refused():
    x, y = overlapping((30, 4), width=2)
    for sampler in (adapter.SMOTE(), adapter.ADASYN(), adapter.EditedNearestNeighbours(n_neighbors=34)):
        with pytest.raises(ValueError, match="Expected n_neighbors <= n_samples_fit, but n_neighbors = "):
            sampler.fit_resample(x, y)
    with pytest.raises(ValueError, match="Euclidean"):
        adapter.SMOTE(k_neighbors=NearestNeighbors(n_neighbors=3, metric="manhattan")).fit_resample(x, y)
    with pytest.raises(RuntimeError, match="Use SMOTE"):
        adapter.ADASYN(n_neighbors=2).fit_resample(x + 100 * y[:, None], y)
    given = adapter.SMOTE(k_neighbors=NearestNeighbors(n_neighbors=4), random_state=0).fit_resample(x, y)
    np.testing.assert_array_equal(given[0], adapter.SMOTE(k_neighbors=3, random_state=0).fit_resample(x, y)[0])


def test_random_state_repeats_or_moves_on():
    x, y = overlapping()
    once, again, other = (adapter.SMOTE(random_state=seed).fit_resample(x, y)[0] for seed in (0, 0, 1))
    assert (once == again).all() and (once != other).any()
    sampler = adapter.SMOTE(random_state=np.random.RandomState(0))
    assert (sampler.fit_resample(x, y)[0] != sampler.fit_resample(x, y)[0]).any()


def test_balanced_classes_stay():
    x, y = overlapping((30, 30))
    for sampler in (adapter.SMOTE(), adapter.BorderlineSMOTE(), adapter.ADASYN(), adapter.RandomOverSampler()):
        rows, labels = sampler.fit_resample(x, y)
        np.testing.assert_array_equal(rows, x)
        np.testing.assert_array_equal(labels, y)
        assert rows is not x


def test_in_a_pipeline():
    x, y = overlapping((200, 60), width=3)
    flow = make_pipeline(adapter.SMOTE(random_state=0), adapter.TomekLinks(), LogisticRegression())
    assert flow.fit(x, y).score(x, y) > 0.7
    # a sampler of imbalanced-learn takes ours where it takes its own
    combine.SMOTEENN(smote=adapter.SMOTE(random_state=0), random_state=0).fit_resample(x, y)


def frame_of(n=60):
    """A data frame with columns of many types, and labels 40 to 20."""
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    columns = {
        "age": rng.integers(20, 70, n),
        "flag": rng.integers(0, 2, n).astype(bool),
        "income": rng.normal(size=n).astype(np.float32),
        "Age": pd.array(rng.integers(0, 9, n), dtype="Int16"),
        "Flag": pd.array(rng.integers(0, 2, n).astype(bool), dtype="boolean"),
        "Income": pd.array(rng.normal(size=n), dtype="Float64"),
        "byte": rng.integers(0, 255, n).astype(np.uint8),
        "large": rng.integers(2**60, 2**60 + 99, n),
    }
    return pd.DataFrame(columns), np.repeat([0, 1], [n - n // 3, n // 3])


@pytest.mark.parametrize("estimator", ALL, ids=lambda e: type(e).__name__)
def test_frames_keep_their_types_and_rows(estimator):
    frame, y = frame_of()
    found, labels = estimator.fit_resample(frame, y)
    assert (found.dtypes == frame.dtypes).all() and len(found) == len(labels)
    if isinstance(estimator, over_sampling.base.BaseOverSampler):
        assert found.iloc[:60].equals(frame) and len(found) == 80
    elif not isinstance(estimator, (adapter.SMOTETomek, adapter.SMOTEENN)):
        assert found.reset_index(drop=True).equals(frame.iloc[estimator.sample_indices_].reset_index(drop=True))


def test_new_rows_of_a_frame_are_rounded():
    frame, y = frame_of()
    frame = frame.drop(columns="large")
    found = adapter.SMOTE(random_state=0).fit_resample(frame, y)[0].iloc[60:].astype(float).to_numpy()
    plain = adapter.SMOTE(random_state=0).fit_resample(frame.astype(float), y)[0].iloc[60:].to_numpy()
    whole = [0, 1, 3, 4, 6]
    np.testing.assert_array_equal(found[:, whole], np.rint(plain[:, whole]))
    np.testing.assert_allclose(found[:, [2, 5]], plain[:, [2, 5]], rtol=1e-6)
    noisy = adapter.RandomOverSampler(random_state=0, shrinkage=1.0)
    moved, exact = (noisy.fit_resample(one, y)[0].iloc[60:].astype(float) for one in (frame, frame.astype(float)))
    np.testing.assert_array_equal(moved["Age"], np.rint(exact["Age"]))


def test_categories_are_repeated_and_not_interpolated():
    frame, y = frame_of()
    frame["kind"] = frame["age"].astype("category")
    assert adapter.RandomOverSampler().fit_resample(frame, y)[0]["kind"].dtype == frame["kind"].dtype
    with pytest.raises(ValueError, match="'kind' is categorical"):
        adapter.SMOTE().fit_resample(frame, y)


# --- both sides of the size limit --------------------------------------------------------------------------------------

DATA = {
    "narrow": lambda rng: rng.normal(size=(300, 3)),
    "wide": lambda rng: rng.normal(size=(300, 20)).astype(np.float32),
    "ties": lambda rng: rng.integers(0, 3, (300, 4)).astype(float),
    "binary": lambda rng: rng.integers(0, 2, (300, 24)).astype(np.uint8),
    "equal rows": lambda rng: np.ones((300, 5)),
    "far from the origin": lambda rng: rng.normal(size=(300, 20)) + 1e6,
    "one row far away": lambda rng: np.concatenate([rng.normal(size=(299, 20)), np.full((1, 20), 1e4)]),
}


@pytest.mark.parametrize("kind", DATA)
def test_neighbours_without_jax_are_those_of_brute_force(kind):
    x = DATA[kind](np.random.default_rng(0))
    near = neighbours.same_class(x, (180, 20, 100), (1, 0, 1), 5)
    np.testing.assert_array_equal(near[:180], neighbours_of(x[:180], 5))
    np.testing.assert_array_equal(near[200:], 200 + neighbours_of(x[200:], 5))
    assert not near[180:200].any()
    np.testing.assert_array_equal(neighbours.among_all(x, (180, 120), (1, 1), 5), neighbours_of(x, 5))


@pytest.mark.parametrize("rows, width", [(neighbours.FEW + 1, 8), (10, neighbours.TREE_WIDTH + 1)])
def test_all_rows_are_compared_where_a_tree_is_slow(monkeypatch, rows, width):
    monkeypatch.setattr(neighbours, "FEW", 100)
    x = np.random.default_rng(0).normal(size=(min(rows, 200), width))
    np.testing.assert_array_equal(neighbours.among_all(x, (len(x),), (1,), 5), neighbours_of(x, 5))


@pytest.fixture
def on_device(monkeypatch, tmp_path):
    """Everything is searched on the device; gives the number of programs compiled so far."""
    monkeypatch.setenv("IMBAL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(neighbours, "LIMIT", -1)
    device_search.program.cache_clear()
    return lambda: device_search.program.cache_info().misses


def test_both_sides_of_the_limit_give_the_same_rows_and_two_programs_serve_all(on_device, monkeypatch):
    for case, sizes in enumerate([(80, 60, 40), (70, 30, 24), (84, 21, 60)]):
        x, y = overlapping(sizes, seed=case)
        for estimator in ALL:
            monkeypatch.setattr(neighbours, "LIMIT", -1)
            compiled = estimator.fit_resample(x, y)
            monkeypatch.setattr(neighbours, "LIMIT", 2**33)
            for mine, other in zip(compiled, estimator.fit_resample(x, y), strict=True):
                np.testing.assert_array_equal(mine, other)
    assert on_device() == 2  # for up to 8 neighbours and, of BorderlineSMOTE, up to 16


def test_many_tiles_of_many_classes(on_device):
    counts = (700, 3, 300, 0, 257, 9)
    x = np.random.default_rng(0).normal(size=(sum(counts), 5))
    near = neighbours.same_class(x, counts, (1, 0, 1, 0, 1, 1), 4)
    begin = 0
    for size, chosen in zip(counts, (1, 0, 1, 0, 1, 1), strict=True):
        mine = near[begin : begin + size]
        np.testing.assert_array_equal(mine, begin + neighbours_of(x[begin : begin + size], 4) if chosen else 0)
        begin += size
    assert on_device() == 1


@pytest.mark.parametrize("size, padded", [(1, 1), (8, 8), (9, 10), (256, 256), (257, 320), (321, 384), (5000, 5120)])
def test_sizes_in_steps(size, padded):
    assert device_search.bucket(size) == padded


COLD = """
import json, sys
import numpy as np
from imblearn.pipeline import make_pipeline
from imbal_jax.adapters import imblearn as adapter
y = np.repeat([0, 1, 2], [60, 30, 20])
x = np.random.default_rng(0).normal(size=(110, 4)) + 0.5 * y[:, None]
for name in sys.argv[1:]:
    getattr(adapter, name)().fit_resample(x, y)
print(json.dumps(sorted(name for name in ("jax", "jaxlib", "flax", "absl") if name in sys.modules)))
"""


def test_small_sets_are_resampled_without_jax():
    command = [sys.executable, "-c", COLD, *(type(estimator).__name__ for estimator in ALL)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert json.loads(done.stdout) == []


KEPT = """
import json, numpy as np, jax
from imbal_jax.runtime import environment
from imbal_jax.adapters import device_search
read = environment.start_compile_clock()
device_search.program(256, 3, "float32", 1, 8)
counts, folder = read(), jax.config.jax_compilation_cache_dir
jax.jit(lambda x: x + 1)(np.ones(3))
print(json.dumps([counts["cache_hits"], counts["cache_misses"], read()["cache_misses"], folder]))
"""


def test_programs_are_kept_for_the_next_process_and_nothing_else_is(tmp_path):
    variables = {**os.environ, "IMBAL_CACHE_DIR": str(tmp_path)}
    variables.pop("JAX_COMPILATION_CACHE_DIR", None)
    command = [sys.executable, "-W", "error", "-c", KEPT]
    runs = [subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=variables) for _ in range(2)]
    assert [run.stderr for run in runs] == ["", ""]
    first, second = (json.loads(run.stdout) for run in runs)
    assert first == [0, 1, 1, None] and second == [1, 0, 0, None]
