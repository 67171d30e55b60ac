"""Second stages on frozen features, and corrections fitted on validation rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax.errors import UserError
from imbal_jax.methods.after import crt, lws, tau_norm, temperature, thresholds
from imbal_jax.methods.method import Head, Stage, Task

COUNTS = (400, 60, 15)
TASK = Task(COUNTS, 1.0, ("a", "b", "c"), (4,), (2,))
GAIN = {"crt": 0.08, "lws": 0.03}
MEANS = np.array([[1.2, 0, 0, 0], [0, 1.2, 0, 0], [0, 0, 1.2, 0]])


def features(counts=COUNTS, seed=0, size=5.0):
    """Overlapping Gaussian clusters, class by class; far from the origin and not of unit size, as features are."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    return (size * (MEANS[y] + rng.normal(size=(len(y), 4)) + 2.0)).astype(np.float32), y.astype(np.int32)


def biased_head():
    """The Bayes classifier of the imbalanced training set (the clusters have the unit covariance)."""
    prior = np.log(np.array(COUNTS) / sum(COUNTS))
    centres = MEANS + 2.0
    return Head(jnp.asarray(centres.T / 5.0, jnp.float32), jnp.asarray(prior - (centres**2).sum(axis=1) / 2, jnp.float32))


def balanced_accuracy(z, y):
    predicted = np.asarray(z).argmax(axis=1)
    return np.mean([(predicted[y == k] == k).mean() for k in np.unique(y)])


def macro_f1(z, y):
    p = np.asarray(z).argmax(axis=1)
    return np.mean([2 * ((p == k) & (y == k)).sum() / ((p == k).sum() + (y == k).sum()) for k in np.unique(y)])


def logits(head, x):
    return np.asarray(x) @ np.asarray(head.kernel) + np.asarray(head.bias)


@pytest.fixture(scope="module")
def second():
    """crt and lws of four lanes: two sets of features, the first one's at a hundred times the size, the second one again."""
    sets = [features(seed=seed) for seed in (0, 1)]
    x = jnp.asarray(np.stack([sets[0][0], sets[1][0], 100 * sets[0][0], sets[1][0]]))
    y, keys = jnp.asarray(sets[0][1]), jax.random.split(jax.random.key(3), 2)[jnp.asarray([0, 1, 0, 1])]
    retrain, rescale = crt.make(TASK, epochs=40).finetune, lws.make(TASK, epochs=40).finetune
    nothing = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), biased_head())  # crt must not look at the old head

    def lane(key, x):
        stage = Stage(x, y, COUNTS)
        return {"crt": retrain(key, nothing, stage), "lws": rescale(key, biased_head(), stage)}

    return jax.device_get(jax.jit(jax.vmap(lane))(keys, x))


@pytest.mark.parametrize("name", ["crt", "lws"])
def test_second_training_improves_balanced_accuracy(second, name):
    x, y = features((500, 500, 500), seed=9)
    before = balanced_accuracy(logits(biased_head(), x), y)
    for lane in range(2):
        head = jax.tree.map(lambda leaf, lane=lane: leaf[lane], second[name])
        assert head.kernel.shape == (4, 3) and head.bias.shape == (3,) and head.kernel.dtype == jnp.float32
        assert balanced_accuracy(logits(head, x), y) > before + GAIN[name]


def test_lanes_do_not_see_each_other(second):
    for leaf in jax.tree.leaves(second):
        np.testing.assert_array_equal(leaf[1], leaf[3])
        assert not np.allclose(leaf[0], leaf[1])


