"""Every file in methods/ through one table of checks; what is particular to a method is tested in a file of its own."""

import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from imbal_jax import methods
from imbal_jax.data.batches import Batch, Inputs, pick
from imbal_jax.errors import UserError
from imbal_jax.methods import Head, Stage, Task
from imbal_jax.methods.recipe import Recipe, corrected, finetuned, losses, transform
from imbal_jax.runtime import lanes
from imbal_jax.train import classifier, loop
from tests import toys

# A word for each file, and another that must do nothing at all (None: there is no such setting).
SPECS: dict[str, tuple[str, str | None]] = {
    "none": ("none", "none"),
    # resamplers
    "over": ("over", "over(to=1)"),
    "under": ("under(to=0.5)", "under(to=max)"),
    "smote": ("smote(k=2)", "smote(to=1)"),
    "borderline_smote": ("borderline_smote(k=2, m=4, kind=2)", "borderline_smote(to=1)"),
    "adasyn": ("adasyn(k=2)", "adasyn(to=1)"),
    "tomek_links": ("tomek_links(strategy=all)", None),
    "enn": ("enn", None),
    "smote_tomek": ("smote_tomek(k=2)", None),
    "smote_enn": ("smote_enn(k=2)", None),
    "affine_over": ("affine_over", "affine_over(to=1)"),
    "gan_synth": ("gan_synth(filter=random)", "gan_synth(to=1)"),
    # in the step
    "affine": ("affine", "affine(rotation=0, shear=0, zoom=0, translation=0)"),
    "crop": ("crop", "crop(pad=0)"),
    "elastic": ("elastic(smoothness=1)", "elastic(strength=0)"),
    "flip": ("flip", "flip(p=0)"),
    "jitter": ("jitter", "jitter(sigma=0)"),
    "amplitude": ("amplitude(sigma=0.3)", "amplitude(sigma=0)"),
    "time_warp": ("time_warp(knots=2)", "time_warp(sigma=0)"),
    "mixup": ("mixup", None),
    "balanced_mixup": ("balanced_mixup", "balanced_mixup(alpha=1e-9)"),
    "remix": ("remix", None),
    "cutmix": ("cutmix", "cutmix(p=0)"),
    "label_smoothing": ("label_smoothing", "label_smoothing(epsilon=0)"),
    "sampling": ("sampling", None),
    "drs": ("drs", None),
    "focal": ("focal", "focal(gamma=0)"),
    "class_weights": ("class_weights", "class_weights(power=0)"),
    "class_balanced": ("class_balanced", "class_balanced(beta=0)"),
    "ldam": ("ldam", "ldam(max_margin=0, scale=1)"),
    "logit_adjust": ("logit_adjust", "logit_adjust(tau=0)"),
    "balanced_softmax": ("balanced_softmax", None),
    "drw": ("drw", "drw(start=1)"),
    # after the training
    "crt": ("crt(epochs=2)", None),
    "lws": ("lws(epochs=2)", None),
    "tau_norm": ("tau_norm", None),
    "posthoc_logit_adjust": ("posthoc_logit_adjust", "posthoc_logit_adjust(tau=0)"),
    "thresholds": ("thresholds", None),
    "temperature": ("temperature", None),
}
RANKS = {
    "affine": (3,),
    "affine_over": (3,),
    "crop": (3,),
    "elastic": (3,),
    "flip": (3,),
    "cutmix": (2, 3),
    "jitter": (2,),
    "amplitude": (2,),
    "time_warp": (2,),
}  # of examples; others take any


def task_of(counts, shape):
    names = tuple(str(k) for k in range(len(counts)))
    return Task(tuple(counts), 1.0, names, shape, tuple(k for k, n in enumerate(counts) if n < max(counts)))


BASE = task_of((7, 4, 1), (8, 8, 1))  # a class of one row
TASKS = {
    "signals": task_of((7, 4, 1), (12, 2)),
    "volumes": task_of((7, 4, 1), (3, 4, 4, 2)),
    "two classes": task_of((9, 3), (6,)),
    "a hundred classes": task_of([3 - (k > 60) - (k > 80) for k in range(100)], (6,)),
}
KEYS = lanes.lane_keys(0, [0, 1])
DTYPES = [jnp.float32, jnp.bfloat16]
every = pytest.mark.parametrize("name", SPECS)


def word(name):
    return SPECS[name][0]


