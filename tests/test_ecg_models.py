"""The networks for heartbeats: sizes, contracts, and what the training steps need of them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from imbal_jax import models
from imbal_jax.artifacts import checkpoint
from imbal_jax.errors import UserError
from imbal_jax.gan import losses
from imbal_jax.gan import step as gan_step
from imbal_jax.models import ecg_cnn, ecg_cnn_rr, ecg_gan, s1_gan

KEY = jax.random.key(0)
CLASSES = 3


def shapes(net, *inputs):
    return jax.eval_shape(net.init, KEY, *(jnp.zeros(shape) for shape in inputs))


def size(held):
    return sum(leaf.size for leaf in jax.tree.leaves(held))


def averages(held):
    return {name: part for name, part in held.items() if name != "params"}


# --- the GANs ---------------------------------------------------------------------------------------------------


def nets(module, latent, loss="bce", width=0.1, **options):
    common = {"classes": CLASSES, "width": width}
    generator, discriminator = module.Generator(latent=latent, **common), module.Discriminator(**common)
    adam = optax.adam(1e-3, b1=0.5)
    return gan_step.Nets(generator, discriminator, adam, adam, losses.make(loss), latent, CLASSES, **options)


def training(nets, length, steps=2):
    """Compiled for two lanes: their beats [2, 6, length, 1] -> states before and after some steps, the metrics of each."""
    y = jnp.arange(6) % CLASSES

    def run(key, x):
        def one(state, i):
            return gan_step.step(nets, state, i, lambda part: (x, y), jax.random.fold_in(key, i))

        begin = gan_step.init(key, nets, (length, 1))
        return begin, *jax.lax.scan(one, begin, jnp.arange(steps))

    compiled = jax.jit(jax.vmap(run))
    return lambda x: jax.device_get(compiled(jax.random.split(KEY, 2), x))


def test_the_published_numbers_of_parameters():
    label = (1, 5)
    generator = shapes(s1_gan.Generator(), (1, 112), label)
    discriminator = shapes(s1_gan.Discriminator(), (1, 300, 1), label)
    assert (size(generator), size(discriminator)) == (144_137, 164_317)
    assert size(generator["batch_stats"]) == 2 * (8 + 32 + 64) and size(discriminator["batch_stats"]) == 2 * (32 + 8 + 4)


def test_the_sizes_of_the_conditional_pair():
    label = (1, 5)
    generator = shapes(ecg_gan.Generator(), (1, 128), label)
    discriminator = shapes(ecg_gan.Discriminator(), (1, 300, 1), label)
    assert (size(generator["params"]), size(discriminator["params"])) == (1_367_169, 208_257)
    assert shapes(ecg_gan.Generator(width=0.5), (1, 128), label)["params"]["Dense_0"]["kernel"].shape == (133, 75 * 64)


@pytest.mark.parametrize(("module", "latent", "length"), [(s1_gan, 112, 300), (s1_gan, 30, 218), (ecg_gan, 7, 300)])
def test_the_contract_of_a_gan(module, latent, length):
    for form in ("gemm", "lax"):
        options = {"classes": 4, "width": 0.25, "form": form, "init_kernel": "glorot_uniform"}
        generator, discriminator = module.Generator(latent=latent, **options), module.Discriminator(**options)
        z, label, x = jnp.zeros((3, latent)), jnp.zeros((3, 4)), jnp.zeros((3, length, 1))
        held = jax.eval_shape(generator.init, KEY, z, label)
        assert jax.eval_shape(generator.apply, held, z, label).shape == (3, length, 1)
        held = jax.eval_shape(discriminator.init, KEY, x, label)
        assert jax.eval_shape(discriminator.apply, held, x, label).shape == (3,)
    name = module.__name__.split(".")[-1]
    assert models.load(name, "gan.model", "Generator", "Discriminator") is module


@pytest.mark.parametrize("module", [s1_gan, ecg_gan])
def test_images_are_refused(module):
    with pytest.raises(UserError, match=r"is for signals \[T, C\] \(got rows of shape \(28, 28, 1\)"):
        module.Discriminator().init(KEY, jnp.zeros((1, 28, 28, 1)), jnp.zeros((1, 5)))


def weights(state, of=slice(None)):
    """The generator's leaves but for biases: before batch normalisation they feel nothing but rounding."""
    leaves = jax.tree.leaves_with_path(state.generator)
    return [leaf[of] for path, leaf in leaves if not jax.tree_util.keystr(path).endswith("['bias']")]


