"""Batch transforms: the published formulas against numpy, with a second batch that is known."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, stats

from imbal_jax.data.batches import Batch, Pool, Shared, pick
from imbal_jax.errors import UserError
from imbal_jax.methods.inputs import affine, balanced_mixup, crop, cutmix, elastic, flip, label_smoothing, mixup, remix
from imbal_jax.methods.method import Context, Task, Train
from imbal_jax.methods.rows import affine_over
from imbal_jax.ops import warp
from imbal_jax.runtime import lanes

KEY = jax.random.key(3)
B, K = 6, 3
WORDS = (affine, balanced_mixup, crop, cutmix, elastic, flip, label_smoothing, mixup, remix)
MODULES: dict[str, Any] = {module.__name__.rpartition(".")[2]: module for module in WORDS}
IMAGE = (8, 6, 2)


def task(shape=IMAGE, counts=(90, 30, 10)):
    return Task(counts, 1.0, ("a", "b", "c"), shape, (2,))


def batch(shape=IMAGE, seed=0, dtype=jnp.float32, many=B):
    rng = np.random.default_rng(seed)
    t = np.eye(K)[np.arange(many) % K]
    return Batch(jnp.asarray(rng.random((many, *shape)), dtype), jnp.asarray(t, dtype))


def draw_of(second, asked: list | None = None):
    def draw(key, p):
        assert jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
        if asked is not None:
            asked.append(p)
        return second

    return draw


def second_of(shape=IMAGE, dtype=jnp.float32, many=B):
    one = batch(shape, 1, dtype, many)
    return Batch(one.x, jnp.roll(one.t, 1, axis=1))


def hooked(method, first, second):
    """A method's batch from known first and second ones, compiled."""
    return jax.jit(lambda key: method.transform(key, first, draw_of(second), jnp.float32(0.5)))(KEY)


def applied(name, shape=IMAGE, dtype=jnp.float32, key=KEY, first=None, **options):
    method = MODULES[name].make(task(shape), **options)
    first = batch(shape, dtype=dtype) if first is None else first
    second = second_of(shape, dtype, first.x.shape[0])
    return method.transform(key, first, draw_of(second), jnp.float32(0.5))


ANY = ("mixup", "remix", "balanced_mixup", "label_smoothing")
TAKES = [("mixup", (5,), jnp.float32), ("label_smoothing", (5,), jnp.float32), ("cutmix", (7, 2), jnp.float32)]
TAKES += [(name, (7, 2), jnp.float32) for name in ANY]
TAKES += [(name, IMAGE, jnp.bfloat16) for name in MODULES]


@pytest.fixture(scope="module")
def outcomes():
    """What every transform makes of every kind of batch, for a key, the key again and another key."""
    run = jax.jit(lambda key: [applied(*kind, key=key) for kind in TAKES])
    return list(zip(TAKES, run(KEY), run(KEY), run(jax.random.key(4)), strict=True))


def test_shapes_dtypes_targets_and_determinism(outcomes):
    for (name, shape, dtype), out, again, other in outcomes:
        assert out.x.shape == (B, *shape) and out.t.shape == (B, K), name
        assert out.x.dtype == out.t.dtype == dtype, name
        x, t = np.asarray(out.x, np.float32), np.asarray(out.t, np.float32)
        np.testing.assert_allclose(t.sum(-1), 1, atol=1e-5 if dtype == jnp.float32 else 0.01, err_msg=name)
        assert x.min() >= -1e-6 and x.max() <= 1.01 and t.min() >= 0, name
        np.testing.assert_array_equal(x, np.asarray(again.x, np.float32), err_msg=name)
        if name != "label_smoothing":
            assert not np.array_equal(x, np.asarray(other.x, np.float32)), name


STILL = {
    "affine": {"rotation": 0.0, "shear": 0.0, "zoom": 0.0, "translation": 0.0},
    "crop": {"pad": 0},
    "elastic": {"strength": 0.0},
    "flip": {"p": 0.0},
    "mixup": {"alpha": 1e-9},
    "balanced_mixup": {"alpha": 1e-9},
    "cutmix": {"p": 0.0},
    "label_smoothing": {"epsilon": 0.0},
}


