"""What a search asks of a network: symmetries, perspective, illegal moves. The networks are small formulas."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.go.rules import Position, Rules
from jax_mlperf.search.types import DirichletNoise
from jax_mlperf.selfplay import agent as module
from jax_mlperf.selfplay.agent import Agent, SearchSettings

SIZE, ROWS = 3, 160
RULES = Rules(size=SIZE, komi=0.5, max_moves=9, history=2)
PLANES = 5
RNG = np.random.default_rng(0)
HISTORY = RNG.integers(-1, 2, (2, 2, 9)).astype(np.int8)  # of two positions: black to move, white to move
MATRIX = RNG.standard_normal((PLANES * 9, 11)).astype(np.float32)  # to 10 logits and a value
PER_POINT = RNG.standard_normal((PLANES, 3)).astype(np.float32)


def positions():
    """ROWS times black's position, ROWS times white's; boards of single stones, as nothing but liberties reads chains."""
    rows = np.repeat([0, 1], ROWS)
    history = HISTORY[rows]
    some = RULES.start()
    points = np.arange(1, 10, dtype=np.int8)
    return Position(history[:, 0] * points, history, rows.astype(np.int16), np.full(2 * ROWS, -1, np.int16),
                    np.zeros(2 * ROWS, np.int8), np.zeros((2 * ROWS, 2), np.int16), np.zeros(2 * ROWS, bool),
                    np.zeros((2 * ROWS, *some.hashes.shape), np.uint32))


def stone_planes(row):
    """[s, s, 5] of position 0 or 1: AGZ planes with two boards."""
    side = 1 - 2 * row
    planes = [HISTORY[row, 0] == side, HISTORY[row, 0] == -side, HISTORY[row, 1] == side, HISTORY[row, 1] == -side,
              np.full(9, row == 0)]
    return np.stack(planes, axis=-1).reshape(SIZE, SIZE, PLANES).astype(np.float32)


def dense(planes):
    """A network that sees where things are."""
    out = planes.reshape(len(planes), -1).astype(np.float32) @ MATRIX
    return out[:, :10], np.tanh(out[:, 10]) if isinstance(out, np.ndarray) else jnp.tanh(out[:, 10])


def pointwise(planes):
    """A network whose logit of a point depends on that point alone: turned boards have turned answers."""
    out = planes.reshape(len(planes), 9, PLANES).astype(np.float32) @ PER_POINT
    return jnp.concatenate([out[..., 0], out[..., 1].sum(axis=1, keepdims=True)], axis=1), jnp.tanh(out[..., 2].sum(axis=1))


def made(network, kind="puct"):
    def bound(params, statistics):
        assert (params, statistics) == ("params", "statistics")
        return network

    return Agent(RULES, "agz", SimpleNamespace(bound=bound), SearchSettings(kind, "v0.6", 4))


VARIABLES = module.Variables("params", "statistics")


@pytest.fixture(scope="module", autouse=True)
def formulas_need_no_folding():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "fold", lambda network: network)
        patch.setattr(module, "infer", lambda network, planes: network(planes))
        yield


@pytest.fixture(scope="module")
def evaluated():
    """Both networks' opinions, the second time with another key: {name: [Evaluation, Evaluation]}."""
    @jax.jit
    def evaluate(key):
        return {network.__name__: made(network).evaluate_fn(VARIABLES)(positions(), key) for network in (dense, pointwise)}

    first, second = (jax.device_get(evaluate(jax.random.key(seed, impl="unsafe_rbg"))) for seed in (0, 1))
    return {name: [first[name], second[name]] for name in first}


def turned(board, symmetry):
    board = np.swapaxes(board, 0, 1) if symmetry >= 4 else board
    return np.rot90(board, symmetry % 4)


def turned_back(board, symmetry):
    board = np.rot90(board, -(symmetry % 4))
    return np.swapaxes(board, 0, 1) if symmetry >= 4 else board