def base(name):
    """The problem that a method is checked on: images, or signals for those that take nothing else."""
    return BASE if len(BASE.shape) in RANKS.get(name, (3,)) else TASKS["signals"]


def made(name, task=None):
    (method,) = methods.build(word(name), task or base(name))
    return method


def balance(spec, task=BASE, keys=KEYS):
    train, context = toys.problem(task, len(keys))
    return methods.resample(spec, task, keys, train, context), context


def batch_of(task, dtype=jnp.float32, size=6, seed=0):
    key = jax.random.key(seed)
    classes = len(task.counts)
    labels = jnp.asarray([k % classes for k in range(size)])
    return Batch(jax.random.uniform(key, (size, *task.shape), dtype), jax.nn.one_hot(labels, classes, dtype=dtype))


def draw_for(task, dtype=jnp.float32):
    """Second batches that depend on the key and, a little, on the class probabilities."""

    def draw(key, p):
        first = batch_of(task, dtype, seed=3)
        order = jax.random.permutation(key, 6)
        return Batch(first.x[order], first.t[order])

    return draw


def test_the_table_has_every_method():
    assert sorted(SPECS) == methods.names()


# --- rows -------------------------------------------------------------------------------------------------------


def check_rows(spec, task):
    train, context = balance(spec, task)
    total, real = sum(train.counts), sum(task.counts)
    assert train.pool.rows.shape == (2, total) and train.pool.rows.dtype == jnp.int32
    assert train.pool.new_x.dtype == jnp.uint8 and train.pool.new_x.shape[2:] == task.shape
    assert train.pool.new_y.dtype == jnp.int32 and train.pool.new_y.shape == train.pool.new_x.shape[:2]
    assert train.parents.shape[:2] == train.pool.new_y.shape and np.all((train.parents >= -1) & (train.parents < real))
    rows = np.asarray(train.pool.rows)
    assert rows.min() >= 0 and rows.max() < real + train.pool.new_y.shape[1]
    for lane in range(2):
        pool = jax.tree.map(lambda leaf, lane=lane: leaf[lane], train.pool)
        _, y = pick(pool, context.shared, jnp.arange(total))
        np.testing.assert_array_equal(y, np.repeat(np.arange(len(task.counts)), train.counts))  # class by class
    return train


def having(*hooks):
    """The methods that have one of these hooks."""
    with_one = [name for name in SPECS if any(getattr(made(name), hook) is not None for hook in hooks)]
    return pytest.mark.parametrize("name", with_one)


@having("resample")
def test_a_resampler_keeps_what_it_promises(name):
    train = check_rows(word(name), BASE)
    again, _ = balance(word(name))
    for a, b in zip(jax.tree.leaves(train.pool), jax.tree.leaves(again.pool), strict=True):
        np.testing.assert_array_equal(a, b)
    alone, _ = balance(word(name), keys=KEYS[:1])
    for a, b in zip(jax.tree.leaves(train.pool), jax.tree.leaves(alone.pool), strict=True):
        assert np.abs(np.asarray(a[0], int) - np.asarray(b[0], int)).max(initial=0) <= 1  # a grey level, by rounding


@every
@pytest.mark.parametrize("kind", TASKS)
def test_any_rank_and_number_of_classes(name, kind):
    task = TASKS[kind]
    if len(task.shape) not in RANKS.get(name, (len(task.shape),)):
        with pytest.raises(UserError, match=rf"{name}: needs .*(images|signals) \[.*got rows of shape \({task.shape[0]},"):
            methods.build(word(name), task)
        return
    method = made(name, task)
    if method.resample is not None:
        check_rows(word(name), task)
    check_step_parts(name, task, jnp.float32)


# --- what happens in a step ---------------------------------------------------------------------------------------