def test_crt_does_not_depend_on_the_size_of_the_features(second):
    np.testing.assert_allclose(second["crt"].kernel[0], 100 * second["crt"].kernel[2], rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(second["crt"].bias[0], second["crt"].bias[2], rtol=1e-2, atol=1e-2)


def test_lws_keeps_directions(second):
    old, new = biased_head(), jax.tree.map(lambda leaf: leaf[0], second["lws"])
    factors = new.bias / np.asarray(old.bias)
    np.testing.assert_allclose(new.kernel, np.asarray(old.kernel) * factors, rtol=1e-5)
    assert np.ptp(factors) > 0.01


def test_second_training_in_the_limits():
    """An empty class, a batch larger than the set; without learning, lws returns the old head."""
    counts = (5, 0, 2)
    x, y = features(counts)
    stage = Stage(jnp.asarray(x), jnp.asarray(y), counts)

    def both(key):
        return crt.crt(key, biased_head(), stage, 3, 0.1, 64), lws.lws(key, biased_head(), stage, 1, 0.0, 64)

    anew, same = jax.jit(both)(jax.random.key(0))
    assert np.all(np.isfinite(anew.kernel)) and np.all(np.isfinite(anew.bias))
    for a, b in zip(same, biased_head(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_tau_norm_formula_and_limits():
    head = Head(jnp.asarray([[3.0, 0.0, 1.0], [4.0, 0.0, 0.0]]), jnp.ones(3))  # lengths 5, 0, 1
    unit = tau_norm.tau_norm(head, 1.0)
    np.testing.assert_allclose(unit.kernel, [[0.6, 0, 1], [0.8, 0, 0]], rtol=1e-6)
    np.testing.assert_array_equal(unit.bias, 0.0)
    half = tau_norm.tau_norm(head, 0.5)
    np.testing.assert_allclose(np.linalg.norm(half.kernel, axis=0), [np.sqrt(5), 0, 1], rtol=1e-6)
    np.testing.assert_array_equal(tau_norm.tau_norm(head, 0.0).kernel, head.kernel)
    lanes = Head(jnp.stack([head.kernel, 2 * head.kernel]), jnp.ones((2, 3)))
    kernels = jax.vmap(lambda head: tau_norm.make(TASK).finetune(None, head, None).kernel)(lanes)
    np.testing.assert_allclose(kernels[1], unit.kernel, rtol=1e-6)


def calibrated(rows, classes, seed=0):
    """Logits and labels drawn from their softmax: temperature 1 is right."""
    rng = np.random.default_rng(seed)
    z = 2 * rng.normal(size=(rows, classes))
    return z.astype(np.float32), (z + rng.gumbel(size=z.shape)).argmax(axis=1)


def test_temperature_recovers_a_known_one():
    z, y = calibrated(20000, 4)
    fit = jax.jit(jax.vmap(temperature.temperature, in_axes=(0, None)))
    found = fit(jnp.stack([0.5 * z, z, 4.0 * z]), jnp.asarray(y))
    np.testing.assert_allclose(found, [0.5, 1.0, 4.0], rtol=0.03)
    np.testing.assert_allclose(found[2] / found[0], 8.0, rtol=1e-4)  # the minimum itself is found exactly


def test_temperature_minimises_the_loss():
    z, y = calibrated(300, 5, seed=2)

    def nll(t):
        log_p = np.float64(z) / t
        log_p = log_p - np.log(np.exp(log_p).sum(axis=1, keepdims=True))
        return -log_p[np.arange(len(y)), y].mean()

    t = float(temperature.temperature(z, jnp.asarray(y)))
    assert nll(t) <= min(nll(t * 1.01), nll(t / 1.01))


def test_temperature_at_its_ends():
    z = jnp.asarray(100.0 * np.eye(3), jnp.float32)
    assert float(temperature.temperature(0.01 * z, jnp.arange(3))) == pytest.approx(1 / 20, rel=1e-3)  # all right
    assert float(temperature.temperature(z, (jnp.arange(3) + 1) % 3)) == pytest.approx(20, rel=1e-3)  # all wrong
    assert float(temperature.temperature(z[:0], jnp.arange(0))) == 1.0
    method = temperature.make(TASK)
    out = method.predict(z.astype(jnp.bfloat16), jnp.float32(2.0))
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, z / 2)


@pytest.mark.parametrize(("metric", "score"), [("balanced_accuracy", balanced_accuracy), ("macro_f1", macro_f1)])
def test_thresholds_improve_the_validation_metric(metric, score):
    head, method = biased_head(), thresholds.make(TASK, metric)
    sets = [features((300, 50, 15), seed=seed) for seed in (4, 5)]
    z, y = jnp.asarray(np.stack([logits(head, x) for x, _ in sets])), sets[0][1]
    fitted = jax.jit(jax.vmap(method.fit, in_axes=(0, None)))(z, jnp.asarray(y))
    for lane in range(2):
        before, after = score(z[lane], y), score(method.predict(z[lane], fitted[lane]), y)
        assert after > before + 0.01
    x, y = features((500, 500, 500), seed=9)
    z = jnp.asarray(logits(head, x))
    if metric == "balanced_accuracy":  # new rows gain too; the rare class's threshold is the lowest
        assert balanced_accuracy(method.predict(z, fitted[0]), y) > balanced_accuracy(z, y) + 0.05
        assert int(np.argmin(fitted[0])) == 2


def test_one_pass_finds_the_best_of_the_grid():
    """Two classes: changing the first class's threshold over the grid, against every value tried in NumPy."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=(60, 2)).astype(np.float32)
    y = (z[:, 1] - z[:, 0] + rng.normal(size=60) > 1.5).astype(int)
    values = thresholds.log_grid(100.0, 21)
    assert values[10] == 0 and np.all(np.diff(values) > 0) and values[-1] == pytest.approx(np.log(100))
    log_p = np.asarray(jax.nn.log_softmax(z))
    run = jax.jit(lambda z, y: [thresholds.log_thresholds(z, y, metric, values, 1) for metric in thresholds.METRICS])
    for c, score in zip(run(z, y), (balanced_accuracy, macro_f1), strict=True):
        best = max(score(log_p - np.array([v, 0], np.float32), y) for v in values)
        assert score(log_p - np.asarray(c), y) >= best - 1e-6


def test_thresholds_never_lower_the_validation_metric():
    """60 rows of 30 classes: some have none, most one or two. And where nothing is to be gained, thresholds stay 1."""
    z, y = calibrated(60, 30)
    right = np.asarray(10 * np.eye(30, dtype=np.float32)[y])
    methods = [thresholds.make(TASK, metric, passes=1) for metric in thresholds.METRICS]
    fit = jax.jit(jax.vmap(lambda z: [m.fit(z, jnp.asarray(y)) for m in methods]))
    for method, fitted, score in zip(methods, fit(np.stack([z, right])), (balanced_accuracy, macro_f1), strict=True):
        assert score(method.predict(z, fitted[0]), y) >= score(z, y) - 1e-6
        np.testing.assert_array_equal(fitted[1], 0.0)
    np.testing.assert_allclose(methods[0].predict(z, jnp.zeros(30)), jax.nn.log_softmax(z), rtol=1e-6)


def test_thresholds_without_validation_rows_are_1():
    np.testing.assert_array_equal(thresholds.make(TASK).fit(jnp.zeros((0, 3)), jnp.arange(0)), 0.0)


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (crt, {"epochs": 0}),
        (crt, {"batch": 0}),
        (lws, {"learning_rate": -1.0}),
        (tau_norm, {"tau": -1}),
        (thresholds, {"metric": "macrof1"}),
        (thresholds, {"grid": 10}),
        (thresholds, {"largest": 1.0}),
        (thresholds, {"passes": 0}),
    ],
)
def test_options_outside_their_range(module, options):
    with pytest.raises(UserError, match=f"^{module.__name__.rsplit('.', 1)[1]}: .*{next(iter(options))}"):
        module.make(TASK, **options)