def test_a_network_that_does_not_care_for_symmetries_gives_its_answer_under_all(evaluated):
    for evaluation in evaluated["pointwise"]:
        for row, side in ((0, 1), (1, -1)):
            logits, black_value = jax.device_get(pointwise(stone_planes(row)[None]))
            own = slice(row * ROWS, (row + 1) * ROWS)
            np.testing.assert_allclose(evaluation.logits[own], np.repeat(logits, ROWS, axis=0), rtol=1e-5)
            np.testing.assert_allclose(evaluation.value[own], np.repeat(side * black_value, ROWS), rtol=1e-5)


def test_every_position_has_one_of_eight_symmetries_and_its_answer_is_turned_back(evaluated):
    symmetries = []
    for evaluation in evaluated["dense"]:
        for row, side in ((0, 1), (1, -1)):
            boards = np.stack([turned(stone_planes(row), symmetry) for symmetry in range(8)])
            logits, black_value = dense(boards)
            points = [turned_back(logits[s, :9].reshape(SIZE, SIZE), s).ravel() for s in range(8)]
            expected = np.c_[np.stack(points), logits[:, 9], side * black_value]
            own = slice(row * ROWS, (row + 1) * ROWS)
            found = np.c_[evaluation.logits[own], evaluation.value[own]]
            distance = np.abs(found[:, None] - expected).max(axis=2)
            assert (distance.min(axis=1) < 1e-4).all() and (np.sort(distance, axis=1)[:, 1] > 0.01).all()
            symmetries.append(distance.argmin(axis=1))
    counts = np.bincount(np.concatenate(symmetries), minlength=8)
    np.testing.assert_allclose(counts, 4 * ROWS / 8, atol=4 * (4 * ROWS * 7 / 64) ** 0.5)
    assert (symmetries[0] != symmetries[2]).any() and (symmetries[0] != symmetries[1]).any(), "by key and by row"


def test_without_readouts_the_networks_first_legal_choice_is_played(monkeypatch):
    monkeypatch.setattr(Rules, "legal", lambda rules, position: jnp.append(position.board == 0, True))
    agent = made(pointwise)
    found = jax.device_get(jax.jit(lambda: agent.search(VARIABLES, positions(), jax.random.key(0, impl="unsafe_rbg"), 0))())
    for row, side in ((0, 1), (1, -1)):
        (logits,), black_value = jax.device_get(pointwise(stone_planes(row)[None]))
        legal = np.append(HISTORY[row, 0] == 0, True)
        own = slice(row * ROWS, (row + 1) * ROWS)
        policy = found.policy[own][0]
        assert not policy[~legal].any()
        np.testing.assert_allclose(policy[legal], np.exp(logits[legal]) / np.exp(logits[legal]).sum(), rtol=1e-5)
        assert (found.action[own] == np.flatnonzero(legal)[logits[legal].argmax()]).all()
        assert not found.visits[own].any()
        np.testing.assert_allclose(found.value[own], side * black_value[0], rtol=1e-5)


@pytest.mark.parametrize(("kind", "noise", "expected"), [
    ("puct", None, {"version": "v0.6", "noise": None}),
    ("puct", DirichletNoise(0.1, 0.2), {"version": "v0.6", "noise": (0.1, 0.2)}),
    ("gumbel", None, {"considered_actions": 4, "gumbel_scale": 0.0}),
    ("gumbel", DirichletNoise(0.1, 0.2), {"considered_actions": 4, "gumbel_scale": 1.0}),
])
def test_which_search_with_what(monkeypatch, kind, noise, expected):
    """Gumbel search is without chance wherever minigo's is: in matches and evaluations."""
    for name in ("puct", "gumbel"):
        monkeypatch.setattr(module, f"{name}_search", lambda *args, name=name, **options: (name, args, options))
    name, (rules, states, _, key), options = made(pointwise, kind).search(VARIABLES, "positions", "key", 7, noise=noise)
    assert (name, rules, states, key, options) == (kind, RULES, "positions", "key", {"readouts": 7, **expected})