@pytest.mark.parametrize(("module", "latent", "loss"), [(s1_gan, 12, "bce"), (ecg_gan, 5, "wgan-gp")])
def test_training_steps(module, latent, loss):
    """Everything moves and stays finite, a lane does not hang on the other, and one of the pairs looks at the label."""
    # Long kernels are quick to compile where there are channels enough for their transforms.
    plan = nets(module, latent, loss, width=0.5 if module is s1_gan else 0.1, ema=0.9)
    length = latent + s1_gan.GROWTH if module is s1_gan else ecg_gan.LENGTH
    x = 0.5 * jax.random.normal(KEY, (2, 6, length, 1))
    run = training(plan, length)
    begin, state, metrics = run(x)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((state, metrics)))
    for net in ("generator", "discriminator"):
        pairs = zip(*(jax.tree.leaves_with_path(getattr(s, net)) for s in (begin, state)), strict=True)
        still = [jax.tree_util.keystr(path) for (path, a), (_, b) in pairs if np.array_equal(a, b)]
        assert not [name for name in still if not name.endswith("['bias']")], still
    _, other, _ = run(x.at[1].multiply(0.3))
    for a, b in zip(weights(state, 0), weights(other, 0), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert any(not np.array_equal(a, b) for a, b in zip(weights(state, 1), weights(other, 1), strict=True))
    z, label = jax.random.normal(KEY, (2, latent)), jnp.eye(CLASSES)[:2]
    first = jax.tree.map(lambda leaf: leaf[0], gan_step.sampler(state))
    draw, judge = jax.jit(plan.generator.apply), jax.jit(plan.discriminator.apply)
    beats = draw(first, z, label)
    assert beats.shape == (2, length, 1) and float(jnp.abs(beats).max()) < 1 and float(beats.std()) > 0
    held = jax.tree.map(lambda leaf: leaf[0], state.discriminator)
    assert np.array_equal(beats, draw(first, z, label[::-1])) == (module is s1_gan)
    assert np.array_equal(judge(held, beats, label), judge(held, beats, label[::-1])) == (module is s1_gan)


@pytest.fixture(scope="module")
def judge():
    """A conditional discriminator after some steps of its power iterations, rows and labels."""
    net = ecg_gan.Discriminator(CLASSES, width=0.1)
    x, label = jax.random.normal(KEY, (4, 40, 1)), jnp.eye(CLASSES)[jnp.asarray([0, 1, 2, 0])]

    def settled(key):
        held = net.init(key, x, label)

        def more(stats, _):
            return net.apply({**held, **stats}, x, label, train=True, mutable=["batch_stats"])[1], None

        return {**held, **jax.lax.scan(more, averages(held), None, length=40)[0]}

    return net, jax.jit(settled)(KEY), x, label


def test_layers_are_spectrally_normalised(judge):
    """The singular values kept are numpy's, and they are divided out: a kernel ten times as large changes nothing."""
    net, held, x, label = judge
    kept = {name: value for part in held["batch_stats"].values() for name, value in part.items()}
    kernels = {name: layer["kernel"] for name, layer in held["params"].items()}
    assert len(kernels) == 7  # with the label's embedding
    for name, kernel in kernels.items():
        largest = np.linalg.norm(np.asarray(kernel).reshape(-1, kernel.shape[-1]), 2)
        np.testing.assert_allclose(kept[f"{name}/kernel/sigma"], largest, rtol=0.02, err_msg=name)
    params = {name: {**layer, "kernel": 10 * layer["kernel"]} for name, layer in held["params"].items()}
    run = jax.jit(net.apply)
    np.testing.assert_allclose(run(held, x, label), run({**held, "params": params}, x, label), rtol=1e-3, atol=1e-5)


def test_logits_hang_on_the_label_by_projection_and_not_on_other_examples(judge):
    net, held, x, label = judge
    run = jax.jit(net.apply)
    z = run(held, x, label)
    np.testing.assert_allclose(run(held, x[:1], label[:1]), z[:1], rtol=1e-4, atol=1e-6)
    half = run(held, x, 0.5 * label)  # the logit is linear in the label
    none = run(held, x, jnp.zeros_like(label))
    np.testing.assert_allclose(half, 0.5 * (z + none), rtol=1e-3, atol=1e-5)
    assert not np.allclose(z, run(held, x, label[:, ::-1]), atol=1e-4)


def test_the_gradient_penalty_is_the_same_in_both_forms(judge):
    """Second derivatives, against jax.lax's own."""
    net, held, x, label = judge

    def penalty(params, form):
        critic = lambda rows: net.clone(form=form).apply({**held, "params": params}, rows, label)  # noqa: E731
        return losses.gradient_penalty(critic, x, 0.5 * x, KEY)

    ours, theirs = (jax.jit(jax.value_and_grad(penalty), static_argnums=1)(held["params"], form) for form in ("gemm", "lax"))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(ours[1])) > 1e-3


