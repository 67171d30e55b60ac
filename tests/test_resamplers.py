"""Neighbour-based resamplers: their pure functions on worked examples, and the hooks over lanes."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax import methods
from imbal_jax.data.batches import Shared, pick
from imbal_jax.errors import UserError
from imbal_jax.methods.rows import _layout as layout
from imbal_jax.methods.rows import _neighbours as near
from imbal_jax.methods.rows.adasyn import adasyn
from imbal_jax.methods.rows.borderline_smote import borderline_smote, in_danger
from imbal_jax.methods.rows.enn import enn
from imbal_jax.methods.rows.gan_synth import TrainedClassifier
from imbal_jax.methods.rows.smote import smote
from imbal_jax.methods.rows.smote_enn import smote_enn
from imbal_jax.methods.rows.smote_tomek import smote_tomek
from imbal_jax.methods.rows.tomek_links import tomek_links
from imbal_jax.methods.rows.under import undersample
from imbal_jax.runtime import lanes
from imbal_jax.stages.training_set import unbalanced

QUICK = {"xla_backend_optimization_level": 0}  # each is compiled for a few rows and run once
STATIC = ("counts", "wanted", "k", "m", "kind", "strategy", "vote", "enn_k")
smote, borderline_smote, in_danger, adasyn, tomek_links, enn, smote_tomek, smote_enn = (
    jax.jit(f, static_argnames=[n for n in STATIC if n in inspect.signature(f).parameters], compiler_options=QUICK)
    for f in (smote, borderline_smote, in_danger, adasyn, tomek_links, enn, smote_tomek, smote_enn)
)

KEY = jax.random.key(0)
KEYS = lanes.lane_keys(0, [0, 1])
COUNTS, WANTED = (30, 8, 5, 1), (30, 20, 12, 4)
SHAPE = (4, 3, 1)
SPECS = [
    "smote(space='pca(3)', k=2)",
    "borderline_smote(kind=2)",
    "adasyn(to=0.5)",
    "smote(to=10) | under(to=9) | smote_tomek",
]


def rows_of(kind, counts=COUNTS, seed=0):
    """Random rows, classes a little apart."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    if kind == "images":
        return rng.integers(0, 256, size=(len(y), 5, 4, 1)).astype(np.uint8)
    shape = (6, 1) if kind == "signals" else (6,)
    return (rng.normal(size=(len(y), *shape)) + y.reshape(-1, *[1] * len(shape)) * 0.5).astype(np.float32)


def nearest_same_class(x, counts, i, k):
    """The k nearest of row i's class, by brute force."""
    y = np.repeat(np.arange(len(counts)), counts)
    flat = x.reshape(len(x), -1).astype(np.float64)
    squared = ((flat - flat[i]) ** 2).sum(axis=1)
    squared[(y != y[i]) | (np.arange(len(y)) == i)] = np.inf
    k = min(k, counts[y[i]] - 1)
    return set(np.argsort(squared, kind="stable")[:k].tolist())


@pytest.mark.parametrize("kind", ["vectors", "signals", "images"])
def test_smote_rows_lie_between_neighbours_of_a_class(kind):
    x = rows_of(kind)
    new = smote(KEY, x, COUNTS, WANTED, 5)
    assert new.x.dtype == x.dtype and new.x.shape == (22, *x.shape[1:])
    np.testing.assert_array_equal(new.y, np.repeat([1, 2, 3], [12, 7, 3]))
    parents, weight, y = np.asarray(new.parents), np.asarray(new.weight), np.repeat(np.arange(4), COUNTS)
    np.testing.assert_array_equal(y[parents[:, 0]], new.y)
    assert len(np.unique(parents[:12, 0])) > 3 and len(np.unique(weight)) > 15
    for row, (base, other), w in zip(np.asarray(new.x), parents, weight, strict=True):
        a, b = x[base].astype(np.float32), x[other].astype(np.float32)
        expected = a + w * (b - a)
        np.testing.assert_allclose(row, np.round(expected) if kind == "images" else expected, atol=1e-5)
    for base, other in parents[:19]:  # the class of 5 rows has 4 neighbours to choose from
        assert int(other) in nearest_same_class(x, COUNTS, base, 5)
    np.testing.assert_array_equal(parents[19:], [[43, 43]] * 3)  # a single row is repeated
    np.testing.assert_array_equal(new.x[19:], x[[43] * 3])


def test_smote_takes_every_neighbour_and_no_other():
    x = np.asarray([[0.0], [1.0], [3.0], [7.0], [15.0]], np.float32)
    new = smote(KEY, x, (5,), (400,), k=2)
    taken = {(int(a), int(b)) for a, b in new.parents}
    assert taken == {(0, 1), (0, 2), (1, 0), (1, 2), (2, 1), (2, 0), (3, 2), (3, 1), (4, 3), (4, 2)}