def check_step_parts(name, task, dtype):
    """One jit for all: the batch, its targets, the losses and their gradients are sound."""
    method, progress = made(name, task), jnp.float32(0.9)
    recipe = methods.recipe_of(word(name), task, task.counts)
    classes = len(task.counts)
    z = 3 * jax.random.normal(jax.random.key(4), (6, classes), dtype)

    def run(key, batch, z):
        out = transform(recipe, key, batch, draw_for(task, dtype), progress)
        value, slope = jax.value_and_grad(lambda z: losses(recipe, z, out.t, progress).mean())(z)
        extreme = jax.grad(lambda z: losses(recipe, z, out.t, progress).mean())(100 * jnp.sign(z))
        p = None if recipe.sample is None else recipe.sample(progress)
        return out, value, slope, extreme, p

    batch = batch_of(task, dtype)
    out, value, slope, extreme, p = jax.jit(run)(KEYS[0], batch, z)
    assert out.x.shape == batch.x.shape and out.x.dtype == dtype and out.t.shape == batch.t.shape
    exact = 1e-5 if dtype == jnp.float32 else 2e-2
    np.testing.assert_allclose(out.t.astype(jnp.float32).sum(axis=1), 1.0, atol=exact)
    low = -1 if RANKS.get(name) == (2,) else 0  # samples have a sign
    assert float(out.x.min()) >= low - exact and float(out.x.max()) <= 1 + exact and float(out.t.min()) >= 0
    assert value.dtype == jnp.float32 and math.isfinite(float(value))
    assert slope.dtype == dtype and bool(jnp.isfinite(slope).all()) and bool(jnp.isfinite(extreme).all())
    if p is not None:
        assert p.shape == (classes,) and p.dtype == jnp.float32 and float(p.min()) >= 0
        np.testing.assert_allclose(p.sum(), 1.0, atol=1e-5)
    return method


@every
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step_is_sound_in_both_precisions(name, dtype):
    check_step_parts(name, base(name), dtype)


@having("finetune", "predict")
def test_what_comes_after_the_training_is_sound(name):
    method, classes = made(name), len(BASE.counts)
    y = jnp.repeat(jnp.arange(classes), jnp.asarray(BASE.counts), total_repeat_length=sum(BASE.counts))
    features = jax.random.normal(jax.random.key(6), (len(y), 5)) + y[:, None]
    head = Head(jax.random.normal(jax.random.key(7), (5, classes)), jnp.zeros(classes))
    if method.finetune is not None:
        tuned = jax.jit(lambda key: method.finetune(key, head, Stage(features, y, BASE.counts)))(KEYS[0])
        assert tuned.kernel.shape == (5, classes) and tuned.bias.shape == (classes,)
        assert bool(jnp.isfinite(tuned.kernel).all()) and bool(jnp.isfinite(tuned.bias).all())
    if method.predict is not None:
        z = features @ head.kernel
        fitted = None if method.fit is None else method.fit(z, y)
        assert method.predict(z, fitted).shape == z.shape and bool(jnp.isfinite(method.predict(z, fitted)).all())


@pytest.mark.parametrize("name", [name for name, (_, limit) in SPECS.items() if limit is not None])
def test_the_limit_case_is_the_baseline(name):
    limit, task = SPECS[name][1], base(name)
    train, _ = balance(limit, task)
    plain, _ = toys.problem(task)
    np.testing.assert_array_equal(train.pool.rows, plain.pool.rows)
    recipe, batch, progress = methods.recipe_of(limit, task, task.counts), batch_of(task), jnp.float32(0.5)
    out = transform(recipe, KEYS[0], batch, draw_for(task), progress)
    np.testing.assert_allclose(out.x, batch.x, atol=1e-5)
    np.testing.assert_allclose(out.t, batch.t, atol=1e-6)
    z = jax.random.normal(jax.random.key(4), (6, 3))
    np.testing.assert_allclose(losses(recipe, z, batch.t, progress), optax.softmax_cross_entropy(z, batch.t), rtol=1e-5)
    assert not recipe.needs_validation
    for method in recipe.corrections:
        np.testing.assert_allclose(jax.nn.softmax(method.predict(z, None)), jax.nn.softmax(z), rtol=1e-5)


@having("sample", "transform", "logits", "weight", "loss")
def test_training_is_the_same_alone_and_among_others(name):
    """A few steps of a linear network in the real loop, in two lanes and in one: the same weights, all finite."""
    together, alone = (trained(word(name), keys, base(name)) for keys in (KEYS, KEYS[:1]))
    for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a[0], b[0], rtol=2e-4, atol=2e-5)


