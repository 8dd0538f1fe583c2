"""The PyTorch peer of NCF computes and samples what ours does: otherwise the ratios of samples a second would mean nothing."""

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

import torch
from peers import torch_ncf

from jax_mlperf.losses import sigmoid_cross_entropy
from jax_mlperf.metrics.hit_rate import only_rivals_once, rank
from jax_mlperf.models.neumf import NeuMF
from jax_mlperf.optim import adam

USERS, ITEMS, FACTORS, LAYERS = 7, 10, 3, (8, 6, 4)
BETAS = (0.25, 0.5, 1e-8)
OFFSETS = np.array([0, 3, 4, 9])
RATED = np.array([2, 3, 7, 5, 0, 1, 2, 3, 9], np.int32)


def peer_arrays(params) -> dict[str, np.ndarray]:
    """Our parameters by the peer's names."""
    arrays = {}
    for side in ("user", "item"):
        table = np.asarray(params[f"{side}_embedding"][...])
        arrays[f"mf_{side}_embed.weight"], arrays[f"mlp_{side}_embed.weight"] = table[:, :FACTORS], table[:, FACTORS:]
    layers = {f"mlp.{number}": layer for number, layer in params["layers"].items()} | {"final": params["output"]}
    for name, layer in layers.items():
        arrays[f"{name}.weight"], arrays[f"{name}.bias"] = np.asarray(layer["kernel"][...]).T, np.asarray(layer["bias"][...])
    return arrays


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, USERS, 20), rng.integers(0, ITEMS, 20), (rng.random(20) < 0.3).astype(np.float32)


@pytest.fixture(scope="module")
def ours():
    """Our graph and parameters; larger embeddings than at the start, so that they count."""
    graph, params = nnx.split(NeuMF(users=USERS, items=ITEMS, factors=FACTORS, layers=LAYERS, rngs=nnx.Rngs(0)), nnx.Param)
    for side in ("user", "item"):
        params[f"{side}_embedding"][...] = params[f"{side}_embedding"][...] * 50
    return graph, params


def peer_with(params) -> torch_ncf.NeuMF:
    peer = torch_ncf.NeuMF(USERS, ITEMS, FACTORS, LAYERS)
    torch_ncf.load_parameters(peer, peer_arrays(params))
    return peer


def tensors(arrays):
    return [torch.from_numpy(np.asarray(array)) for array in arrays]


def test_same_initial_values():
    torch.manual_seed(0)
    state = torch_ncf.NeuMF(3000, 3000, 64, (256, 256, 128, 64)).state_dict()
    for name in torch_ncf.EMBEDDINGS:
        assert state[f"{name}.weight"].std().item() == pytest.approx(0.01, rel=0.02)
    limits = [0.108253, 0.125, 0.176777, 0.153093, 0.0625, 0.0625, 0.088388, 0.088388]
    names = [*(f"mlp.{layer}" for layer in range(3)), "final"]
    for name, limit in zip([*(f"{name}.weight" for name in names), *(f"{name}.bias" for name in names)], limits, strict=True):
        largest = state[name].abs().max().item()
        assert largest <= limit * 1.0001
        assert largest > limit * (0.9 if state[name].numel() > 1 else 0.0), name


@pytest.mark.parametrize("from_tables", [False, True])
def test_same_logits(ours, pairs, from_tables):
    graph, params = ours
    users, items, _ = pairs
    logits = jax.jit(lambda p: nnx.merge(graph, p)(users, items, from_tables=from_tables))(params)
    theirs = peer_with(params)(*tensors((users, items))).detach().numpy()
    assert np.std(theirs) > 0.02
    np.testing.assert_allclose(logits, theirs, atol=1e-5)


@pytest.mark.slow
def test_same_parameters_after_two_steps(ours, pairs):
    """Loss, all gradients and Adam."""
    graph, params = ours
    users, items, labels = pairs
    optimizer = adam(lambda step: 0.01, *BETAS)

    @jax.jit
    def step(params, state):
        def loss_fn(p):
            total, weight = sigmoid_cross_entropy(nnx.merge(graph, p)(users, items), jnp.asarray(labels), jnp.ones(20))
            return total / weight

        loss, gradients = jax.value_and_grad(loss_fn)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss

    peer = peer_with(params)
    peer_step = torch_ncf.train_step(peer, torch_ncf.make_optimizer(peer, 0.01, *BETAS), compiled=False, bfloat16=False)
    state = optimizer.init(params)
    for _ in range(2):
        params, state, loss = step(params, state)
        assert peer_step(*tensors(pairs)).item() == pytest.approx(float(loss), abs=1e-5)
    theirs = {name: tensor.numpy() for name, tensor in peer.state_dict().items()}
    for name, array in peer_arrays(params).items():
        np.testing.assert_allclose(theirs[name], array, atol=1e-5, err_msg=name)


