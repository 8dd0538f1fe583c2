"""The PyTorch peer of the sentiment model computes what ours does: otherwise the ratios of step times would mean nothing."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "perf"))

import sentiment_reviews
import torch
from peers import torch_sentiment

from jax_mlperf.losses import softmax_cross_entropy
from jax_mlperf.models.sentence_conv import SentenceConv
from jax_mlperf.ops.ragged import Ragged
from jax_mlperf.optim import lazy_adam

VOCAB, EMBEDDING, FILTERS = 13, 4, 5
REVIEWS = [np.array(review) for review in ([3, 1, 4, 1, 5], [9], [2, 6, 5, 3, 5, 8, 9, 7], [12, 0])]
LABELS = np.array([0, 1, 1, 0])


def peer_arrays(params) -> dict[str, np.ndarray]:
    """Our parameters by the peer's names."""
    ours = {name: np.asarray(leaf[...]) for name, leaf in params.items()}
    return {"embedding.weight": ours["embedding"], "conv_a.weight": ours["kernel_a"].transpose(2, 1, 0),
            "conv_b.weight": ours["kernel_b"].transpose(2, 1, 0), "conv_a.bias": ours["bias_a"], "conv_b.bias": ours["bias_b"],
            "output.weight": np.concatenate([ours["output_a"], ours["output_b"]]).T, "output.bias": ours["output_bias"]}


@pytest.fixture(scope="module")
def ours():
    """Our graph and parameters; random biases, so that none can be left out."""
    graph, params = nnx.split(SentenceConv(VOCAB, embedding=EMBEDDING, filters=FILTERS, rngs=nnx.Rngs(0)), nnx.Param)
    rng = np.random.default_rng(0)
    for name in ("bias_a", "bias_b", "output_bias"):
        params[name][...] = jnp.asarray(rng.normal(0, 0.3, params[name].shape), jnp.float32)
    return graph, params


@pytest.fixture(scope="module")
def ragged() -> Ragged:
    lengths = np.array([len(review) for review in REVIEWS], np.int32)
    return Ragged(jnp.asarray(np.concatenate(REVIEWS), jnp.uint16), jnp.asarray(np.cumsum(lengths) - lengths), jnp.asarray(lengths))


def peer_with(params, sparse=False) -> torch_sentiment.SentenceConv:
    peer = torch_sentiment.SentenceConv(VOCAB, EMBEDDING, FILTERS, sparse=sparse)
    torch_sentiment.load_parameters(peer, peer_arrays(params))
    return peer


def in_length_order() -> list[int]:
    return sorted(range(len(REVIEWS)), key=lambda index: len(REVIEWS[index]))


def test_same_initial_values():
    torch.manual_seed(0)
    model = torch_sentiment.SentenceConv(5147, 128, 128)
    assert sum(weight.numel() for weight in model.parameters()) == 5148 * 128 + 7 * 128 * 128 + 2 * 128 + 4 * 128 + 2
    for weight, fans in ((model.embedding.weight, 5147 + 128), (model.conv_a.weight, 4 * 128), (model.conv_b.weight, 5 * 128),
                         (model.output.weight, 130)):
        limit = (6 / fans) ** 0.5
        assert 0.97 * limit < weight.abs().max().item() <= limit
    assert not model.embedding.weight[5147].any()
    assert not any(layer.bias.any() for layer in (model.conv_a, model.conv_b, model.output))


def test_batches_are_sorted_and_padded():
    batches = torch_sentiment.sorted_batches(REVIEWS, LABELS, 2, VOCAB, multiple=4)
    assert [ids.tolist() for ids, _ in batches] == [
        [[9, 13, 13, 13], [12, 0, 13, 13]], [[3, 1, 4, 1, 5, 13, 13, 13], [2, 6, 5, 3, 5, 8, 9, 7]]]
    assert [labels.tolist() for _, labels in batches] == [[1, 0], [0, 1]]


