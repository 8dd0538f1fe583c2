"""The PyTorch peer computes what our model computes: otherwise the speed ratios would mean nothing."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "perf"))

import torch
import transformer_step
import translation
from peers import torch_transformer

from jax_mlperf.benchmarks.transformer import BATCH_KEYS
from jax_mlperf.losses import smoothed_cross_entropy

SIZE = translation.Size(32, 48, 4, 1, vocab_size=61, rows=3, row_length=24, dropout_rate=0.0)


@pytest.fixture(scope="module")
def both():
    """Our graph and parameters, and the peer with the same parameters."""
    graph, params = nnx.split(nnx.jit(lambda: translation.make_model(SIZE, jnp.float32))())
    noise = np.random.default_rng(1)  # so that zero biases and unit scales cannot hide a swap
    params = jax.tree.map(lambda x: x + 0.1 * noise.standard_normal(x.shape, np.float32), params)
    peer = transformer_step.make_peer(SIZE, dropout_rate=0.0)
    torch_transformer.load_parameters(peer, transformer_step.named_arrays(params))
    return graph, params, peer


def test_packed_batch_has_several_segments_and_padding():
    batch = translation.packed_batch(SIZE)
    assert batch["inputs_segmentation"].max() > 1
    assert (batch["inputs"] == 0).any()
    assert ((batch["targets"] == 0) == (batch["targets_segmentation"] == 0)).all()


def test_same_logits(both):
    graph, params, peer = both
    batch = translation.packed_batch(SIZE)
    ours = jax.jit(lambda p, *arrays: nnx.merge(graph, p)(*arrays))(
        params, *(batch[key] for key in BATCH_KEYS)
    )
    with torch.no_grad():
        theirs = peer(transformer_step.torch_batch(batch, "cpu")).numpy()
    real = batch["targets_segmentation"] > 0  # a padding query's output means nothing
    np.testing.assert_allclose(theirs[real], np.asarray(ours)[real], atol=1e-4)


def test_same_loss_and_gradients(both):
    graph, params, peer = both
    batch = translation.packed_batch(SIZE)

    def mean_loss(params):
        logits = nnx.merge(graph, params)(*(batch[key] for key in BATCH_KEYS))
        total, weight = smoothed_cross_entropy(logits, batch["targets"], batch["targets"] > 0, translation.SMOOTHING)
        return total / weight

    loss, gradients = jax.jit(jax.value_and_grad(mean_loss))(params)
    tensors = transformer_step.torch_batch(batch, "cpu")
    theirs = torch_transformer.smoothed_loss(peer(tensors), tensors["targets"], translation.SMOOTHING)
    theirs.backward()
    assert theirs.item() == pytest.approx(float(loss), abs=1e-5)
    np.testing.assert_allclose(peer.embedding.grad.numpy(), gradients["embedding"][...], atol=1e-5)
    hidden = gradients["decoder_layers"][0]["feed_forward"]["hidden_kernel"][...]
    peer_hidden = peer.decoder_layers[0].feed_forward.hidden.weight.grad.numpy().T
    np.testing.assert_allclose(peer_hidden, hidden, atol=1e-5)