def test_limit_cases_change_nothing():
    first, second = batch(), second_of()
    run = jax.jit(lambda key: {word: applied(word, key=key, **options) for word, options in STILL.items()})
    for name, out in run(KEY).items():
        kept: Any = np.full(B, True)
        if name == "mixup":  # lambda is 0 or 1 in the limit
            kept = np.asarray(out.t == first.t).all(-1)
            assert kept.any()
        np.testing.assert_array_equal(out.x, np.where(kept[:, None, None, None], first.x, second.x), err_msg=name)
        np.testing.assert_array_equal(out.t, np.where(kept[:, None], first.t, second.t), err_msg=name)


@pytest.mark.parametrize(
    ("name", "options", "shape", "message"),
    [
        ("affine", {}, (300, 1), r"affine: needs images \[H, W, C\] \(got rows of shape \(300, 1\)"),
        ("affine", {"rotation": -1}, IMAGE, "affine: rotation must be from 0 to 180 .got -1."),
        ("affine", {"zoom": 1.5}, IMAGE, "affine: zoom must be .*got 1.5"),
        ("affine", {"zoom": "wide"}, IMAGE, "affine: zoom must be a number or two factors .*got 'wide'"),
        ("affine", {"zoom": "1.2,0.8"}, IMAGE, "rising order"),
        ("affine", {"fill": "reflct"}, IMAGE, "affine: unknown fill 'reflct'; did you mean 'reflect'"),
        ("affine", {"classes": "3"}, IMAGE, "affine: classes='3' is none of"),
        ("affine", {"classes": "rare"}, IMAGE, "affine: classes='rare' is none of"),
        ("affine", {"p": 1.5}, IMAGE, "affine: p must be from 0 to 1 .got 1.5."),
        ("crop", {}, (64,), r"crop: needs images \[H, W, C\] \(got rows of shape \(64,\)"),
        ("crop", {"pad": 9}, IMAGE, "crop: pad must be from 0 to 6 .got 9."),
        ("elastic", {}, (300, 1), r"elastic: needs images \[H, W, C\] \(got rows of shape \(300, 1\)"),
        ("elastic", {"strength": -1}, IMAGE, "elastic: strength must be at least 0 .got -1."),
        ("elastic", {"smoothness": 0}, IMAGE, "elastic: smoothness must be above 0 .got 0."),
        ("elastic", {"p": -0.1}, IMAGE, "elastic: p must be from 0 to 1 .got -0.1."),
        ("elastic", {"fill": "edge"}, IMAGE, "elastic: unknown fill 'edge'"),
        ("flip", {}, (64,), r"flip: needs images \[H, W, C\] \(got rows of shape \(64,\)"),
        ("flip", {"p": 1.5}, IMAGE, "flip: p must be .*got 1.5"),
        ("mixup", {"alpha": -1}, IMAGE, "mixup: alpha must be above 0 .got -1."),
        ("balanced_mixup", {"alpha": 0}, IMAGE, "balanced_mixup: alpha must be .*got 0"),
        ("cutmix", {}, (64,), "cutmix: needs images"),
        ("cutmix", {"p": -0.1}, IMAGE, "cutmix: p must be .*got -0.1"),
        ("remix", {"kappa": 0.5}, IMAGE, "remix: kappa must be .*got 0.5"),
        ("remix", {"tau": 2}, IMAGE, "remix: tau must be .*got 2"),
        ("label_smoothing", {"epsilon": 1}, IMAGE, "label_smoothing: epsilon must be from 0 to below 1 .got 1."),
        ("affine", {"zoom": 1}, IMAGE, "affine: zoom must be from 0 to below 1, or two factors as '0.8,1.2' .got 1."),
        ("remix", {"alpha": float("nan")}, IMAGE, "remix: alpha must be above 0 .got nan."),
        ("remix", {"kappa": float("inf")}, IMAGE, "remix: kappa must be at least 1 .got inf."),
    ],
)
def test_bad_options_say_what_is_wrong(name, options, shape, message):
    with pytest.raises(UserError, match=message):
        MODULES[name].make(task(shape), **options)


# mixup and its relatives


