"""Losses, class weights, logit shifts and class sampling against their formulas worked out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from imbal_jax import methods
from imbal_jax.errors import UserError
from imbal_jax.methods.after import posthoc_logit_adjust
from imbal_jax.methods.batches import drs, sampling
from imbal_jax.methods.losses import balanced_softmax, class_balanced, class_weights, drw, focal, ldam, logit_adjust
from imbal_jax.methods.method import Task
from imbal_jax.methods.recipe import losses, mean_loss
from imbal_jax.models import head

COUNTS = (5000, 100, 20)
GAP = (30, 0, 10)
LOSSES = (focal, ldam, logit_adjust, balanced_softmax)


def task(counts=COUNTS):
    return Task(counts, 1.0, tuple(map(str, range(len(counts)))), (4,), ())


def many(classes):
    return task(tuple(int(1000 * 0.9**k) + 1 for k in range(classes)))


def logits_and_targets(rows=6, classes=3, size=3.0):
    rng = np.random.default_rng(0)
    z = size * rng.normal(size=(rows, classes))
    return z.astype(np.float32), rng.dirichlet(np.full(classes, 0.5), size=rows).astype(np.float32)


def softmax(z):
    e = np.exp(np.float64(z) - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def cross_entropy(z, t):
    return -(t * np.log(softmax(z))).sum(axis=1)


def loss_of(method, z, t, progress=0.5):
    """As the training step puts the hooks together."""
    if method.logits is not None:
        z = method.logits(z, t, jnp.float32(progress))
    t = t if method.weight is None else t * method.weight(jnp.float32(progress))[None]
    return (method.loss or optax.softmax_cross_entropy)(z, t)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_formula(gamma):
    z, t = logits_and_targets()
    p = softmax(z)
    expected = -(t * (1 - p) ** gamma * np.log(p)).sum(axis=1)
    np.testing.assert_allclose(focal.make(task(), gamma).loss(z, t), expected, rtol=1e-5)


def test_focal_with_gamma_0_is_the_cross_entropy():
    z, t = logits_and_targets()
    np.testing.assert_allclose(focal.focal(z, t, 0), cross_entropy(z, t), rtol=1e-5)


def test_focal_gradient():
    z, t = logits_and_targets(rows=1)
    gammas = (0.0, 0.3, 2.0)
    gradients = jax.jit(lambda z: [jax.grad(lambda z, g=g: focal.focal(z, t, g).sum())(z) for g in gammas])(z)
    for gamma, gradient in zip(gammas, gradients, strict=True):

        def exact(z, gamma=gamma):
            p = softmax(z)
            return -(t * (1 - p) ** gamma * np.log(p)).sum()

        for k in range(3):
            step = 1e-6 * np.eye(3)[k : k + 1]
            assert float(gradient[0, k]) == pytest.approx((exact(z + step) - exact(z - step)) / 2e-6, abs=1e-4)


def test_effective_number_weights():
    n = np.array(COUNTS)
    w = (1 - 0.999) / (1 - 0.999**n)
    np.testing.assert_allclose(class_balanced.effective_number(COUNTS, 0.999), 3 * w / w.sum(), rtol=1e-5)
    # Worked by hand: beta 0.5, counts 1 and 2: 1 - beta^n = 1/2 and 3/4, so 2 : 4/3 = 6/5 : 4/5.
    np.testing.assert_allclose(class_balanced.effective_number((1, 2), 0.5), [1.2, 0.8], rtol=1e-6)


def test_effective_number_limits():
    np.testing.assert_array_equal(class_balanced.effective_number(COUNTS, 0), 1.0)
    inverse = 1 / np.array(COUNTS)
    np.testing.assert_allclose(class_balanced.effective_number(COUNTS, 1 - 1e-12), 3 * inverse / inverse.sum(), rtol=1e-5)


@pytest.mark.parametrize("beta", [0.0, 0.1, 1 - 2**-7, 1 - 2**-13, 1 - 2**-20])
def test_effective_number_of_a_traced_beta(beta):
    traced = jax.jit(lambda beta: class_balanced.effective_number(COUNTS, beta))(beta)
    n = np.array(COUNTS)
    w = 1 / -np.expm1(n * np.log(beta)) if beta else np.ones(3)
    np.testing.assert_allclose(traced, 3 * w / w.sum(), rtol=1e-5)
    np.testing.assert_allclose(class_balanced.effective_number(COUNTS, beta), 3 * w / w.sum(), rtol=1e-5)


def test_a_traced_beta_that_rounds_to_1_weights_by_the_inverse_frequency():
    traced = jax.jit(lambda beta: class_balanced.effective_number(COUNTS, beta))(jnp.float32(1 - 1e-9))
    inverse = 1 / np.array(COUNTS)
    np.testing.assert_allclose(traced, 3 * inverse / inverse.sum(), rtol=1e-5)
    usual = jax.jit(lambda beta: class_balanced.effective_number(COUNTS, beta))(jnp.float32(0.9999))
    np.testing.assert_allclose(usual, class_balanced.effective_number(COUNTS, 0.9999), rtol=2e-4)


def test_class_weights():
    n, total = np.array(COUNTS), sum(COUNTS)
    np.testing.assert_allclose(class_weights.make(task()).weight(0.0), total / (3 * n), rtol=1e-5)  # 'balanced'
    np.testing.assert_array_equal(class_weights.make(task(), 0.0).weight(0.0), 1.0)
    for power in (0.5, 1.0, 3.0):
        w = class_weights.inverse_frequency(COUNTS, power)
        assert (n * w).sum() == pytest.approx(total, rel=1e-5)
        np.testing.assert_allclose(w / w[0], (n / n[0]) ** -power, rtol=1e-5)
    for power in (20.0, jnp.float32(20.0)):
        np.testing.assert_allclose(class_weights.inverse_frequency((10**7, 1), power), [0.0, 10**7 + 1], rtol=1e-5)


def test_ldam_formula():
    z, t = logits_and_targets()
    m = 0.5 * np.array(COUNTS, float) ** -0.25 * 20**0.25  # the rarest class's is 0.5
    np.testing.assert_allclose(ldam.margins(COUNTS, 0.5), m, rtol=1e-6)
    method = ldam.make(task(), 0.5, 2.0)
    np.testing.assert_allclose(loss_of(method, z, t), cross_entropy(2 * (z - t * m), t), rtol=1e-5)
    np.testing.assert_allclose(method.predict(z, None), 2 * z)
    hard = np.eye(3, dtype=np.float32)[[2, 0, 1]]
    np.testing.assert_allclose(method.logits(z[:3], hard, 0.0)[0], 2 * (z[0] - [0, 0, 0.5]), rtol=1e-6)


def test_ldam_without_margin_is_the_cross_entropy():
    z, t = logits_and_targets()
    method = ldam.make(task(), 0.0, 1.0, cosine=False)
    assert not method.cosine and ldam.make(task()).cosine
    np.testing.assert_allclose(loss_of(method, z, t), cross_entropy(z, t), rtol=1e-5)
    np.testing.assert_array_equal(method.predict(z, None), z)


def test_logit_adjustment_formula():
    z, t = logits_and_targets()
    shifted = z + 1.5 * np.log(np.array(COUNTS) / sum(COUNTS))
    np.testing.assert_allclose(loss_of(logit_adjust.make(task(), 1.5), z, t), cross_entropy(shifted, t), rtol=1e-5)
    np.testing.assert_allclose(loss_of(logit_adjust.make(task(), 0.0), z, t), cross_entropy(z, t), rtol=1e-5)


def test_balanced_softmax_is_logit_adjustment_up_to_a_constant():
    z, t = logits_and_targets()
    n = np.array(COUNTS)
    p = n * np.exp(np.float64(z)) / (n * np.exp(np.float64(z))).sum(axis=1, keepdims=True)
    ours = balanced_softmax.make(task())
    np.testing.assert_allclose(loss_of(ours, z, t), -(t * np.log(p)).sum(axis=1), rtol=1e-5)
    difference = ours.logits(z, t, 0.0) - logit_adjust.make(task()).logits(z, t, 0.0)
    np.testing.assert_allclose(difference, np.log(sum(COUNTS)), rtol=1e-5)


def test_posthoc_adjustment_undoes_the_prior():
    z, _ = logits_and_targets()
    after = posthoc_logit_adjust.make(task()).predict(z, None)
    expected = softmax(z) / np.array(COUNTS)
    np.testing.assert_allclose(jax.nn.softmax(after), expected / expected.sum(axis=1, keepdims=True), rtol=1e-4)
    np.testing.assert_array_equal(posthoc_logit_adjust.make(task(), 0.0).predict(z, None), z)


@pytest.mark.parametrize("module", [logit_adjust, posthoc_logit_adjust])
def test_the_prior_of_the_real_rows(module):
    """After over-sampling to equal counts there is no prior left, but that of the rows it started from is still known."""
    z, t = logits_and_targets()

    def result(method):
        return method.logits(z, t, 0.0) if method.logits else method.predict(z, None)

    over = task((5000, 5000, 5000))._replace(real=COUNTS)
    np.testing.assert_allclose(result(module.make(over, 0.5, "real")), result(module.make(task(), 0.5)), rtol=1e-6)
    np.testing.assert_allclose(result(module.make(task(), 0.5, "real")), result(module.make(task(), 0.5)), rtol=1e-6)
    assert not np.allclose(result(module.make(over, 0.5)), result(module.make(over, 0.5, "real")))
    recipe = methods.recipe_of("over | posthoc_logit_adjust(tau=0.5, counts=real)", task(), over.counts)
    (correction,) = recipe.corrections
    np.testing.assert_allclose(correction.predict(z, None), posthoc_logit_adjust.make(task(), 0.5).predict(z, None), rtol=1e-6)
    with pytest.raises(UserError, match="counts must be 'resampled' or 'real' .got 'all'."):
        module.make(over, 0.5, "all")


def test_deferred_weights():
    late = class_balanced.effective_number(COUNTS, 0.9999)
    weight = drw.make(task(), start=0.75).weight
    np.testing.assert_array_equal(weight(jnp.float32(0.7)), 1.0)
    np.testing.assert_array_equal(weight(jnp.float32(0.75)), late)
    np.testing.assert_array_equal(drw.make(task(), start=1.0).weight(jnp.float32(0.9999)), 1.0)
    np.testing.assert_array_equal(drw.make(task(), start=0.0).weight(jnp.float32(0.0)), late)
    np.testing.assert_array_equal(drw.make(task(), start=0.0, beta=0.0).weight(jnp.float32(0.5)), 1.0)


# --- the published losses, written out in float64 ---------------------------------------------------------------------


def batch_of(rows=12, features=5):
    """Features [B, D], kernel [D, K], labels [B] with all classes."""
    rng = np.random.default_rng(3)
    return rng.normal(size=(rows, features)), rng.normal(size=(features, 3)), np.arange(rows) % 3 * (np.arange(rows) > 3)


def published_weights(beta, counts=COUNTS):
    weights = (1 - beta) / (1 - beta ** np.array(counts, float))
    return weights / weights.sum() * len(counts)


def published_cross_entropy(logits, y, weights):
    """PyTorch's F.cross_entropy(logits, y, weight=weights), reduction 'mean': sum of w_y nll / sum of w_y."""
    each = -np.log(softmax(logits))[np.arange(len(y)), y]
    return (weights[y] * each).sum() / weights[y].sum()


