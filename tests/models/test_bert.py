"""BERT: the golden forward pass, sizes, initial values, packing, padding, rematerialisation, dropout, precision."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bert_parameters import TINY, random_params, shapes
from bert_rows import packed
from flax import nnx

from jax_mlperf.flops import count_flops
from jax_mlperf.models.bert import Bert, Packed
from jax_mlperf.ops.gather import take_slots
from jax_mlperf.ops.hash_rng import HASH32

GOLDEN = {
    "vocab_size": 11, "hidden_size": 8, "num_layers": 2, "num_heads": 2, "intermediate_size": 16, "max_positions": 6,
    "type_vocab_size": 2, "hidden_dropout_rate": 0.1, "attention_dropout_rate": 0.1, "initializer_range": 0.02, "dtype": "float32",
}
LARGE = GOLDEN | {"vocab_size": 30_522, "hidden_size": 1024, "num_layers": 24, "num_heads": 16, "intermediate_size": 4096,
                  "max_positions": 512}
BASE = LARGE | {"hidden_size": 768, "num_layers": 12, "num_heads": 12, "intermediate_size": 3072}
FOUR_LAYERS = LARGE | {"vocab_size": 8192, "hidden_size": 256, "num_layers": 4, "num_heads": 4, "intermediate_size": 1024}
SMALL = GOLDEN | {"vocab_size": 40, "max_positions": 16, "num_layers": 1, "initializer_range": 0.3}

_LAYER = ("query", "key", "value", "attention_output", "attention_norm", "intermediate", "output", "output_norm")


def build(settings, **changes) -> Bert:
    return Bert(**(settings | changes), rngs=nnx.Rngs(0))


def abstract(settings, **changes):
    return _abstract(tuple((settings | changes).items()))


@functools.cache
def _abstract(settings):
    return nnx.split(nnx.eval_shape(lambda: build(dict(settings))))


def golden_params():
    """The 46 tensors of section 9 of the BERT facts: 0.1 sin(1 + k + 10 c), scales 1 more, in the order of TF1's variables."""
    params = shapes(**TINY)
    embeddings = params["embeddings"]
    places = [(embeddings, "word"), (embeddings, "position"), (embeddings, "token_type"), *norm(embeddings["norm"])]
    for layer in params["layers"].values():
        for name in _LAYER:
            places += norm(layer[name]) if "norm" in name else [(layer[name], "kernel"), (layer[name], "bias")]
    places += [(params["pooler"], "kernel"), (params["pooler"], "bias"), (params, "masked_lm_bias")]
    places += [(params["transform"], "kernel"), (params["transform"], "bias"), *norm(params["transform_norm"])]
    places += [(params["next_sentence"], "kernel"), (params["next_sentence"], "bias")]
    assert len(places) == 46
    for number, (parent, name) in enumerate(places):
        shape = parent[name].shape
        values = 0.1 * np.sin(1 + np.arange(math.prod(shape)) + 10 * number) + (name == "scale")
        parent[name] = jnp.asarray(values.reshape(shape), jnp.float32)
    return params


def norm(params):
    return [(params, "scale"), (params, "bias")]  # gamma, beta


def with_params(graph, params):
    return nnx.merge(graph, nnx.State(params))


GOLDEN_ROW = packed([[([1, 5, 7, 2, 9], 3, [1, 3])]], slots=6, sequences=1)


@functools.cache
def golden(dtype):
    """(sequence output, pooled, outputs) of the golden row."""
    graph, _ = abstract(GOLDEN, dtype=dtype)

    def forward(params, rows):
        model = with_params(graph, params)
        encoded, outputs = model.of_whole_encoding(rows)
        return encoded, model.pool(take_slots(encoded, rows.sequence_starts)), outputs

    return jax.jit(forward)(golden_params(), GOLDEN_ROW)