def test_singular_vectors_are_checkpointed(judge, tmp_path):
    """Their names have slashes in them."""
    _, held, _, _ = judge
    checkpoint.save(tmp_path, 1, held, {})
    saved = checkpoint.restore(tmp_path, held)
    assert saved is not None
    for a, b in zip(jax.tree.leaves(held), jax.tree.leaves(saved.state), strict=True):
        np.testing.assert_array_equal(a, b)


def test_doubling_is_linear_interpolation():
    x = jax.random.normal(KEY, (2, 5, 3))
    out, place = ecg_gan.doubled(x), (np.arange(10) - 0.5) / 2
    for c in range(3):
        np.testing.assert_allclose(out[0, :, c], np.interp(place, np.arange(5), x[0, :, c]), atol=1e-6)
    assert out.shape == (2, 10, 3)


def test_conditional_normalisation_has_a_line_for_each_class():
    x, label = jax.random.normal(KEY, (4, 5, 2)), jnp.eye(2)[jnp.asarray([0, 0, 1, 1])]
    net = ecg_gan.ConditionalNorm()
    held = net.init(KEY, x, label, True)
    scale, shift = jnp.asarray([[0.0, 0.0], [1.0, -0.5]]), jnp.asarray([[0.0, 0.0], [0.3, 0.2]])
    params = {**held["params"], "scale": {"kernel": scale}, "shift": {"kernel": shift}}
    out, _ = net.apply({**held, "params": params}, x, label, True, mutable=["batch_stats"])
    plain = (x - x.mean((0, 1), keepdims=True)) / jnp.sqrt(x.var((0, 1), keepdims=True) + 1e-5)
    line = plain * (1 + label @ scale)[:, None] + (label @ shift)[:, None]
    np.testing.assert_allclose(out, jnp.maximum(line, 0), atol=1e-5)


# --- the classifier ---------------------------------------------------------------------------------------------


def test_the_sizes_of_the_classifier():
    held = shapes(ecg_cnn.Model(5), (1, 300, 1))
    assert (size(held["params"]), size(held["batch_stats"])) == (201_765, 1_408)
    more = shapes(ecg_cnn_rr.Model(5), (1, 304, 1))
    assert size(more["params"]) == 201_765 + 4 * 64  # the dense layer reads 4 numbers more