def test_smote_searches_in_the_space_that_it_is_given():
    x = np.asarray([[0.0], [1.0], [2.0], [3.0]], np.float32)
    z = np.asarray([[0.0], [10.0], [0.1], [10.1]], np.float32)
    new = smote(KEY, x, (4,), (60,), k=1, z=jnp.asarray(z))
    assert {(int(a), int(b)) for a, b in new.parents} == {(0, 2), (2, 0), (1, 3), (3, 1)}


def test_borderline_uses_rows_in_danger_alone():
    rng = np.random.default_rng(0)
    majority = rng.normal(size=(40, 2))
    safe, border, noise = rng.normal(size=(15, 2)) * 0.1 + 9, rng.normal(size=(4, 2)) * 0.05 + 2.2, np.zeros((1, 2))
    x = np.concatenate([majority, safe, border, noise]).astype(np.float32)
    counts = (40, 20)
    squared = ((x[:, None] - x[None]) ** 2).sum(axis=2) + np.diag(np.full(60, np.inf))
    y = np.repeat([0, 1], counts)
    foreign = (y[np.argsort(squared, axis=1)[:, :6]] != y[:, None]).sum(axis=1)
    danger = (foreign >= 3) & (foreign < 6)
    assert set(np.flatnonzero(danger & (y == 1))) == set(range(55, 59))
    np.testing.assert_array_equal(in_danger(jnp.asarray(x), counts, 6), danger)
    for kind in (1, 2):
        new = borderline_smote(KEY, x, counts, (40, 140), k=5, m=6, kind=kind)
        assert set(np.asarray(new.parents[:, 0])) == set(range(55, 59))
        foreign = y[np.asarray(new.parents[:, 1])] != 1
        assert foreign.any() == (kind == 2)
        weight = np.asarray(new.weight)
        assert weight[foreign].max(initial=0) < 0.5 and weight[~foreign].max() > 0.5
        a, b = x[np.asarray(new.parents).T]
        np.testing.assert_allclose(new.x, a + weight[:, None] * (b - a), atol=1e-5)


def test_borderline_without_danger_is_smote():
    x = np.concatenate([np.arange(20.0), 1000 + np.arange(12.0)])[:, None].astype(np.float32)
    plain = smote(KEY, x, (20, 12), (20, 20), 3)
    for kind in (1, 2):
        new = borderline_smote(KEY, x, (20, 12), (20, 20), k=3, m=4, kind=kind)
        for a, b in zip(new, plain, strict=True):
            np.testing.assert_array_equal(a, b)


def test_adasyn_draws_in_proportion_to_foreign_neighbours():
    # Class 1 lies at 10, 11, 12, 13: with k = 2, row 10 has one foreign neighbour (9.5), row 13 has two; the others none.
    x = np.asarray([[9.5], [13.1], [13.2], [10.0], [11.0], [12.0], [13.0]], np.float32)
    new = adasyn(KEY, x, (3, 4), (3, 3004), k=2)
    share = np.bincount(np.asarray(new.parents[:, 0]), minlength=7)[3:] / 3000
    np.testing.assert_allclose(share, [1 / 3, 0, 0, 2 / 3], atol=0.03)
    assert {(int(a), int(b)) for a, b in new.parents} == {(3, 4), (3, 5), (6, 5), (6, 4)}
    apart = np.asarray([[0.0], [1.0], [2.0], [100.0], [101.0], [102.0]], np.float32)
    assert set(np.asarray(adasyn(KEY, apart, (3, 3), (3, 60), k=2).parents[:, 0])) == {3, 4, 5}