def published_ldam_drw(x, kernel, y, beta, max_margin=0.5, scale=30.0):
    """Cao et al.'s code: normalised features and weights, the margin off the true class's cosine, times s = 30."""
    cosines = (x / np.linalg.norm(x, axis=1, keepdims=True)) @ (kernel / np.linalg.norm(kernel, axis=0, keepdims=True))
    margin = 1 / np.sqrt(np.sqrt(COUNTS))
    cosines[np.arange(len(y)), y] -= (margin * max_margin / margin.max())[y]
    return published_cross_entropy(scale * cosines, y, published_weights(beta))


def slopes(function, x, step=1e-5):
    """The gradient by central differences."""
    found = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        more, less = x.copy(), x.copy()
        more[place] += step
        less[place] -= step
        found[place] = (function(more) - function(less)) / (2 * step)
    return found


@pytest.mark.parametrize(("progress", "beta"), [(0.5, 0.0), (0.9, 0.9999)])
def test_ldam_drw_is_the_published_loss(progress, beta):
    x, kernel, y = batch_of()
    recipe = methods.recipe_of("ldam | drw", task(), COUNTS)
    assert recipe.cosine
    t = jax.nn.one_hot(y, 3)

    def ours(x, kernel):
        return mean_loss(recipe, head.unit(x, 1) @ head.unit(kernel, 0), t, jnp.float32(progress))

    value, (by_x, by_kernel) = jax.jit(jax.value_and_grad(ours, (0, 1)))(*(jnp.asarray(a, jnp.float32) for a in (x, kernel)))
    np.testing.assert_allclose(value, published_ldam_drw(x, kernel, y, beta), rtol=1e-5)
    np.testing.assert_allclose(by_x, slopes(lambda x: published_ldam_drw(x, kernel, y, beta), x), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(by_kernel, slopes(lambda k: published_ldam_drw(x, k, y, beta), kernel), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("progress", [0.5, 0.9])
def test_drw_is_a_weighted_mean(progress):
    x, kernel, y = batch_of()
    z, t = (x @ kernel).astype(np.float32), np.eye(3, dtype=np.float32)[y]
    w = published_weights(0.9999 if progress > 0.8 else 0.0)
    recipe = methods.recipe_of("drw", task(), COUNTS)
    value, gradient = jax.value_and_grad(lambda z: mean_loss(recipe, z, t, jnp.float32(progress)))(jnp.asarray(z))
    np.testing.assert_allclose(value, published_cross_entropy(np.float64(z), y, w), rtol=1e-5)
    # Each row's own gradient, softmax - target, weighted; divided by the weights, not by the rows.
    np.testing.assert_allclose(gradient, w[y][:, None] * (softmax(z) - t) / w[y].sum(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("spec", ["class_weights", "class_balanced"])
def test_other_class_weights_are_divided_by_the_rows(spec):
    """As Keras's class_weight and Cui et al.'s code have it."""
    x, kernel, y = batch_of()
    z, t = (x @ kernel).astype(np.float32), np.eye(3, dtype=np.float32)[y]
    n = np.array(COUNTS)
    w = published_weights(0.9999) if spec == "class_balanced" else n.sum() / (3 * n)
    value = mean_loss(methods.recipe_of(spec, task(), COUNTS), z, t, jnp.float32(0.1))
    np.testing.assert_allclose(value, (w[y] * cross_entropy(z, t)).mean(), rtol=1e-5)


def test_weights_of_mixed_targets_are_those_of_each_class():
    """lambda w_a nll_a + (1 - lambda) w_b nll_b, as every mixup of weighted losses is made."""
    z, t = logits_and_targets()
    w = np.array(class_weights.inverse_frequency(COUNTS, 1.0))
    p = softmax(z)
    for spec, gamma in (("class_weights", 0.0), ("class_weights | focal", 2.0)):
        each = -(t * w * (1 - p) ** gamma * np.log(p)).sum(axis=1)
        np.testing.assert_allclose(losses(methods.recipe_of(spec, task(), COUNTS), z, t, jnp.float32(0)), each, rtol=1e-4)
    w = published_weights(0.9999)
    value = mean_loss(methods.recipe_of("drw", task(), COUNTS), z, t, jnp.float32(0.9))
    np.testing.assert_allclose(value, -(t * w * np.log(softmax(z))).sum() / (t @ w).sum(), rtol=1e-4)


def test_a_normalised_last_layer_and_a_second_stage_exclude_each_other():
    for spec in ("ldam | crt", "ldam | tau_norm"):
        with pytest.raises(UserError, match=r"^ldam and (crt|tau_norm) do not go together: the last layer of the first gives"):
            methods.build(spec, task())
    methods.build("ldam(cosine=False, scale=1) | crt", task())


def test_deferred_sampling():
    p = drs.make(task(GAP), start=0.75).sample
    np.testing.assert_allclose(p(jnp.float32(0.7)), [0.75, 0, 0.25])
    np.testing.assert_allclose(p(jnp.float32(0.75)), [0.5, 0, 0.5])
    np.testing.assert_allclose(drs.make(task(GAP), start=1.0).sample(jnp.float32(0.9999)), [0.75, 0, 0.25])


def test_sampling_kinds():
    root = np.sqrt([30, 0, 10])
    np.testing.assert_allclose(sampling.make(task(GAP)).sample(jnp.float32(0.3)), [0.5, 0, 0.5])
    np.testing.assert_allclose(sampling.make(task(GAP), "sqrt").sample(jnp.float32(0.3)), root / root.sum(), rtol=1e-6)
    progressive = sampling.make(task(GAP), "progressive").sample
    for progress, expected in ((0.0, [0.75, 0, 0.25]), (0.5, [0.625, 0, 0.375]), (1.0, [0.5, 0, 0.5])):
        np.testing.assert_allclose(progressive(jnp.float32(progress)), expected, rtol=1e-6)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_numbers_of_classes(classes):
    problem = many(classes)
    z, t = logits_and_targets(classes=classes)
    methods = [module.make(problem) for module in (*LOSSES, class_weights, class_balanced, drw)]
    samplers = [sampling.make(problem), drs.make(problem)]
    found, ps = jax.jit(lambda z: ([loss_of(m, z, t) for m in methods], [m.sample(jnp.float32(0.9)) for m in samplers]))(z)
    assert np.all(np.isfinite(found))
    for p in ps:
        assert p.shape == (classes,) and p.dtype == jnp.float32 and float(p.sum()) == pytest.approx(1, abs=1e-5)
    assert class_balanced.effective_number(problem.counts, 0.99).sum() == pytest.approx(classes, rel=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_extreme_logits(dtype):
    """Finite losses and gradients in float32 where a class is certain, rightly and wrongly, and at equal logits."""
    signs = [[1, -1, -1], [-1, 1, 0], [0, 0, 0], [1, 1, -1]]
    z = jnp.asarray(100 * np.tile(signs, (2, 1)), dtype)
    t = jnp.asarray(np.concatenate([np.tile([[1, 0, 0]], (4, 1)), np.tile([[0.2, 0.3, 0.5]], (4, 1))]), dtype)
    methods = [module.make(task()) for module in LOSSES] + [focal.make(task(), gamma) for gamma in (0.0, 0.1, 1.0, 5.0)]
    values, gradients = jax.jit(
        lambda z: ([loss_of(m, z, t) for m in methods], [jax.grad(lambda z, m=m: loss_of(m, z, t).sum())(z) for m in methods])
    )(z)
    for value, gradient in zip(values, gradients, strict=True):
        assert value.dtype == jnp.float32 and gradient.dtype == dtype
        assert np.all(np.isfinite(value)) and np.all(np.isfinite(gradient.astype(jnp.float32)))


def test_hooks_under_vmap_and_jit():
    """Two lanes at once give what each gives alone."""
    z, t = logits_and_targets(rows=8)
    z, t, progress = z.reshape(2, 4, 3), t.reshape(2, 4, 3), jnp.asarray([0.1, 0.9])
    methods = [m.make(task()) for m in (*LOSSES, class_weights, class_balanced, drw)]
    samplers = [drs.make(task()), sampling.make(task(), "progressive"), sampling.make(task())]

    def lane(z, t, progress):
        return [loss_of(m, z, t, progress) for m in methods], [m.sample(progress) for m in samplers]

    stacked = jax.jit(jax.vmap(lane))(z, t, progress)
    one = jax.jit(lane)
    for i in range(2):
        for a, b in zip(jax.tree.leaves(stacked), jax.tree.leaves(one(z[i], t[i], progress[i])), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-5)


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (focal, {"gamma": -1}),
        (focal, {"gamma": float("nan")}),
        (class_weights, {"power": -1}),
        (class_balanced, {"beta": 1.0}),
        (ldam, {"max_margin": -0.1}),
        (ldam, {"scale": 0}),
        (logit_adjust, {"tau": -1}),
        (posthoc_logit_adjust, {"tau": float("inf")}),
        (drw, {"start": 1.5}),
        (drw, {"beta": -0.1}),
        (drs, {"start": -0.1}),
        (sampling, {"kind": "balance"}),
    ],
)
def test_options_outside_their_range(module, options):
    with pytest.raises(UserError, match=f"^{module.__name__.rsplit('.', 1)[1]}: .*{next(iter(options))}"):
        module.make(task(), **options)


@pytest.mark.parametrize(
    "module", [class_weights, class_balanced, ldam, logit_adjust, balanced_softmax, posthoc_logit_adjust, drw]
)
def test_classes_without_rows_are_refused(module):
    with pytest.raises(UserError, match=r"class '1' has no training row"):
        module.make(task(GAP))