def test_beta_draws():
    """By mean, variance and the whole distribution; a and b may be traced."""
    many, shapes = 20_000, np.array([[0.2, 0.2], [1.0, 1.0], [0.2, 1.0], [4.0, 2.5]])
    several = jax.jit(jax.vmap(lambda key, shape: mixup.beta(key, shape[0], shape[1], many)))
    for (a, b), draws in zip(shapes, np.asarray(several(jax.random.split(KEY, 4), shapes), np.float64), strict=True):
        mean, variance = stats.beta.stats(a, b)
        assert abs(draws.mean() - mean) < 4 * (variance / many) ** 0.5
        assert abs(draws.var() / variance - 1) < 0.05
        inner = draws[(draws > 1e-6) & (draws < 1 - 1e-6)]  # next to 1, float32 has too few numbers for a test of this kind
        lowest, highest = stats.beta.cdf([1e-6, 1 - 1e-6], a, b)
        assert abs(len(inner) / many - (highest - lowest)) < 0.01
        ranks = (stats.beta.cdf(inner, a, b) - lowest) / (highest - lowest)
        assert stats.kstest(ranks, "uniform").pvalue > 1e-3


def test_balanced_share_is_beta():
    draws = np.asarray(balanced_mixup.balanced_share(KEY, 0.2, 20_000), np.float64)
    assert stats.kstest(draws, stats.beta(0.2, 1).cdf).pvalue > 1e-3
    assert abs(draws.mean() - 1 / 6) < 0.01  # most of the first batch is kept


def test_mix_is_the_published_formula():
    first, second, lam = batch(), second_of(), jnp.asarray([0.0, 0.25, 0.5, 0.9, 1.0, 0.1])
    out = mixup.mix(first, second, lam)
    share = np.asarray(lam).reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(out.x, share * first.x + (1 - share) * second.x, atol=1e-6)
    np.testing.assert_allclose(out.t, share[..., 0, 0] * first.t + (1 - share[..., 0, 0]) * second.t, atol=1e-6)
    np.testing.assert_array_equal(out.x[4], first.x[4])
    np.testing.assert_array_equal(out.x[0], second.x[0])


def test_mixup_blends_images_and_targets_alike():
    """Every example has its own lambda; the targets (disjoint here) show which."""
    first, second = batch(), second_of()
    out = hooked(mixup.make(task(), alpha=1.0), first, second)
    lam = np.asarray((out.t * first.t).sum(-1))
    assert len(np.unique(lam)) == B
    np.testing.assert_allclose(out.x, mixup.mix(first, second, jnp.asarray(lam)).x, atol=1e-6)


def test_alpha_may_be_traced():
    traced, fixed = jax.jit(lambda alpha: (applied("mixup", alpha=alpha), applied("mixup", alpha=0.4)))(0.4)
    np.testing.assert_allclose(traced.x, fixed.x, atol=1e-5)


def test_remix_on_a_worked_table():
    """kappa = 3, tau = 0.5: the target goes to the far rarer class where the commoner one's share is below a half."""
    table = [  # lambda, n1, n2 -> mu
        (0.4, 90, 30, 0.0),
        (0.6, 90, 30, 0.6),
        (0.4, 80, 30, 0.4),
        (0.4, 30, 90, 0.4),
        (0.6, 30, 90, 1.0),
        (0.6, 30, 80, 0.6),
        (0.5, 90, 10, 0.5),
        (0.2, 50, 50, 0.2),
    ]
    lam, n1, n2, mu = (jnp.asarray(column, jnp.float32) for column in zip(*table, strict=True))
    np.testing.assert_allclose(remix.target_share(lam, n1, n2), mu)
    np.testing.assert_allclose(remix.target_share(lam, n1, n2, tau=0.0), lam)  # mixup
    np.testing.assert_allclose(remix.target_share(lam, n1, n2, kappa=1e9), lam)


def test_remix_takes_the_counts_of_the_two_classes():
    first, second = batch(), second_of()
    out, plain = hooked(remix.make(task(), tau=1.0), first, second), hooked(mixup.make(task(), alpha=1.0), first, second)
    np.testing.assert_array_equal(out.x, plain.x)  # images are mixed as mixup does
    counts = np.array(task().counts)
    n1, n2 = counts[np.argmax(first.t, -1)], counts[np.argmax(second.t, -1)]
    rarer = np.where((n1 < n2)[:, None], first.t, second.t)  # every pair is 3 times apart at least
    np.testing.assert_allclose(out.t, rarer, atol=1e-6)