@pytest.mark.parametrize(("module", "shape"), [(ecg_cnn, (300, 1)), (ecg_cnn, (77, 2)), (ecg_cnn_rr, (304, 1))])
def test_the_contract_of_a_classifier(module, shape):
    net = module.Model(5, width=0.5, form="lax", init_kernel="glorot_uniform")
    x = jnp.zeros((2, *shape))
    held = jax.eval_shape(net.init, KEY, x)
    assert held["params"]["head"]["kernel"].shape == (32, 5)
    logits, seen = jax.eval_shape(net.apply, held, x)
    assert (logits.shape, seen.shape, seen.dtype) == ((2, 5), (2, 32), jnp.float32)
    half = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, jnp.bfloat16), held["params"])
    logits, seen = jax.eval_shape(net.apply, {**held, "params": half}, x.astype(jnp.bfloat16))
    assert (logits.dtype, seen.dtype) == (jnp.bfloat16, jnp.float32)
    assert models.load(module.__name__.split(".")[-1], "classifier.model", "Model") is module


def test_rr_features_go_around_the_convolutions():
    """They reach the dense layer as they are: the beat's part is that of the network without them."""
    plain, joined = ecg_cnn.Model(3, width=0.1), ecg_cnn_rr.Model(3, width=0.1)
    x = jax.random.normal(KEY, (2, 44, 1))
    held = jax.jit(joined.init)(KEY, x)
    kernel = held["params"]["Dense_0"]["kernel"]
    params = {**held["params"], "Dense_0": {**held["params"]["Dense_0"], "kernel": kernel[:-4]}}
    without = x.at[:, -4:].set(0.0)
    run, run_plain = jax.jit(joined.apply), jax.jit(plain.apply)
    np.testing.assert_allclose(run(held, without)[0], run_plain({**held, "params": params}, x[:, :-4])[0], atol=1e-5)
    before = run_plain({**held, "params": params}, x[:, :-4])[1]
    assert not np.allclose(run(held, x)[1], before, atol=1e-3)


def test_rows_that_do_not_fit_are_refused():
    for net, shape in ((ecg_cnn.Model(3), (28, 28, 1)), (ecg_cnn_rr.Model(3), (4, 1))):
        with pytest.raises(UserError, match=r"it is for signals \[T, C\] of more than \d samples \(got rows of shape"):
            net.init(KEY, jnp.zeros((1, *shape)))


def test_a_training_step_of_each_lane_is_its_own():
    net, keys = ecg_cnn_rr.Model(3, width=0.1), jax.random.split(KEY, 2)
    x = jax.random.uniform(KEY, (2, 8, 44, 1))

    def loss(params, stats, x, key):
        (z, _), new = net.apply({"params": params, **stats}, x, train=True, rngs={"dropout": key}, mutable=["batch_stats"])
        return jnp.mean(z**2), (z, dict(new))

    def step(held, x, key):
        return jax.value_and_grad(loss, has_aux=True)(held["params"], averages(held), x, key)

    held = jax.jit(jax.vmap(lambda key: net.init(key, x[0])))(keys)
    run = jax.jit(jax.vmap(step))
    first, second = (jax.device_get(run(held, part, keys)) for part in (x, x.at[1].multiply(0.3)))
    for ours, theirs in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-4, atol=1e-6)
    (_, (z, stats)), grads = first
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(first))
    assert all(np.any(leaf != 0) for leaf in jax.tree.leaves(grads))
    assert all(np.any(a != b) for a, b in zip(*map(jax.tree.leaves, (stats, averages(held))), strict=True))
    evaluated = jax.jit(jax.vmap(lambda held, x: net.apply(held, x)[0]))(held, x)
    assert not np.allclose(evaluated, z, atol=1e-3)  # other statistics, no dropout


def test_both_forms_of_computing_agree():
    net = ecg_cnn.Model(3, width=0.2)
    x = jax.random.normal(KEY, (3, 61, 1))
    held = jax.jit(net.init)(KEY, x)
    ours, theirs = (jax.jit(net.clone(form=form).apply)(held, x)[0] for form in ("gemm", "lax"))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_both_forms_of_the_gans_agree():
    z, label = jax.random.normal(KEY, (3, 12)), jnp.eye(CLASSES)
    for net in (s1_gan.Generator(12, CLASSES, 0.2), ecg_gan.Generator(12, CLASSES, 0.2)):
        held = jax.jit(net.init)(KEY, z, label)
        ours, theirs = (jax.jit(net.clone(form=form).apply)(held, z, label) for form in ("gemm", "lax"))
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