def trained(spec, keys, task, steps=3):
    train, context = balance(methods.training_part(spec, task), task, keys)
    model, rule, many = toys.Linear(3), optax.sgd(0.1), len(keys)
    numbers = {name: jnp.full(many, value) for name, value in methods.numbers(spec).items()}

    def recipe(values):
        return methods.recipe_of(spec, task, train.counts, {name: values[name] for name in numbers})

    run = loop.span_function(classifier.epoch_of(model, lambda rate, total: rule, 4, recipe))
    state = jax.vmap(lambda key: classifier.init(key, model, rule, task.shape))(keys)
    carry = loop.Carry(state, {metric: jnp.zeros(many) for metric in classifier.METRICS})
    counts = jnp.tile(jnp.asarray(train.counts, jnp.int32), (many, 1))
    inputs = Inputs(keys, train.pool, counts, {"learning_rate": jnp.full(many, 0.1), **numbers})
    devices = jax.local_devices()[:1]
    out = lanes.over_lanes(run, devices=devices)(carry, inputs, (context.shared, loop.span(0, steps, steps, steps)))
    return jax.tree.map(np.asarray, (out.state.params, out.sums))


# --- numbers that lanes may differ in -----------------------------------------------------------------------------

SWEPT = [name for name in SPECS if methods.numbers(word(name))]
QUICK = {"xla_backend_optimization_level": 0}  # each is compiled for a few rows and run twice


def everything(recipe, key, batch, head, stage, task=BASE):
    """What a recipe does in a step and after the training."""
    progress, z = jnp.float32(0.5), 3 * (stage.features @ head.kernel)
    out = transform(recipe, key, batch, draw_for(task), progress)
    p = None if recipe.sample is None else recipe.sample(progress)
    logits = None if not recipe.corrections else corrected(recipe, z, (z, stage.y))
    tuned = None if not recipe.finetunes else finetuned(recipe, key, head, stage)
    return out, losses(recipe, z[:6], batch.t, progress), p, tuned, logits


def after_training():
    y = jnp.asarray(np.repeat(np.arange(3), BASE.counts), jnp.int32)
    features = jax.random.normal(jax.random.key(6), (len(y), 5)) + y[:, None]
    return Head(jax.random.normal(jax.random.key(7), (5, 3)), jnp.ones(3)), Stage(features, y, BASE.counts)


@pytest.mark.parametrize("name", SWEPT)
def test_traced_numbers_give_what_written_ones_give(name):
    """And the program for one value serves the other."""
    spec, task, traces = word(name), base(name), []
    head, stage = after_training()
    grid = [{key: factor * value for key, value in methods.numbers(spec).items()} for factor in (0.5, 0.9)]

    def run(values, key, batch):
        traces.append(values)
        return everything(methods.recipe_of(spec, task, task.counts, values), key, batch, head, stage, task)

    def fixed(key, batch):
        arms = [{key.split(".", 1)[1]: value for key, value in values.items()} for values in grid]
        recipes = [methods.recipe_of(methods.with_options(spec, arm), task, task.counts) for arm in arms]
        return [everything(recipe, key, batch, head, stage, task) for recipe in recipes]

    traced = jax.jit(run, compiler_options=QUICK)
    outs = [traced(jax.tree.map(jnp.float32, values), KEYS[0], batch_of(task)) for values in grid]
    assert len(traces) == 1
    expected = jax.jit(fixed, compiler_options=QUICK)(KEYS[0], batch_of(task))
    for out, want in zip(outs, expected, strict=True):
        for a, b in zip(jax.tree.leaves(out), jax.tree.leaves(want), strict=True):
            assert a.dtype == b.dtype and np.isfinite(a).all()
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    leaves = [jax.tree.leaves(out) for out in outs]
    assert any(not np.array_equal(a, b) for a, b in zip(*leaves, strict=True))  # the numbers do something


