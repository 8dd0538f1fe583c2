"""The Transformer: sizes, initial values, masking, packing, precision, and the untrained loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax_mlperf.losses import smoothed_cross_entropy
from jax_mlperf.models.transformer import Transformer, shift_right
from jax_mlperf.models.transformer_layers import LayerNorm, multiply

VOCAB = 50
BIG = {"d_model": 1024, "ffn_dim": 4096, "num_heads": 16, "num_layers": 6, "dropout_rate": 0.1}
BASE = {"d_model": 512, "ffn_dim": 2048, "num_heads": 8, "num_layers": 6, "dropout_rate": 0.1}
SMALL = {"d_model": 32, "ffn_dim": 48, "num_heads": 4, "num_layers": 2, "dropout_rate": 0.1}


def build(dtype=jnp.float32, vocab_size=VOCAB, seed=0, **sizes) -> Transformer:
    return Transformer(vocab_size=vocab_size, dtype=dtype, rngs=nnx.Rngs(seed), **(SMALL | sizes))


@pytest.fixture(scope="module")
def model() -> Transformer:
    return build()


@nnx.jit
def evaluate(model, batch):
    return model(**batch)


def packed(rows: list[list[tuple[list[int], list[int]]]], length: int) -> dict[str, jax.Array]:
    """Rows of (source, target) pairs, one after the other in `length` slots, as the pipeline makes them."""
    names = [side + kind for side in ("inputs", "targets") for kind in ("", "_position", "_segmentation")]
    batch = {name: np.zeros((max(4, len(rows)), length), np.int32) for name in names}  # few shapes to compile
    for row, pairs in enumerate(rows):
        for side, sentences in zip(("inputs", "targets"), zip(*pairs, strict=True), strict=True):
            start = 0
            for segment, ids in enumerate(sentences, start=1):
                slots = slice(start, start + len(ids))
                batch[side][row, slots] = ids
                batch[f"{side}_position"][row, slots] = range(len(ids))
                batch[f"{side}_segmentation"][row, slots] = segment
                start += len(ids)
    return {name: jnp.asarray(value) for name, value in batch.items()}


def random_pair(rng: np.random.Generator, source: int, target: int) -> tuple[list[int], list[int]]:
    return tuple([*rng.integers(2, VOCAB, size - 1).tolist(), 1] for size in (source, target))


@pytest.fixture(scope="module")
def pairs() -> list[tuple[list[int], list[int]]]:
    rng = np.random.default_rng(0)
    return [random_pair(rng, source, target) for source, target in ((4, 5), (6, 3), (3, 6), (7, 7))]


@pytest.mark.parametrize(
    ("sizes", "vocab", "parameters"),
    [
        (BIG, 33_708, 210_804_736),
        (BIG, 33_712, 210_808_832),
        (BIG, 33_945, 211_047_424),
        (BIG, 32_000, 209_055_744),
        (BASE, 33_708, 61_362_176),
    ],
)
def test_parameter_count(sizes, vocab, parameters):
    abstract = nnx.eval_shape(lambda: Transformer(vocab_size=vocab, rngs=nnx.Rngs(0), **sizes))
    leaves = jax.tree.leaves(nnx.state(abstract, nnx.Param))
    assert sum(leaf.size for leaf in leaves) == parameters
    assert all(leaf.dtype == jnp.float32 for leaf in leaves)
    assert len(leaves) == 185


def test_parameters_of_each_part():
    params = nnx.state(
        nnx.eval_shape(lambda: Transformer(vocab_size=33_708, rngs=nnx.Rngs(0), **BIG)), nnx.Param
    )

    def size(*names):
        return sum(leaf.size for name in names for leaf in jax.tree.leaves(params[name]))

    assert size("embedding") == 34_516_992
    assert size("encoder_layers", "encoder_norm") == 75_554_816
    assert size("decoder_layers", "decoder_norm") == 100_732_928


@pytest.mark.slow
def test_initial_values():
    model = build(vocab_size=2000, d_model=64, ffn_dim=256, num_layers=1)
    embedding = model.embedding[...]
    assert float(embedding.std()) == pytest.approx(64**-0.5, rel=0.01)
    assert float(jnp.abs(embedding).max()) > 3.5 * 64**-0.5  # normal, not uniform
    layer = model.decoder_layers[0]
    for kernel, fans in [
        (layer.self_attention.query, 128),
        (layer.self_attention.value, 128),
        (layer.source_attention.key, 128),
        (layer.source_attention.output, 128),
        (layer.feed_forward.hidden_kernel, 320),
        (layer.feed_forward.output_kernel, 320),
    ]:
        limit = (6 / fans) ** 0.5
        largest = float(jnp.abs(kernel[...]).max())
        assert 0.99 * limit < largest <= limit
        assert float(kernel[...].std()) == pytest.approx(limit / 3**0.5, rel=0.05)
    assert not np.array_equal(layer.self_attention.query[...], layer.self_attention.key[...])
    assert float(jnp.abs(layer.feed_forward.hidden_bias[...]).max()) == 0.0
    assert float(jnp.abs(layer.feed_forward.output_bias[...]).max()) == 0.0
    assert np.array_equal(model.encoder_norm.scale[...], np.ones(64))
    assert np.array_equal(model.encoder_norm.bias[...], np.zeros(64))


def test_glorot_limits_of_the_spec():
    rngs = nnx.Rngs(0)
    for shape, limit in (((1024, 1024), 0.0541266), ((1024, 4096), 0.0342327)):
        kernel = nnx.initializers.glorot_uniform()(rngs.params(), shape, jnp.float32)
        assert 0.9999 * limit < float(jnp.abs(kernel).max()) <= limit + 1e-7


def test_layer_norm_by_hand():
    x = np.random.default_rng(0).normal(3.0, 2.0, (2, 5, 8))
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    np.testing.assert_allclose(LayerNorm(8)(jnp.asarray(x, jnp.float32)), expected, atol=1e-5)


def test_multiply_is_one_product_of_matrices_in_both_passes():
    """The kernel's gradient contracts one axis: XLA transposes an operand of other products on the CPU."""
    x, kernel = jnp.arange(24.0).reshape(2, 3, 4), jnp.arange(20.0).reshape(4, 5)
    np.testing.assert_array_equal(multiply(x, kernel), x @ kernel)
    jaxpr = str(jax.make_jaxpr(jax.grad(lambda kernel: multiply(x, kernel).sum()))(kernel))
    assert "dimension_numbers=(([0], [0]), ([], []))" in jaxpr and "[0, 1]" not in jaxpr