def test_balanced_mixup_asks_for_every_class_that_has_rows():
    asked: list = []
    method: Any = balanced_mixup.make(task(counts=(90, 0, 10)), alpha=1.0)
    first, second = batch(), second_of()
    out = method.transform(KEY, first, draw_of(second, asked), jnp.float32(0))
    np.testing.assert_allclose(asked[0], [0.5, 0, 0.5])
    lam = np.asarray((out.t * first.t).sum(-1))
    np.testing.assert_allclose(out.x, mixup.mix(first, second, jnp.asarray(lam)).x, atol=1e-6)


def test_label_smoothing():
    t = jnp.asarray([[1.0, 0, 0, 0], [0.5, 0.5, 0, 0]])
    np.testing.assert_allclose(
        label_smoothing.smooth(t, 0.1), [[0.925, 0.025, 0.025, 0.025], [0.475, 0.475, 0.025, 0.025]], atol=1e-6
    )


# CutMix


@pytest.mark.parametrize("shape", [(9, 7, 2), (40, 1)])
def test_cutmix_pastes_one_box_and_counts_it(shape):
    many = 50
    first = Batch(jnp.zeros((many, *shape)), batch(shape, many=many).t)
    method = cutmix.make(task(shape))
    second = Batch(jnp.ones((many, *shape)), second_of(shape, many=many).t)
    out = hooked(method, first, second)
    x = np.asarray(out.x)
    assert set(np.unique(x)) == {0.0, 1.0}
    left = 1 - x.mean(axis=tuple(range(1, x.ndim)))
    np.testing.assert_allclose(out.t, left[:, None] * first.t + (1 - left[:, None]) * second.t, atol=1e-6)
    assert len(np.unique(left)) > 8
    for one in x[..., 0]:
        where = np.argwhere(one)
        if len(where):
            spans = where.max(0) - where.min(0) + 1
            assert len(where) == np.prod(spans)  # a box without holes


def test_boxes_by_hand():
    """lambda = 0.75: half of each side of an image, a quarter of a signal, cut off at the border."""
    begin, end = (np.asarray(a) for a in cutmix.boxes(KEY, jnp.full(200, 0.75), (8, 12)))
    inner = (begin > 0) & (end < [8, 12])
    assert set((end - begin)[:, 0][inner[:, 0]]) == {4} and set((end - begin)[:, 1][inner[:, 1]]) == {6}
    assert begin.min() == 0 and end.max(0).tolist() == [8, 12]
    begin, end = cutmix.boxes(KEY, jnp.full(200, 0.75), (40,))
    assert int((end - begin).max()) == 10
    begin, end = cutmix.boxes(KEY, jnp.ones(5), (8, 12))
    np.testing.assert_array_equal(begin, end)


def test_cutmix_leaves_examples_alone_with_probability():
    first = Batch(jnp.zeros((400, 10, 1)), batch((10, 1), many=400).t)
    method = cutmix.make(task((10, 1)), p=0.3)
    second = Batch(jnp.ones((400, 10, 1)), first.t)
    out = hooked(method, first, second)
    assert 0.15 < float((out.x.max((1, 2)) > 0).mean()) < 0.35  # a few boxes are empty


# affine and flip


def test_flip_mirrors_columns():
    x = batch(many=200).x
    out = np.asarray(flip.flip(KEY, x, 0.5))
    mirrored = (out == np.asarray(x)[:, :, ::-1]).all((1, 2, 3))
    assert (mirrored | (out == np.asarray(x)).all((1, 2, 3))).all()
    assert 0.35 < mirrored.mean() < 0.65
    np.testing.assert_array_equal(flip.flip(KEY, x, 1.0), x[:, :, ::-1])


def test_crops_are_windows_of_the_padded_images():
    x = np.asarray(batch(many=300).x)
    out = np.asarray(crop.crop(KEY, x, 1))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1:3]
    found = np.stack([(out == padded[:, i : i + height, j : j + width]).all((1, 2, 3)) for i in range(3) for j in range(3)])
    assert found.any(0).all()
    assert (found.sum(1) > 15).all() and (found.sum(1) < 55).all()  # 33 of each are expected


