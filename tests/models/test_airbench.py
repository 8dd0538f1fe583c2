"""The airbench network: sizes, initial values, options, and a short training run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax_mlperf.airbench_optimizer import Rates, airbench_optimizer
from jax_mlperf.data.gratings import gratings
from jax_mlperf.epoch_schedules import linear_to_zero
from jax_mlperf.flops import count_flops
from jax_mlperf.models.airbench import Airbench
from jax_mlperf.muon import muon
from jax_mlperf.ops.augmentation import AIRBENCH_STD, normalise
from jax_mlperf.ops.convolution import conv2d
from jax_mlperf.ops.whitening import whitening_filter

FILTER = jax.ShapeDtypeStruct((2, 2, 3, 24), jnp.float32)
TINY = {"widths": (16, 32, 32), "logit_scale": 1 / 32, "dtype": jnp.float32}


def abstract(**arguments):
    return nnx.eval_shape(lambda: Airbench(rngs=nnx.Rngs(0), **arguments))


def parameter_count(model) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)))


def test_sizes():
    model = abstract()
    assert parameter_count(model) == 1_971_352
    scales = sum(norm.bias.size for group in model.groups for norm in (group.norm1, group.norm2))
    assert (scales, parameter_count(model) + scales + 2 * 2 * 3 * 24) == (1152, 1_972_792)
    assert parameter_count(abstract(whitening=False)) == 1_971_352 + 288
    graphdef, state = nnx.split(model)
    images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.bfloat16)

    def forward(state, images, whitening):
        return nnx.merge(graphdef, state, copy=True)(images, whitening, train=False)

    assert count_flops(forward, state, images, FILTER) == 236_294_720
    assert jax.eval_shape(forward, state, images, FILTER).dtype == jnp.float32


def test_ladder_of_sizes():
    model = abstract()
    assert jax.eval_shape(lambda x, k: conv2d(x, k, padding="VALID"), jnp.zeros((1, 32, 32, 3)), FILTER).shape == (1, 31, 31, 24)
    shape, ladder = (1, 31, 31, 24), []
    for group in model.groups:
        graphdef, state = nnx.split(group)
        shape = jax.eval_shape(lambda s, x, g=graphdef: nnx.merge(g, s, copy=True)(x, train=False, weights=None), state,
                               jax.ShapeDtypeStruct(shape, jnp.float32)).shape
        ladder.append(shape[1:])
    assert ladder == [(15, 15, 64), (7, 7, 256), (3, 3, 256)]


@pytest.fixture(scope="module")
def models():
    variants = {"plain": {}, "random": {"dirac_init": False, "zero_stem_bias": True, "whitening": False}}

    def make():
        return {name: Airbench(rngs=nnx.Rngs(0), **(TINY | options)) for name, options in variants.items()}

    graphdefs = {name: nnx.split(model)[0] for name, model in nnx.eval_shape(make).items()}
    states = jax.jit(lambda: {name: nnx.split(model)[1] for name, model in make().items()})()
    return {name: nnx.merge(graphdefs[name], states[name]) for name in variants}


def test_initial_values(models):
    kernel = np.asarray(models["plain"].groups[1].conv1.kernel[...])  # 16 -> 32
    identity = np.zeros((3, 3, 16, 16))
    identity[1, 1] = np.eye(16)
    np.testing.assert_array_equal(kernel[..., :16], identity)
    for values in (kernel[..., 16:], np.asarray(models["random"].groups[1].conv1.kernel[...])):
        assert 0.95 / 12 < np.abs(values).max() <= 1 / 12  # 1 / sqrt(9 * 16)
        assert values.std() == pytest.approx(1 / 12 / 3**0.5, rel=0.05)
    stem = np.asarray(models["plain"].groups[0].conv1.kernel[...])  # 24 -> 16: every output is a copy
    assert stem.sum() == 16 and (stem[1, 1, np.arange(16), np.arange(16)] == 1).all()
    assert np.asarray(models["plain"].head.kernel[...]).std(ddof=1) == pytest.approx(1, abs=1e-5)
    assert 0 < np.abs(models["plain"].stem_bias[...]).max() <= 12**-0.5
    assert not models["random"].stem_bias[...].any() and np.abs(models["random"].stem_kernel[...]).max() <= 12**-0.5


def test_whitening_filter_is_needed_with_whitening_only(models):
    for name, whitening in (("plain", None), ("random", jnp.zeros(FILTER.shape))):
        with pytest.raises(ValueError, match="a whitening filter is needed"):
            models[name](jnp.zeros((1, 32, 32, 3)), whitening, train=False)


@pytest.mark.slow
def test_one_epoch_lowers_the_loss_and_then_leaves_the_stem_alone(models):
    batch, steps, stem_steps = 80, 25, 9
    images, labels = gratings(batch * steps, 32, noise=0.45, seed=0)
    whitening = whitening_filter(normalise(jnp.asarray(images[:500]), AIRBENCH_STD))
    graphdef, params, statistics = nnx.split(models["plain"], nnx.Param, nnx.BatchStat)
    params = nnx.to_pure_dict(params)
    rates = Rates(filters=0.24, norm_biases=0.053, stem_bias=0.053, head=0.67)
    optimizer = airbench_optimizer(
        rates, schedule=linear_to_zero(steps), stem_bias_schedule=linear_to_zero(stem_steps), stem_bias_steps=stem_steps,
        decay=2e-6 * batch, filters=muon(lambda step: 0.24 * linear_to_zero(steps)(step)), gradient_scale=1.0)
    state = optimizer.init(params)

    @jax.jit
    def train(params, statistics, state, images, labels):
        def loss(params):
            model = nnx.merge(graphdef, params, statistics, copy=True)
            logits = model(normalise(images, AIRBENCH_STD), whitening, train=True)
            losses = -jax.nn.log_softmax(logits)[jnp.arange(batch), labels]
            return losses.sum(), nnx.state(model, nnx.BatchStat)

        (value, statistics), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = optimizer.update(gradients, state, params)
        return jax.tree.map(jnp.add, params, updates), statistics, state, value / batch

    losses, biases = [], []
    for step in range(steps):
        rows = slice(step * batch, (step + 1) * batch)
        params, statistics, state, value = train(params, statistics, state, images[rows], labels[rows])
        losses.append(float(value))
        biases.append(np.asarray(params["stem_bias"]))
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:2])
    assert all((biases[step] != biases[step - 1]).any() for step in range(1, stem_steps))
    assert all((bias == biases[stem_steps - 1]).all() for bias in biases[stem_steps:])