def test_lanes_carry_their_own_numbers():
    spec = "affine | mixup | label_smoothing | focal | class_weights | tau_norm | posthoc_logit_adjust"
    head, stage = after_training()

    def run(values, key):
        return everything(methods.recipe_of(spec, BASE, BASE.counts, values), key, batch_of(BASE), head, stage)

    grid = {key: jnp.asarray([0.5, 0.25], jnp.float32) * value for key, value in methods.numbers(spec).items()}
    stacked = jax.jit(jax.vmap(run), compiler_options=QUICK)(grid, KEYS)
    one = jax.jit(run, compiler_options=QUICK)
    for i in range(2):
        alone = one({key: value[i] for key, value in grid.items()}, KEYS[i])
        for a, b in zip(jax.tree.leaves(stacked), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(a[i], b, rtol=1e-4, atol=1e-5)


def hooks_of(spec, task):
    (method,) = methods.build(spec, task)
    return [name for name, hook in method._asdict().items() if hook is not None]


def test_traced_numbers_change_no_hooks_and_make_no_rows():
    for name in SWEPT:
        half = {key.split(".", 1)[1]: 0.5 * value for key, value in methods.numbers(word(name)).items()}
        hooks, changed = (hooks_of(spec, base(name)) for spec in (word(name), methods.with_options(word(name), half)))
        assert hooks == changed and "resample" not in hooks


def test_numbers_and_skeletons():
    spec = "over(to=5) | affine(fill=wrap, zoom='0.8,1.2', shear=5) | mixup | focal(gamma=1)"
    assert methods.numbers(spec) == {
        "1.affine.rotation": 15.0,
        "1.affine.shear": 5.0,
        "1.affine.translation": 0.1,
        "1.affine.p": 1.0,
        "2.mixup.alpha": 0.2,
        "3.focal.gamma": 1.0,
    }
    blank = (
        "over(to=5) | affine(rotation=_, shear=_, translation=_, p=_, fill=wrap, zoom='0.8,1.2') | mixup(alpha=_) | "
        "focal(gamma=_)"
    )
    assert methods.skeleton(spec) == blank
    assert methods.skeleton("mixup") == methods.skeleton("mixup(alpha=3)") != methods.skeleton("mixup | mixup")
    assert methods.numbers("none") == {} and methods.skeleton("over(to=max)") == "over(to=max)"


@pytest.mark.parametrize(
    ("spec", "options", "expected"),
    [
        ("mixup", {"mixup.alpha": 0.4}, "mixup(alpha=0.4)"),
        ("over(to=max) | mixup(alpha=1)", {"mixup.alpha": 1e-9}, "over(to=max) | mixup(alpha=1e-09)"),
        ("ldam(scale=2)", {"ldam.max_margin": np.float64(0.5), "ldam.scale": 3}, "ldam(scale=3, max_margin=0.5)"),
        (
            "smote(k=3) | smote",
            {"smote.k": 2, "smote.space": "pca(3)"},
            "smote(k=2, space='pca(3)') | smote(k=2, space='pca(3)')",
        ),
        ("over", {"over.to": {1: 3}}, "over(to={1: 3})"),
        ("sampling", {"sampling.kind": "sqrt"}, "sampling(kind=sqrt)"),
        ("mixup", {"focal.gamma": 1.0}, "mixup"),
    ],
)
def test_options_are_set_in_a_spec(spec, options, expected):
    assert methods.with_options(spec, options) == expected
    assert methods.with_options(expected, {}) == expected  # and it can be read


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixip.alpha": 1}, "unknown method 'mixip'; did you mean 'mixup'"),
        ({"mixup.alfa": 1}, "no option 'alfa'; did you mean 'alpha'"),
        ({"mixup": 1}, "option 'mixup' cannot be read; write METHOD.OPTION"),
        ({"mixup.alpha": "much"}, "alpha='much' is not a number"),
    ],
)
def test_options_that_cannot_be_set_say_why(options, message):
    with pytest.raises(UserError, match=message):
        methods.with_options("mixup", options)


def test_values_are_checked_like_the_numbers_of_a_spec():
    with pytest.raises(UserError, match="mixup: alpha must be above 0 .got -1.0."):
        methods.recipe_of("mixup", BASE, BASE.counts, {"0.mixup.alpha": -1})
    for key in ("1.mixup.alpha", "0.mixup.beta"):
        with pytest.raises(ValueError, match="it has 0.mixup.alpha"):
            methods.recipe_of("mixup", BASE, BASE.counts, {key: 1.0})
    with pytest.raises(ValueError, match="it has none"):
        methods.recipe_of("over", BASE, BASE.counts, {"0.over.to": 1.0})


# --- specs --------------------------------------------------------------------------------------------------------


def test_methods_are_applied_in_order():
    train, _ = balance("over(to=3) | gan_synth(to=5)")
    assert train.counts == (7, 5, 5)
    assert train.pool.new_y.tolist() == [[1, 2, 2]] * 2


def test_an_empty_recipe_is_cross_entropy():
    z, t = jax.random.normal(KEYS[0], (4, 3)), jax.nn.one_hot(jnp.asarray([0, 1, 2, 0]), 3)
    np.testing.assert_allclose(losses(Recipe(), z, t, jnp.float32(0)), optax.softmax_cross_entropy(z, t), rtol=1e-6)