def test_affine_matrices_lie_in_their_ranges():
    n = 4000

    drawn = jax.jit(lambda ranges: affine.random_matrices(KEY, n, (10, 20), affine.Ranges(*ranges)))

    def matrices(**only):
        return np.asarray(drawn(affine.Ranges(0.0, 0.0, (1.0, 1.0), 0.0)._replace(**only)[:4]))

    turned = np.degrees(np.arctan2(matrices(rotation=30.0)[:, 1, 0], matrices(rotation=30.0)[:, 0, 0]))
    slanted = np.degrees(np.arcsin(-matrices(shear=20.0)[:, 0, 1]))
    moved = matrices(translation=0.1)[:, :2, 2]
    zoomed = matrices(zoom=(0.8, 1.1))[:, [0, 1], [0, 1]]
    for values, low, high in [
        (turned, -30, 30),
        (slanted, -20, 20),
        (moved[:, 0], -1, 1),
        (moved[:, 1], -2, 2),
        (zoomed[:, 0], 0.8, 1.1),
        (zoomed[:, 1], 0.8, 1.1),
    ]:
        assert low <= values.min() + 1e-3 and values.max() - 1e-3 <= high
        assert stats.kstest((values - low) / (high - low), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(zoomed.T)[0, 1]) < 0.1
    np.testing.assert_allclose(matrices(zoom=(0.8, 0.8)), np.tile(np.diag([0.8, 0.8, 1]), (n, 1, 1)), atol=1e-6)


def test_affine_zoom_as_a_range_in_the_options():
    assert affine.read_ranges("affine", task(), 30, 20, "0.8,0.8", 0, "nearest").zoom == (0.8, 0.8)
    assert affine.read_ranges("affine", task(), 30, 20, 0.25, 0, "nearest").zoom == (0.75, 1.25)


@pytest.mark.parametrize("word", ["affine", "elastic"])
def test_the_chosen_classes_alone_are_transformed(word):
    """And an example's transform does not depend on which classes are chosen."""
    first = batch()
    choices: dict = {"minority": {2}, "0, 2": {0, 2}, 1: {1}, "all": {0, 1, 2}}
    outs = jax.jit(lambda key: [applied(word, key=key, classes=classes) for classes in choices])(KEY)
    every, label = outs[-1], np.argmax(first.t, -1)
    for chosen, out in zip(choices.values(), outs, strict=True):
        moved = np.isin(label, list(chosen))
        np.testing.assert_allclose(out.x[moved], every.x[moved], atol=1e-6)
        np.testing.assert_array_equal(out.x[~moved], first.x[~moved])
        assert not (np.asarray(out.x) == first.x).all((1, 2, 3))[moved].any()
        np.testing.assert_array_equal(out.t, first.t)


@pytest.mark.parametrize("word", ["affine", "elastic"])
def test_a_share_of_the_images_is_transformed(word):
    """Which ones are drawn apart from how; p may be traced."""
    first = batch(many=300)
    choices: tuple[dict, ...] = ({}, {"p": 0.0}, {"p": 0.7}, {"p": 0.7, "classes": 1})
    every, none, some, fewer = jax.jit(lambda key: [applied(word, first=first, key=key, **options) for options in choices])(KEY)
    moved, label = ~(np.asarray(some.x) == first.x).all((1, 2, 3)), np.argmax(first.t, -1)
    assert 0.6 < moved.mean() < 0.8
    np.testing.assert_array_equal(none.x, first.x)
    np.testing.assert_allclose(some.x[moved], every.x[moved], atol=1e-6)
    np.testing.assert_array_equal(fewer.x, np.where((label == 1)[:, None, None, None], some.x, first.x))


def test_elastic_distortion_is_scipys():
    """The same noise through SciPy's Gaussian filter and its interpolation."""
    x = batch(many=3).x
    height, width = x.shape[1:3]
    noise = np.asarray(jax.random.uniform(KEY, (3, 2, height, width), minval=-1.0, maxval=1.0))
    field, out = jax.jit(lambda: (f := elastic.random_fields(KEY, 3, (height, width), 9.0, 1.5), warp.displace(x, f)))()
    places = np.mgrid[:height, :width]
    for i in range(3):
        smooth = [ndimage.gaussian_filter(axis, 1.5, mode="constant", truncate=9) for axis in noise[i]]
        np.testing.assert_allclose(field[i], 9 * np.array(smooth), atol=1e-4)
        read = [
            ndimage.map_coordinates(np.asarray(x)[i, :, :, c], places + field[i], order=1, mode="grid-constant")
            for c in range(x.shape[3])
        ]
        np.testing.assert_allclose(out[i], np.stack(read, -1), atol=1e-4)


# affine, materialised

COUNTS = (5, 2, 1)
KEYS = lanes.lane_keys(0, [0, 1])