def test_golden_forward_pass():
    """Section 9 of the BERT facts, computed in float64 by the reference's code."""
    assert sum(leaf.size for leaf in jax.tree.leaves(golden_params())) == 1557
    encoded, pooled, (logits, next_sentence) = golden("float32")
    np.testing.assert_allclose(encoded[0, 0, :4], [0.310247, -1.192528, -1.607884, -0.424704], atol=2e-6)
    np.testing.assert_allclose(pooled[0, 0, :4], [0.063837, -0.003312, -0.067401, -0.069520], atol=2e-6)
    np.testing.assert_allclose(logits[0, 0, :4], [0.641376, -0.010798, -0.549969, 0.130185], atol=2e-6)
    np.testing.assert_allclose(next_sentence[0, 0], [-0.078953, -0.018333], atol=2e-6)
    logits, next_sentence = np.asarray(logits[0], np.float64), np.asarray(next_sentence[0, 0], np.float64)
    losses = np.log(np.exp(logits).sum(-1)) - logits[[0, 1], [4, 6]]
    assert losses.sum() / (2 + 1e-5) == pytest.approx(2.476631, abs=2e-6)
    assert np.log(np.exp(next_sentence).sum()) - next_sentence[1] == pytest.approx(0.663297, abs=2e-6)


@pytest.mark.parametrize(("settings", "parameters", "tensors"), [
    (LARGE, 336_226_108, 398), (BASE, 110_106_428, 206), (FOUR_LAYERS, 5_529_090, 78)])
def test_parameter_count(settings, parameters, tensors):
    leaves = jax.tree.leaves(abstract(settings)[1])
    assert sum(leaf.size for leaf in leaves) == parameters
    assert len(leaves) == tensors
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}


def test_parameters_of_each_part_and_those_with_weight_decay():
    params = nnx.to_pure_dict(abstract(LARGE)[1])

    def size(*trees):
        return sum(leaf.size for leaf in jax.tree.leaves(trees))

    assert size(params["embeddings"]) == 31_782_912
    assert [size(layer) for layer in params["layers"].values()] == [12_596_224] * 24
    assert list(params["layers"]) == list(range(24))
    assert size(params["pooler"]) == 1_049_600
    assert size(params["masked_lm_bias"], params["transform"], params["transform_norm"]) == 1_082_170
    assert size(params["next_sentence"]) == 2050
    decayed = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
    assert (len(decayed), size(decayed)) == (150, 335_869_952)


def test_forward_flops_of_one_sample():
    graph, params = abstract(LARGE)
    row = Packed(*[jax.ShapeDtypeStruct((1, size), jnp.int32) for size in (512, 512, 512, 512, 76, 1)])
    flops = count_flops(lambda params, row: nnx.merge(graph, params).of_whole_encoding(row), params, row)
    assert flops == pytest.approx(339.92e9, abs=0.005e9)


@pytest.mark.slow
def test_initial_values():
    model = build(FOUR_LAYERS, vocab_size=512, num_layers=2, max_positions=64, hidden_size=128, intermediate_size=256)
    for name, kernel in (("word", model.embeddings.word), ("position", model.embeddings.position),
                         ("query", model.layers[1].query.kernel), ("output", model.layers[0].output.kernel),
                         ("pooler", model.pooler.kernel)):
        values = np.asarray(kernel[...])
        assert 0.039 < np.abs(values).max() <= 0.04, name
        assert values.std() == pytest.approx(0.01759, rel=0.03), name
        assert abs(values.mean()) < 1e-3, name
    assert not np.array_equal(model.layers[0].query.kernel[...], model.layers[1].query.kernel[...])
    assert not np.array_equal(model.layers[0].query.kernel[...], model.layers[0].key.kernel[...])
    for leaf in jax.tree.leaves(nnx.state(model, nnx.Param)):
        if leaf.ndim == 1:
            assert float(leaf.min()) == float(leaf.max()) in (0.0, 1.0)


# Sequences of 7, 5 and 9 tokens of a small vocabulary.
SEQUENCES = [([1, 5, 3, 7, 2, 9, 2], 4, [1, 5]), ([1, 8, 2, 11, 2], 3, [1, 3]), ([1, 30, 31, 2, 32, 33, 34, 35, 2], 4, [2, 7])]
APART = packed([[sequence] for sequence in SEQUENCES], slots=16)
TOGETHER = packed([SEQUENCES[:2], SEQUENCES[2:], []], slots=16)