def test_tomek_links_by_hand():
    #           class 0: 0 1 5 9     class 1: 5.5 9.2 20
    x = np.asarray([[0], [1], [5], [9], [5.5], [9.2], [20]], np.float32)
    np.testing.assert_array_equal(tomek_links(x, (4, 3), "majority"), [1, 1, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(tomek_links(x, (4, 3), "all"), [1, 1, 0, 0, 0, 0, 1])


def test_enn_by_hand():
    #           class 0: 0 1 2 10    class 1: 9 11 12
    x = np.asarray([[0], [1], [2], [10.1], [9], [11], [12]], np.float32)
    np.testing.assert_array_equal(enn(x, (4, 3), 2, "all"), [1, 1, 1, 0, 1, 1, 1])
    np.testing.assert_array_equal(enn(x, (4, 3), 2, "all", "all"), [1, 1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(enn(x, (4, 3), 3, "mode", "all"), [1, 1, 1, 0, 1, 1, 1])
    np.testing.assert_array_equal(enn(x, (4, 3), 2, "mode", "all"), [1, 1, 1, 0, 0, 0, 0])  # a tie counts for class 0


@pytest.mark.parametrize("strategy", ["majority", "all"])
def test_cleaning_equals_imbalanced_learn(strategy):
    library = pytest.importorskip("imblearn.under_sampling")
    x, counts = rows_of("vectors", (60, 25, 40)), (60, 25, 40)
    y = np.repeat(np.arange(3), counts)
    theirs = {"majority": "not minority", "all": "all"}[strategy]
    found = library.TomekLinks(sampling_strategy=theirs)
    found.fit_resample(x, y)
    np.testing.assert_array_equal(np.flatnonzero(tomek_links(x, counts, strategy)), np.sort(found.sample_indices_))
    for vote in ("all", "mode") if strategy == "majority" else ("mode",):
        found = library.EditedNearestNeighbours(sampling_strategy=theirs, kind_sel=vote)
        found.fit_resample(x, y)
        np.testing.assert_array_equal(np.flatnonzero(enn(x, counts, 3, vote, strategy)), np.sort(found.sample_indices_))


def test_smote_then_cleaning():
    x = rows_of("images", (20, 6))
    y = np.concatenate([np.repeat([0, 1], (20, 6)), np.ones(10, int)])
    for function, cleaned in ((smote_tomek, tomek_links), (smote_enn, enn)):
        new, keep = function(KEY, x, (20, 6), (20, 16))
        together = np.concatenate([x, new.x])
        assert (y[26:] == np.asarray(new.y)).all() and keep.shape == (36,)
        np.testing.assert_array_equal(keep, cleaned(together, (20, 16), strategy="all"))  # classes still lie in a row here
    order = layout.appended_by_class((2, 1, 2), (0, 2, 1))
    np.testing.assert_array_equal(order, [0, 1, 2, 5, 6, 3, 4, 7])


def test_refill_takes_kept_rows_of_the_class():
    keep = jnp.asarray([True, False, True, False, False, False, True])
    rows = np.asarray(jax.vmap(lambda key: near.refill(key, keep, (4, 2, 1)))(jax.random.split(KEY, 50)))
    np.testing.assert_array_equal(rows[:, [0, 2, 6]], [[0, 2, 6]] * 50)
    assert set(rows[:, [1, 3]].ravel()) == {0, 2}
    np.testing.assert_array_equal(rows[:, 4:6], [[4, 5]] * 50)  # no row of this class would stay: all do


def test_undersampling_draws_own_rows_without_repeats():
    rows = jnp.arange(100, 120)
    drawn = np.asarray(jax.vmap(lambda key: undersample(key, rows, (12, 3, 5), (4, 3, 2)))(jax.random.split(KEY, 40)))
    assert drawn.shape == (40, 9)
    assert all(len(set(lane)) == 9 for lane in drawn.tolist())
    assert set(drawn[:, :4].ravel()) == set(range(100, 112)) and set(drawn[:, 7:].ravel()) == set(range(115, 120))
    np.testing.assert_array_equal(drawn[:, 4:7], [[112, 113, 114]] * 40)


TASK = methods.Task(COUNTS, 1.0, ("a", "b", "c", "d"), SHAPE, (1, 2, 3))


class Mean:
    """A network whose features are the column means."""

    @staticmethod
    def apply(params, x):
        features = x.mean(axis=(1, 3)) * params
        return features, features


def problem(many):
    y = np.repeat(np.arange(4), COUNTS)
    x = jax.random.randint(jax.random.key(1), (len(y), *SHAPE), 0, 256).astype(jnp.uint8)
    train = unbalanced(np.tile(np.arange(len(y), dtype=np.int32), (many, 1)), COUNTS, x)
    trained = {"plain": lambda: TrainedClassifier(Mean, jnp.arange(1.0, many + 1))}
    return train, methods.Context(Shared(x, jnp.asarray(y, jnp.int32)), trained, lanes.over_lanes)


def balance(spec, keys=KEYS):
    train, context = problem(len(keys))
    return methods.resample(spec, TASK, keys, train, context), context


@pytest.mark.parametrize("spec", SPECS)
def test_lanes(spec):
    train, context = balance(spec)
    total, real = sum(train.counts), sum(COUNTS)
    assert train.pool.rows.shape == (2, total) and train.pool.new_x.dtype == jnp.uint8
    assert train.pool.new_x.shape[:2] == train.pool.new_y.shape == train.parents.shape[:2]
    assert isinstance(train.parents, np.ndarray) and (train.parents >= 0).all() and (train.parents < real).all()
    y = np.asarray(context.shared.y)
    for lane in range(2):
        pool = jax.tree.map(lambda leaf, lane=lane: leaf[lane], train.pool)
        _, labels = pick(pool, context.shared, jnp.arange(total))
        np.testing.assert_array_equal(labels, np.repeat(np.arange(4), train.counts))
        if "kind=2" not in spec:
            np.testing.assert_array_equal(y[train.parents[lane]], np.tile(pool.new_y[:, None], train.parents.shape[2]))
    if "smote" in spec:
        assert not np.array_equal(train.parents[0], train.parents[1])


def test_lanes_make_what_the_pure_function_makes():
    train, context = balance("smote(k=3)")
    assert train.counts == (30, 30, 30, 30)
    x, parents = np.asarray(context.shared.x).astype(int), train.parents[0]
    assert all(int(b) in nearest_same_class(x, COUNTS, a, 3) for a, b in parents[:47])
    np.testing.assert_array_equal(parents[47:], [[43, 43]] * 29)
    new, (a, b) = np.asarray(train.pool.new_x[0]).astype(int), x[parents.T]
    assert (new >= np.minimum(a, b)).all() and (new <= np.maximum(a, b)).all()


def test_neighbours_in_the_features_of_a_classifier():
    train, context = balance("smote(k=1, space=features)")
    columns = np.asarray(context.shared.x, np.float64).mean(axis=(1, 3))
    assert all(int(b) in nearest_same_class(columns, COUNTS, a, 1) for a, b in train.parents[0][:47])


def test_principal_axes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4)).astype(np.float32) * np.asarray([1, 5, 2, 0.1], np.float32) + 3
    mean, axes = near.principal_axes(jnp.asarray(x.sum(axis=0)), jnp.asarray(x.T @ x), 50, 2)
    expected = np.linalg.svd(x - x.mean(axis=0))[2][:2].T
    np.testing.assert_allclose(mean[0], x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(np.abs(np.sum(axes * expected, axis=0)), 1, atol=1e-3)


def test_parents_of_generated_rows_and_of_new_rows():
    train, context = problem(2)
    made = jnp.zeros((2, 3, *SHAPE), jnp.uint8)
    train = layout.joined(train, made, np.full((2, 3, 0), -1, np.int32), (0, 0, 0, 3), 44)
    train = methods.resample("smote(k=2, to=6)", TASK, KEYS, train, context)
    assert train.counts == (30, 8, 6, 6) and train.parents.shape == (2, 6, 2)
    assert (train.parents[:, :3] == -1).all()
    last = train.parents[:, 4:]
    assert ((last == -1) | (last == 43)).all()


def test_small_classes_are_warned_of(monkeypatch):
    lines = []
    monkeypatch.setattr(near.logging, "warning", lambda text, *values: lines.append(text % values))
    balance("smote(k=5)")
    assert lines == ["smote: class 'c' has 5 rows, so k is 4 there, not 5", "smote: class 'd' has 1 row, which is repeated"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("smote(k=0)", "smote: k must be at least 1 (got 0)"),
        ("smote(space=pcs)", "space must be 'raw'"),
        ("smote(space='pca(13)')", "the rows have 12 numbers"),
        ("smote(space='pca(0)')", "the rows have 12 numbers"),
        ("borderline_smote(kind=3)", "kind must be 1 or 2 (got 3)"),
        ("borderline_smote(m=0)", "m must be at least 1 (got 0)"),
        ("adasyn(k=0)", "adasyn: k must be at least 1 (got 0)"),
        ("tomek_links(strategy=al)", "did you mean 'all'"),
        ("enn(vote=most)", "vote='most'"),
        ("smote_enn(enn_k=0)", "enn_k must be at least 1 (got 0)"),
        ("under(to=-1)", "under: to=-1 is none of"),
    ],
)
def test_bad_options_say_what_is_wrong(spec, message):
    with pytest.raises(UserError) as error:
        methods.build(spec, TASK)
    assert message in str(error.value)


def test_every_resampler_has_its_name_and_paper():
    for name in ("smote", "borderline_smote", "adasyn", "tomek_links", "enn", "smote_tomek", "smote_enn"):
        module = methods._module(name)
        assert any(line.strip().startswith("Paper: ") for line in module.make.__doc__.splitlines())


def test_nothing_to_do():
    train, context = problem(2)
    for spec in ("smote(to=min)", "adasyn(to=min)", "borderline_smote(to=min)", "under(to=max)"):
        same = methods.resample(spec, TASK, KEYS, train, context)
        assert same is train