def problem():
    x = jax.random.randint(jax.random.key(1), (10, 6, 6, 1), 0, 256).astype(jnp.uint8)
    shared = Shared(x, jnp.asarray([0] * 6 + [1] * 3 + [2], jnp.int32))
    rows = np.asarray([[0, 1, 2, 3, 4, 6, 7, 9], [5, 4, 3, 2, 1, 8, 7, 9]], np.int32)
    empty = Pool(jnp.asarray(rows), jnp.zeros((2, 0, 6, 6, 1), jnp.uint8), jnp.zeros((2, 0), jnp.int32))
    return Train(empty, COUNTS, np.zeros((2, 0, 0), np.int32)), Context(shared, {}, lanes.over_lanes)


def filled(train=None, counts=COUNTS, **options):
    begin, context = problem()
    method: Any = affine_over.make(task((6, 6, 1), counts), **options)
    return method.resample(KEYS, train or begin, context), context


def test_affine_over_fills_up_with_transformed_rows_of_the_class():
    train, context = filled(rotation=0.0, shear=0.0, zoom=0.0, translation=0.0)  # copies, so that they can be checked
    assert train.counts == (5, 5, 5)
    assert train.pool.new_x.shape == (2, 7, 6, 6, 1) and train.pool.new_x.dtype == jnp.uint8
    np.testing.assert_array_equal(train.pool.new_y, [[1] * 3 + [2] * 4] * 2)
    assert train.parents.shape == (2, 7, 1) and train.parents.dtype == np.int32
    assert set(train.parents[0, :3, 0]) <= {6, 7} and set(train.parents[1, :3, 0]) <= {8, 7}
    np.testing.assert_array_equal(train.pool.new_x, context.shared.x[train.parents[:, :, 0]])
    for lane in range(2):
        pool = jax.tree.map(lambda leaf, lane=lane: leaf[lane], train.pool)
        np.testing.assert_array_equal(pick(pool, context.shared, jnp.arange(15))[1], np.repeat(np.arange(3), 5))


def test_affine_over_transforms_are_different_deterministic_and_bounded_in_number():
    train, _ = filled(to=4)
    again, _ = filled(to=4)
    assert train.counts == (5, 4, 4)
    np.testing.assert_array_equal(train.pool.new_x, again.pool.new_x)
    new = np.asarray(train.pool.new_x[0])
    assert all(not np.array_equal(new[i], new[j]) for i in range(5) for j in range(i))
    begin, _ = problem()
    same, _ = filled(to="min")
    assert same.pool.rows is begin.pool.rows or np.array_equal(same.pool.rows, begin.pool.rows)


def test_affine_over_in_batches_is_the_same():
    begin, context = problem()
    pool = jax.tree.map(lambda leaf: leaf[0], begin.pool)
    ranges = affine.Ranges()
    run = jax.jit(lambda: [affine_over.transformed(KEY, pool, context.shared, COUNTS, (0, 3, 4), ranges, n) for n in (500, 2)])
    (images, bases), (split, _) = run()
    assert np.abs(np.asarray(images, int) - np.asarray(split, int)).max() <= 1
    assert all(low <= base < high for base, (low, high) in zip(bases, [(5, 7)] * 3 + [(7, 8)] * 4, strict=True))


def test_affine_over_hands_on_the_parents_of_new_rows():
    once, _ = filled(to=3)
    twice, _ = filled(once, once.counts, to=5)
    assert twice.counts == (5, 5, 5)
    real = twice.parents[:, :, 0]
    assert real.min() >= 0 and set(real[:, -2:].ravel()) == {9}
    known = np.asarray([[[3, 4], [-1, -1]]], np.int32)
    rows, bases = np.asarray([[0, 10, 11]], np.int32), np.asarray([[0, 1, 2]])
    expected = [[[0, -1], [3, 4], [-1, -1]]]
    np.testing.assert_array_equal(affine_over.inherited(rows, known, bases, 10), expected)


def test_affine_over_refuses_what_it_cannot_take():
    with pytest.raises(UserError, match=r"affine_over: needs images \[H, W, C\] \(got rows of shape \(64,\)"):
        affine_over.make(task((64,)))
    with pytest.raises(UserError, match=r"affine_over\(to=max\): class 'b' has no training row"):
        affine_over.make(task(counts=(5, 0, 1)))
