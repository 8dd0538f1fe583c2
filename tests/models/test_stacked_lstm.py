"""The stacked LSTM: sizes, initial values, every number against a loop over time, padding, direction, gradients, precision."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax_mlperf.models.stacked_lstm import StackedLstm

VOCAB, EMBEDDING, GATES = 11, 3, 8
LENGTHS = np.array([5, 2, 1, 0], np.int32)


def abstract(dtype=jnp.float32) -> tuple[nnx.GraphDef, nnx.State]:
    return nnx.split(nnx.eval_shape(lambda: StackedLstm(VOCAB, embedding=EMBEDDING, gates=GATES, dtype=dtype, rngs=nnx.Rngs(0))))


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    return np.random.default_rng(1).integers(0, VOCAB, (4, 5)).astype(np.int32)


@pytest.fixture(scope="module")
def model() -> StackedLstm:
    """Random biases and peepholes, too, so that none of them can be left out."""
    graph, shapes = abstract()
    rng = np.random.default_rng(0)
    return nnx.merge(graph, jax.tree.map(lambda leaf: jnp.asarray(rng.normal(0, 0.7, leaf.shape), jnp.float32), shapes))


@nnx.jit
def logits(model, tokens, lengths):
    return model(tokens, lengths)


def test_parameter_count():
    abstract = nnx.eval_shape(lambda: StackedLstm(5147, rngs=nnx.Rngs(0)))
    leaves = jax.tree.leaves(nnx.state(abstract, nnx.Param))
    assert sum(leaf.size for leaf in leaves) == 4_998_658
    assert all(leaf.dtype == jnp.float32 for leaf in leaves)
    parts = [abstract.embedding, *(part for pair in zip(abstract.linears, abstract.lstms, strict=True) for part in pair),
             abstract.output]
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(nnx.state(part, nnx.Param) if isinstance(part, nnx.Module) else part))
             for part in parts]
    assert sizes == [1_317_632, 263_168, 263_936, 1_311_744, 263_936, 1_311_744, 263_936, 2_562]


def test_initial_values():
    made = nnx.jit(lambda: StackedLstm(50, embedding=32, gates=64, rngs=nnx.Rngs(0)))()
    matrices = [made.embedding, *(kernel for linear in (*made.linears, made.output) for kernel in linear.kernels),
                *(lstm.recurrent for lstm in made.lstms)]
    for matrix in matrices:
        limit = math.sqrt(6 / sum(matrix.shape))
        assert 0.85 * limit < np.abs(matrix[...]).max() <= limit
    zeros = [*(linear.bias for linear in (*made.linears, made.output)),
             *(leaf for lstm in made.lstms for leaf in (lstm.bias, lstm.peepholes))]
    assert not any(np.any(leaf[...]) for leaf in zeros)


@pytest.mark.parametrize("sizes", [{"gates": 6}, {"layers": 0}])
def test_impossible_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match="gates must be a multiple of 4"):
        StackedLstm(VOCAB, rngs=nnx.Rngs(0), **sizes)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm_by_loop(lstm, inputs, reverse) -> np.ndarray:
    """inputs [T, gates] of one review -> h [T, hidden], in float64."""
    recurrent, bias, peepholes = (np.asarray(leaf[...], np.float64) for leaf in (lstm.recurrent, lstm.bias, lstm.peepholes))
    size = GATES // 4
    h, c, outputs = np.zeros(size), np.zeros(size), {}
    for t in reversed(range(len(inputs))) if reverse else range(len(inputs)):
        blocks = inputs[t] + h @ recurrent + bias
        candidate, i, f, o = (blocks[k * size:(k + 1) * size] for k in range(4))
        i, f = sigmoid(i + peepholes[0] * c), sigmoid(f + peepholes[1] * c)
        c = f * c + i * np.tanh(candidate)
        h = sigmoid(o + peepholes[2] * c) * np.tanh(c)
        outputs[t] = h
    return np.stack([outputs[t] for t in range(len(inputs))])


def by_loop(model, review) -> np.ndarray:
    """Logits [2] of one review of at least one token."""
    def linear(layer, *inputs):
        return sum(x @ np.asarray(k[...], np.float64) for x, k in zip(inputs, layer.kernels, strict=True)) + layer.bias[...]

    outputs = [np.asarray(model.embedding[...], np.float64)[review]]
    for layer, (fc, lstm) in enumerate(zip(model.linears, model.lstms, strict=True), start=1):
        projected = linear(fc, *outputs)
        outputs = [projected, lstm_by_loop(lstm, projected, reverse=layer % 2 == 0)]
    return linear(model.output, *(x.max(axis=0) for x in outputs))


def test_logits_are_those_of_a_loop_over_time(model, tokens):
    ours = logits(model, tokens, LENGTHS)
    assert ours.shape == (4, 2)
    assert ours.dtype == jnp.float32
    for row, length in enumerate(LENGTHS[:3]):
        np.testing.assert_allclose(ours[row], by_loop(model, tokens[row, :length]), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(ours[3], model.output.bias[...], rtol=1e-6)


def test_padding_changes_nothing(model, tokens):
    padded = np.full((4, 9), VOCAB - 1, np.int32)
    for row, length in enumerate(LENGTHS):
        padded[row, :length] = tokens[row, :length]
    np.testing.assert_allclose(logits(model, padded, LENGTHS), logits(model, tokens, LENGTHS), rtol=1e-6, atol=1e-6)


def test_second_lstm_alone_runs_backwards(model):
    """An LSTM's first output knows the last step only if it runs backwards."""
    rng = np.random.default_rng(2)
    inside = np.arange(4)[:, None] < np.array([3])
    inputs = rng.normal(size=(4, 1, GATES)).astype(np.float32)
    changed = inputs.copy()
    changed[2] += 1.0
    moved = [bool(np.any(lstm(inputs, inside)[0] != lstm(changed, inside)[0])) for lstm in model.lstms]
    assert moved == [False, True, False]


@pytest.mark.slow
def test_every_parameter_has_a_gradient(model, tokens):
    graph, params = nnx.split(model, nnx.Param)
    gradients = jax.jit(jax.grad(lambda p: jnp.square(nnx.merge(graph, p)(tokens, LENGTHS)).sum()))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    used = np.zeros(VOCAB, bool)
    for row, length in enumerate(LENGTHS):
        used[tokens[row, :length]] = True
    np.testing.assert_array_equal(np.any(gradients["embedding"][...] != 0, axis=1), used)  # nothing flows into padding
    rest = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(gradients) if path[0].key != "embedding"]
    assert all(np.any(leaf != 0, axis=0).all() for leaf in rest)


def test_bfloat16_is_close_to_float32(model, tokens):
    low = nnx.merge(abstract(jnp.bfloat16)[0], nnx.state(model))
    difference = logits(low, tokens, LENGTHS) - logits(model, tokens, LENGTHS)
    assert 0 < np.abs(difference).max() < 0.06