def test_embedding_scale_and_zero_vector(model):
    ids, positions = jnp.array([[7, 0, 1]]), jnp.array([[0, 1, 2]])
    embedded = model.embed(ids, positions)
    without = embedded - model.embed(jnp.zeros_like(ids), positions)
    # id 0 leaves the positional encoding only
    np.testing.assert_allclose(without[0, 0], model.embedding[...][7] * 32**0.5, atol=1e-5)
    assert float(jnp.abs(without[0, 1]).max()) == 0.0
    np.testing.assert_allclose(model.embed(ids[:, 1:2], jnp.array([[0]]))[0, 0], [0.0] * 16 + [1.0] * 16)


def test_shift_right_starts_every_segment_with_zero():
    targets = jnp.array([[4, 1, 5, 6, 1, 0]])
    positions = jnp.array([[0, 1, 0, 1, 2, 0]])
    assert shift_right(targets, positions).tolist() == [[0, 4, 0, 5, 6, 0]]


def test_packed_rows_equal_single_sentences(model, pairs):
    """Segments see themselves only, in all three attentions, and start from the zero vector."""
    together = evaluate(model, packed([pairs[:3], [pairs[3]]], 16))
    apart = evaluate(model, packed([[pair] for pair in pairs[:3]], 16))
    start = 0
    for row, (_, target) in enumerate(pairs[:3]):
        np.testing.assert_allclose(
            together[0, start : start + len(target)], apart[row, : len(target)], atol=2e-5
        )
        start += len(target)


def test_padding_does_not_matter(model, pairs):
    long, short = evaluate(model, packed([[pairs[0]]], 16)), evaluate(model, packed([[pairs[0]]], 8))
    target = len(pairs[0][1])
    np.testing.assert_allclose(long[0, :target], short[0, :target], atol=2e-5)


def test_rows_do_not_influence_each_other(model, pairs):
    first = evaluate(model, packed([[pairs[0]], [pairs[1]]], 16))
    second = evaluate(model, packed([[pairs[0]], [pairs[3]]], 16))
    np.testing.assert_array_equal(first[0], second[0])
    assert not np.array_equal(first[1], second[1])


def test_decoder_is_causal_and_reads_the_source(model, pairs):
    batch = packed([[pairs[3]]], 16)
    logits = evaluate(model, batch)
    changed = evaluate(model, batch | {"targets": batch["targets"].at[0, 3].set(9)})
    np.testing.assert_array_equal(logits[0, :4], changed[0, :4])  # slot 3 sees the targets before it
    assert float(jnp.abs(logits[0, 4:7] - changed[0, 4:7]).min(axis=0).max()) > 1e-3
    changed = evaluate(model, batch | {"inputs": batch["inputs"].at[0, 5].set(9)})
    assert float(jnp.abs(logits[0, 0] - changed[0, 0]).max()) > 1e-3