def test_the_listing_has_every_method_with_its_options():
    text = methods.listing()
    for name in methods.names():
        assert f"{name}(" in text
    assert "sweep: alpha, kappa, tau" in text
    assert "gan_synth(to='max', latent='normal', filter='none', candidates=4.0)" in text


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ovr", "unknown method 'ovr'; did you mean 'over'"),
        ("over(too=3)", "no option 'too'; did you mean 'to'"),
        ("none(a=1)", "it takes none"),
        ("over(", "cannot be parsed"),
        ("over(3)", "cannot be parsed"),
        ("over(to=[x])", "must be a number or a word"),
        ("over(to=[3])", r"to=\[3\] is not .*it takes to='max'"),
        ("over(to=True)", "to=True is not"),
        ("over(to=-3)", "none of 'max', 'min', a positive number"),
        ("over(to={5: 3})", "with a class from 0 to 2"),
        ("gan_synth(filter=taste)", "unknown filter 'taste'"),
        ("gan_synth(candidates=0.5)", "at least 1"),
        ("gan_synth(candidates=many)", "candidates='many' is not a number; it takes to='max', latent='normal'"),
        ("gan_synth(latent=cauchy)", "unknown latent"),
    ],
)
def test_bad_specs_say_what_is_wrong(spec, message):
    with pytest.raises(UserError, match=message.replace("none(", r"none\(")):
        methods.build(spec, BASE)


def test_a_class_without_rows_is_named():
    with pytest.raises(UserError, match="class '1' has no training row"):
        methods.build("over", BASE._replace(counts=(5, 0, 1)))


def test_the_documentation_shows_a_method_that_works():
    text = (Path(__file__).parent.parent / "docs" / "adding_a_method.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.S).group(1)
    assert len(code.splitlines()) < 30
    module: dict = {}
    exec(compile(code, "adding_a_method.md", "exec"), module)
    noisy, batch = module["make"](BASE, strength=0.5).transform, batch_of(BASE)
    out = noisy(KEYS[0], batch, draw_for(BASE), jnp.float32(0))
    changed = np.abs(out.x - batch.x).max(axis=(1, 2, 3)) > 0
    np.testing.assert_array_equal(changed, np.isin(np.argmax(batch.t, axis=1), BASE.minority))
    np.testing.assert_array_equal(noisy(KEYS[0], batch, draw_for(BASE), jnp.float32(1)).x, batch.x)
    assert module["TRACED"] == ("strength",)
    traced = jax.jit(
        lambda value: module["make"](BASE, strength=value).transform(KEYS[0], batch, draw_for(BASE), jnp.float32(0))
    )
    np.testing.assert_allclose(traced(0.5).x, out.x, atol=1e-6)
    with pytest.raises(UserError, match="noise: strength must be at least 0 .got -1.0."):
        module["make"](BASE, strength=-1.0)


@pytest.mark.parametrize(
    ("spec", "which"),
    [
        ("focal | focal(gamma=1)", r"focal and focal\(gamma=1\)"),
        ("ldam | mixup | logit_adjust(tau=2)", r"ldam and logit_adjust\(tau=2\)"),
        ("sampling | drs", "sampling and drs"),
    ],
)
def test_words_that_exclude_each_other_are_named(spec, which):
    with pytest.raises(UserError, match=f"{which} do not go together"):
        methods.build(spec, BASE)


def test_a_second_batch_has_been_through_the_transforms_before():
    """'flip | mixup': with every image flipped, both sides of a mix are."""
    recipe = methods.recipe_of("flip(p=1) | mixup(alpha=5)", BASE, BASE.counts)
    one = jnp.linspace(0, 1, 8).reshape(1, 1, 8, 1) * jnp.ones((6, 8, 1, 1))
    same = Batch(one, batch_of(BASE).t)
    out = transform(recipe, KEYS[0], same, lambda key, p: same, jnp.float32(0))
    np.testing.assert_allclose(out.x, one[:, :, ::-1], atol=1e-6)


def test_what_comes_after_the_training_shares_it():
    assert methods.training_part("crt", BASE) == "none"
    assert methods.training_part("over(to=5) | tau_norm | mixup(alpha=1)", BASE) == "over(to=5) | mixup(alpha=1)"