def check_epoch(users, items, labels, negatives):
    """Every rating once, and for each of them so many unrated items of its user."""
    rated = {(user, item) for user in range(3) for item in RATED[OFFSETS[user]:OFFSETS[user + 1]].tolist()}
    positives = [pair for pair, label in zip(zip(users, items, strict=True), labels, strict=True) if label]
    others = [pair for pair, label in zip(zip(users, items, strict=True), labels, strict=True) if not label]
    assert sorted(positives) == sorted(rated)
    assert not rated & set(others)
    assert [sum(user == wanted for user, _ in others) for wanted in range(3)] == [3 * negatives, negatives, 5 * negatives]
    return others


def test_sampler_makes_a_shuffled_epoch_of_exact_negatives():
    torch.manual_seed(0)
    sampler = torch_ncf.Sampler(OFFSETS, RATED, 10, negatives=400, device="cpu")
    epoch = [tensor.tolist() for tensor in sampler.epoch()]
    others = check_epoch(*epoch, negatives=400)
    counts = np.bincount([item for user, item in others if user == 0], minlength=10)
    assert set(np.flatnonzero(counts)) == {0, 1, 4, 5, 6, 8, 9}
    expected = 1200 / 7
    assert ((counts[counts > 0] - expected) ** 2 / expected).sum() < 22.5  # chi-square of 6: p 0.001
    assert 0 < sum(epoch[2][:900]) < 9  # positives are not all at one end
    assert epoch[0] != sampler.epoch()[0].tolist()


def test_pairs_one_by_one_make_the_same_epoch():
    np.random.seed(0)
    pairs = torch_ncf.PairsOneByOne(OFFSETS, RATED, 10, negatives=4)
    check_epoch(*zip(*(pairs[index] for index in range(len(pairs))), strict=True), negatives=4)
    users, items, labels = next(torch_ncf.one_by_one(pairs, 45))
    check_epoch(users.tolist(), items.tolist(), labels.tolist(), negatives=4)


def test_same_hit_rate(ours):
    graph, params = ours
    rng = np.random.default_rng(1)
    test_items = rng.integers(0, ITEMS, USERS).astype(np.int32)
    candidates = np.asarray(only_rivals_once(rng.integers(0, ITEMS, (USERS, 9)).astype(np.int32), test_items))
    rows = np.concatenate([candidates, test_items[:, None]], axis=1)
    model = jax.jit(lambda p: nnx.merge(graph, p)(np.repeat(np.arange(USERS), 10), rows.ravel()).reshape(USERS, 10))
    scores = model(params)
    ranks = np.asarray(rank(scores[:, :-1], candidates, scores[:, -1], test_items))
    counted = torch.from_numpy(candidates != test_items[:, None])
    peer = peer_with(params)
    rates = [torch_ncf.hit_rate(peer, torch.from_numpy(rows), counted, top, users_at_once=3) for top in (1, 2, 4, 9)]
    assert rates == [np.mean(ranks < top) for top in (1, 2, 4, 9)]
    assert 0 < rates[1] < 1


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["--sides=ours,ours-devices,torch,torch-loader"], ["--epoch", "--sides=ours"]])
def test_script_measures_every_side(repository, flags):
    command = [sys.executable, repository / "perf/ncf.py", "--size=ml-100k", "--steps=2", "--rounds=1", "--json", *flags]
    facts = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout)
    rows = {row["side"]: row for row in facts["results"]}
    if "--epoch" in flags:
        assert facts["samples"] == 5 * 99_057
        assert facts["eval_pairs"] == 943 * 100
        assert all(rows["jax_mlperf"][part] > 0 for part in ("train_sec", "eval_sec", "before_sec"))
        assert 0.05 < rows["jax_mlperf"]["quality"]["hit_rate"] < 1
    else:
        assert rows.keys() == {"ours", "ours-devices", "torch", "torch-loader"}
        assert all(row["samples_per_sec"] > 100 for row in rows.values())
        assert rows["torch"]["sampling_share"] > 0