def test_same_logits(ours, ragged):
    graph, params = ours
    logits = np.asarray(jax.jit(lambda p: nnx.merge(graph, p)(ragged))(params))
    (ids, _), = torch_sentiment.sorted_batches(REVIEWS, LABELS, 4, VOCAB, multiple=16)
    theirs = peer_with(params)(ids).detach().numpy()
    assert np.std(theirs[:, 0] - theirs[:, 1]) > 0.05
    np.testing.assert_allclose(logits[in_length_order()], theirs, atol=1e-5)


@pytest.mark.slow
def test_same_parameters_after_two_steps(ours, ragged):
    """Loss, all gradients and lazy Adam; epsilon stands elsewhere in PyTorch's dense Adam, which small gradients feel a little."""
    graph, params = ours
    optimizer = lazy_adam(lambda step: 0.01, 0.9, 0.999, 1e-8, tables=("embedding",))

    @jax.jit
    def step(params, state):
        def loss_fn(p):
            total, weight = softmax_cross_entropy(nnx.merge(graph, nnx.State(p))(ragged), jnp.asarray(LABELS), jnp.ones(4))
            return total / weight

        loss, gradients = jax.value_and_grad(loss_fn)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss

    peer = peer_with(params, sparse=True)
    peer_step = torch_sentiment.train_step(peer, 0.01, compiled=False, bfloat16=False)
    batch, = torch_sentiment.sorted_batches(REVIEWS, LABELS, 4, VOCAB, multiple=1)
    before = np.asarray(params["embedding"][...])
    params = nnx.to_pure_dict(params)
    state = optimizer.init(params)
    for _ in range(2):
        params, state, loss = step(params, state)
        assert peer_step(*batch).item() == pytest.approx(float(loss), abs=1e-5)
    theirs = {name: tensor.numpy() for name, tensor in peer.state_dict().items()}
    assert not theirs["embedding.weight"][VOCAB].any()
    theirs["embedding.weight"] = theirs["embedding.weight"][:VOCAB]
    for name, array in peer_arrays(params).items():
        np.testing.assert_allclose(theirs[name], array, atol=1e-5 if name.startswith("embedding") else 5e-5, err_msg=name)
    unused = sorted(set(range(VOCAB)) - set(np.concatenate(REVIEWS).tolist()))
    np.testing.assert_array_equal(theirs["embedding.weight"][unused], before[unused])


def test_generated_reviews_are_like_imdb():
    reviews = sentiment_reviews.generate(batches=10, batch=128, pool=50)
    lengths = np.diff(reviews.offsets)
    assert len(lengths) == len(reviews.labels) == 1280
    assert lengths.mean() == pytest.approx(232.9, rel=0.06)
    assert np.median(lengths) == pytest.approx(174, rel=0.05)
    assert 0.4 < reviews.labels.mean() < 0.6
    assert np.mean(reviews.tokens == 5146) == pytest.approx(0.109, abs=0.005)
    assert 2800 < len(np.unique(reviews.tokens[:reviews.offsets[128]])) < 3500
    assert abs(np.corrcoef(lengths[:-1], lengths[1:])[0, 1]) < 0.1  # not sorted: ours does not profit from that


@pytest.mark.slow
def test_script_measures_every_side(repository):
    command = [sys.executable, repository / "perf/sentiment.py", "--size=tiny", "--steps=2", "--rounds=1", "--json",
               "--sides=ours,ours-devices,torch,torch-sparse"]
    facts = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout)
    rows = {row["side"]: row for row in facts["results"]}
    assert rows.keys() == {"ours", "evaluation", "ours-devices", "evaluation-devices", "torch", "torch-sparse"}
    assert all(row["reviews_per_sec"] > 1 for row in rows.values())
    assert rows["evaluation"]["of_torch_step_ms"] is None
    assert max(rows[name]["of_torch_step_ms"] for name in ("torch", "torch-sparse")) == 1