def loss_and_gradient(model, batch):
    graph, params = nnx.split(model)

    def loss(params):
        targets = batch["targets"]
        total, weight = smoothed_cross_entropy(nnx.merge(graph, params)(**batch), targets, targets > 0, 0.1)
        return total / weight

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.mark.slow
def test_gradient_reaches_every_parameter_and_half_precision_agrees(pairs):
    """Every row of the embedding included: the logits use them all."""
    batch = packed([pairs[:3], [pairs[3]]], 16)
    loss, gradient = loss_and_gradient(build(num_layers=1), batch)
    half_loss, half_gradient = loss_and_gradient(build(jnp.bfloat16, num_layers=1), batch)
    for path, leaf in jax.tree.leaves_with_path(gradient):
        assert float(jnp.abs(leaf).max()) > 0.0, jax.tree_util.keystr(path)
    assert float(jnp.abs(gradient["embedding"][...]).max(axis=1).min()) > 0.0
    assert float(half_loss) == pytest.approx(float(loss), rel=5e-3)
    wide = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(gradient)])
    half = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(half_gradient)])
    assert half.dtype == jnp.float32
    cosine = float(wide @ half / (jnp.linalg.norm(wide) * jnp.linalg.norm(half)))
    assert cosine > 0.999


def test_logits_are_float32_and_not_rounded(pairs):
    logits = evaluate(build(jnp.bfloat16, num_layers=1), packed([[pairs[0]]], 8))
    assert logits.dtype == jnp.float32
    assert not np.array_equal(logits, logits.astype(jnp.bfloat16).astype(jnp.float32))


@pytest.mark.parametrize(
    ("dropout", "sites"),
    [(0.1, 2 + 2 * 4 + 2 * 6), (0.0, 0)],
)
def test_dropout_in_four_places(pairs, dropout, sites):
    """Random bits in the traced program: embeddings, sublayers, attention, hidden layers; 2 + 2 layers."""
    model = nnx.eval_shape(lambda: build(dropout_rate=dropout))
    graph, params = nnx.split(model)

    def forward(params, key):
        return nnx.merge(graph, params)(**packed([pairs], 24), rngs=nnx.Rngs(dropout=key))

    assert str(jax.make_jaxpr(forward)(params, jax.random.key(0))).count("random_bits[") == sites


def test_dropout_depends_on_the_key_alone(pairs):
    model = build(num_layers=1)
    run = nnx.jit(lambda model, batch, key: model(**batch, rngs=nnx.Rngs(dropout=key)))
    batch = packed([[pair] for pair in pairs], 8)
    first, again, other = (run(model, batch, jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert float(jnp.abs(first - other).mean()) > 0.01


def test_heads_must_divide():
    with pytest.raises(ValueError, match="multiple of num_heads"):
        build(num_heads=5)


def test_attention_implementation_is_checked():
    with pytest.raises(ValueError, match="'flash' is unknown; there are: auto, xla, cudnn"):
        build(attention_implementation="flash")
    with pytest.raises(ValueError, match="takes no dropout: use 'auto' or dropout_rate 0"):
        build(attention_implementation="cudnn")
    nnx.eval_shape(lambda: build(attention_implementation="cudnn", dropout_rate=0.0))


def newstest_batch(shared_data, sentences: int) -> dict[str, jax.Array]:
    from jax_mlperf.data.subtokenizer import Subtokenizer

    folder = shared_data / "wmt"
    subtokenizer = Subtokenizer.from_file(folder / "vocab.translate_ende_wmt32k.32768.subwords")
    sides = [
        [subtokenizer.encode(line.strip(), add_eos=True) for line in text.split("\n")[:sentences]]
        for text in ((folder / f"newstest2014.{side}").read_text("utf-8") for side in ("en", "de"))
    ]
    rows = [[(list(source), list(target))] for source, target in zip(*sides, strict=True)]
    return packed(rows, max(len(ids) for side in sides for ids in side))


@pytest.mark.slow
def test_untrained_loss_on_newstest2014(shared_data):
    """The base model's loss on 16 pairs, 483 target subtokens; logits of std 1."""
    batch = newstest_batch(shared_data, 16)
    assert int((batch["targets"] > 0).sum()) == 483
    model = Transformer(vocab_size=33_708, dtype=jnp.float32, rngs=nnx.Rngs(0), **BASE)
    logits = evaluate(model, batch)
    weights = batch["targets"] > 0
    total, weight = smoothed_cross_entropy(logits, batch["targets"], weights, 0.1)
    assert 9.4 < float(total / weight) < 9.65
    assert float(logits[weights].std()) == pytest.approx(1.0, abs=0.03)