@pytest.fixture(scope="module")
def loss_and_gradients():
    """Loss, outputs and gradients of rows of 16 slots; the probes [row, sequence] weigh the logits of its predictions."""
    graph, _ = abstract(SMALL)
    rng = np.random.default_rng(0)
    probe, next_probe = rng.normal(size=(3, 2, 40)), rng.normal(size=(3, 2))

    @functools.partial(jax.jit, static_argnums=3)
    def run(params, rows, weights, whole=False):
        def loss(params):
            model = with_params(graph, params)
            logits, next_sentence = model.of_whole_encoding(rows)[1] if whole else model(rows)
            by_sequence = logits.reshape(3, 2, 2, -1)  # [row, sequence, prediction, V]
            total = jnp.einsum("rspv,rsq,qpv->", by_sequence, weights, probe)
            return total + jnp.einsum("rsc,rsq,qc->", next_sentence, weights, next_probe), (logits, next_sentence)

        return jax.value_and_grad(loss, has_aux=True)(params)

    return lambda *arguments: jax.device_get(run(*arguments))


def random_small(layers):
    drawn = random_params(TINY | {"vocab": 40, "layers": layers, "positions": 16})
    return jax.tree.map_with_path(lambda path, leaf: 0.3 * leaf + (path[-1].key == "scale"), drawn)


@pytest.fixture(scope="module")
def params():
    return random_small(layers=1)


def one_hot(*places):
    """weights [row, sequence of the row, sequence of SEQUENCES]."""
    weights = np.zeros((3, 2, 3), np.float32)
    for sequence, (row, number) in enumerate(places):
        weights[row, number, sequence] = 1
    return weights


@pytest.mark.slow
def test_the_last_layer_is_needed_where_the_heads_look(loss_and_gradients, params):
    """The same outputs and gradients as from all slots."""
    results = [loss_and_gradients(params, TOGETHER, one_hot((0, 0), (0, 1), (1, 0)), whole) for whole in (False, True)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), *results)


def test_packed_rows_equal_rows_of_their_own(loss_and_gradients, params):
    """Outputs and the gradients of a loss summed over the sequences."""
    (loss, outputs), gradients = loss_and_gradients(params, APART, one_hot((0, 0), (1, 0), (2, 0)))
    (packed_loss, packed_outputs), packed_gradients = loss_and_gradients(params, TOGETHER, one_hot((0, 0), (0, 1), (1, 0)))
    np.testing.assert_allclose(packed_outputs[0][0], np.concatenate([outputs[0][0, :2], outputs[0][1, :2]]), atol=1e-5)
    np.testing.assert_allclose(packed_outputs[1][0], [outputs[1][0, 0], outputs[1][1, 0]], atol=1e-5)
    assert np.abs(outputs[0][0, :2] - outputs[0][1, :2]).max() > 0.1
    assert float(packed_loss) == pytest.approx(float(loss), rel=1e-5)
    for (path, wanted), gradient in zip(jax.tree.leaves_with_path(gradients), jax.tree.leaves(packed_gradients), strict=True):
        np.testing.assert_allclose(gradient, wanted, atol=2e-5 * max(1.0, np.abs(wanted).max()),
                                   err_msg=jax.tree_util.keystr(path))


def test_gradient_reaches_every_parameter_and_is_finite_with_rows_of_padding(loss_and_gradients, params):
    """Row 2 of the packed batch is padding alone; a key's bias alone changes no softmax."""
    (_, outputs), gradients = loss_and_gradients(params, TOGETHER, one_hot((0, 0), (0, 1), (1, 0)))
    assert all(np.isfinite(array).all() for array in jax.tree.leaves((outputs, gradients)))
    for path, leaf in jax.tree.leaves_with_path(gradients):
        name = jax.tree_util.keystr(path)
        assert (np.abs(leaf).max() > 1e-4) == ("['key']['bias']" not in name), name


