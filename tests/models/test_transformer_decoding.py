"""Cached decoding equals teacher forcing; translations depend on their own sentence only."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax_mlperf.models import transformer_decoding
from jax_mlperf.models.transformer import Transformer
from jax_mlperf.models.transformer_decoding import decode_step, init_cache, read_source, translate
from jax_mlperf.ops.beam_search import length_norm

VOCAB, LENGTH = 23, 9

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model() -> Transformer:
    return Transformer(
        vocab_size=VOCAB, d_model=16, ffn_dim=32, num_heads=2, num_layers=2, dropout_rate=0.1,
        dtype=jnp.float32, rngs=nnx.Rngs(1),
    )  # fmt: skip


@pytest.fixture(scope="module")
def sources() -> jax.Array:
    rng = np.random.default_rng(0)
    ids = rng.integers(2, VOCAB, (4, 7))
    for row, length in enumerate((7, 3, 5, 6)):
        ids[row, length - 1 :] = 0
        ids[row, length - 1] = 1
    return jnp.asarray(ids, jnp.int32)


@nnx.jit
def teacher_forced(model, sources, targets):
    def positions(ids):
        return jnp.broadcast_to(jnp.arange(ids.shape[1]), ids.shape)

    return model(
        sources, positions(sources), (sources != 0).astype(jnp.int32),
        targets, positions(targets), jnp.ones_like(targets),
    )  # fmt: skip


def test_steps_equal_teacher_forcing(model, sources):
    """With 3 beams that carry different sentences: every beam's past is its own."""
    beams = 3
    targets = jnp.asarray(np.random.default_rng(1).integers(2, VOCAB, (4, beams, LENGTH)), jnp.int32)
    expected = jnp.stack([teacher_forced(model, sources, targets[:, beam]) for beam in range(beams)], axis=1)
    source = nnx.jit(read_source)(model, sources)
    cache = init_cache(model, 4, beams, LENGTH)
    step = nnx.jit(decode_step)
    for index in range(LENGTH):
        previous = targets[:, :, index - 1] if index else jnp.zeros((4, beams), jnp.int32)
        logits, cache = step(model, source, previous, cache, jnp.int32(index))
        np.testing.assert_allclose(logits, expected[:, :, index], atol=1e-5)


@pytest.fixture(scope="module")
def run(model):
    return nnx.jit(partial(translate, max_length=LENGTH))


def test_scores_are_those_of_the_tokens(model, sources, run):
    """The score of every result, computed again by teacher forcing."""
    result = run(model, sources)
    for beam in range(result.ids.shape[1]):
        ids = result.ids[:, beam]
        log_probs = jax.nn.log_softmax(teacher_forced(model, sources, ids))
        chosen = jnp.take_along_axis(log_probs, ids[..., None], axis=2)[..., 0]
        for row, score in enumerate(np.asarray(result.scores[:, beam])):
            length = list(ids[row].tolist()).index(1) + 1 if 1 in ids[row] else LENGTH
            expected = float(chosen[row, :length].sum() / length_norm(length, 0.6))
            assert score == pytest.approx(expected, abs=1e-4)


def test_rows_and_padding_do_not_matter(model, sources, run):
    together = run(model, sources)
    alone = run(model, sources[1:2, :3])
    np.testing.assert_array_equal(alone.ids[0], together.ids[1])
    np.testing.assert_allclose(alone.scores[0], together.scores[1], atol=1e-5)


@pytest.mark.parametrize("beams", [3, 4])
def test_keys_lie_in_multiples_of_8(model, sources, beams):
    """7 source slots become 8; 3 beams need 16 steps for 9, 4 beams 10."""
    source = nnx.eval_shape(read_source, model, sources)
    assert source.mask.shape == (4, 1, 1, 8) and source.layers[0].key.shape == (4, 2, 8, 8)
    cache = init_cache(model, 4, beams, LENGTH)
    assert cache.shared[0].key.shape == (4, 2, {3: 48, 4: 40}[beams], 8)
    assert cache.beams.shape == (4, beams, {3: 16, 4: 10}[beams])


def test_alignment_changes_no_result(model, sources, run, monkeypatch):
    """Odd lengths, 7 source slots and 9 steps: as without the padding, and of the length asked for."""
    padded = run(model, sources)
    monkeypatch.setattr(transformer_decoding, "_ALIGNMENT", 1)
    plain = nnx.jit(lambda model, sources: translate(model, sources, max_length=LENGTH))(model, sources)
    assert padded.ids.shape == plain.ids.shape == (4, 4, LENGTH)
    np.testing.assert_array_equal(padded.ids, plain.ids)
    np.testing.assert_allclose(padded.scores, plain.scores, atol=1e-6)