@pytest.mark.slow
def test_padding_row_alone_stays_finite_in_half_precision(params):
    """Also with dropout, which must not meet a row without any probability."""
    graph, rows = abstract(SMALL, dtype="bfloat16")[0], packed([[]], slots=16)

    @jax.jit
    def run(params, key):
        return jax.value_and_grad(lambda params: sum(
            output.sum() for output in with_params(graph, params)(rows, rngs=nnx.Rngs(dropout=key))))(params)

    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(run(params, jax.random.key(0, impl=HASH32))))


@pytest.mark.slow
def test_rematerialisation_changes_nothing_with_dropout():
    params = random_small(layers=2)

    @functools.partial(jax.jit, static_argnums=1)
    def run(seed, remat):
        graph, _ = abstract(SMALL, num_layers=2, remat=remat)

        def loss(params):
            dropout = nnx.Rngs(dropout=jax.random.key(seed, impl=HASH32))
            logits, next_sentence = with_params(graph, params)(TOGETHER, rngs=dropout)
            return jnp.square(logits).mean() + jnp.square(next_sentence).mean()

        return jax.value_and_grad(loss)(params)

    (loss, gradients), (again, same), (other, _) = run(0, "none"), run(0, "layer"), run(1, "none")
    assert float(again) == pytest.approx(float(loss), rel=1e-6)
    for gradient, wanted in zip(jax.tree.leaves(same), jax.tree.leaves(gradients), strict=True):
        np.testing.assert_allclose(gradient, wanted, atol=1e-6)
    assert float(other) != pytest.approx(float(loss), rel=1e-3)


def test_rematerialisation_keeps_the_layers_inputs_alone():
    """What the backward pass gets beside parameters: activations [rows, slots, ...] of 3 layers."""
    def saved(remat):
        graph, params = abstract(SMALL, remat=remat, num_layers=3, hidden_dropout_rate=0.0, attention_dropout_rate=0.0)

        def residuals(params):
            return jax.vjp(lambda params: nnx.merge(graph, params).encode(TOGETHER), params)[1]

        return sum(leaf.shape[-1:] in ((8,), (16,)) and math.prod(leaf.shape[:-1]) == 3 * 16
                   for leaf in jax.tree.leaves(jax.eval_shape(residuals, params)))

    assert saved("layer") <= 3 + 2 < saved("none")  # one input a layer, and the embeddings' norm


@pytest.mark.parametrize(("rates", "places"), [((0.1, 0.1), 1 + 3 * 2), ((0.1, 0.0), 1 + 2 * 2), ((0.0, 0.1), 2), ((0.0, 0.0), 0)])
def test_dropout_places(rates, places):
    """Draws of random bits in the traced program: after the embeddings, and three in each of two layers; none in the heads."""
    graph, params = abstract(SMALL, num_layers=2, hidden_dropout_rate=rates[0], attention_dropout_rate=rates[1])

    def forward(params, key):
        return nnx.merge(graph, params)(TOGETHER, rngs=nnx.Rngs(dropout=key))

    assert str(jax.make_jaxpr(forward)(params, jax.random.key(0))).count("random_bits[") == places


@pytest.mark.slow
def test_half_precision_agrees_and_logits_are_float32():
    """bfloat16 activations: logits are not rounded, and close to those of float32."""
    for wide, half in zip(golden("float32")[2], golden("bfloat16")[2], strict=True):
        assert half.dtype == jnp.float32
        np.testing.assert_allclose(half, wide, atol=0.02)
        assert not np.array_equal(half, half.astype(jnp.bfloat16).astype(jnp.float32))


def test_wrong_settings_are_refused():
    for changes, message in (({"num_heads": 3}, "multiple of num_heads"), ({"remat": "all"}, "'all' is unknown; there are: none"),
                             ({"attention_implementation": "flash"}, "'flash' is unknown; there are: auto, xla, cudnn"),
                             ({"attention_implementation": "cudnn", "remat": "layer"}, "would differ between the two")):
        with pytest.raises(ValueError, match=message):
            abstract(SMALL, **changes)
