import functools
import math

import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from plain_puct import plain_puct
from toy_game import Placing, Table, batch

from jax_mlperf.search import DirichletNoise, puct, puct_search
from jax_mlperf.search.puct import exploration, exploration_rate
from jax_mlperf.search.tree import Node

READOUTS = 30
GAME = Placing()
TABLE = Table(GAME, scale=0.5)
# The beginning; two positions with points that may not be taken; after a pass of the side that leads, and of the other, one
# move from the end; near the end.
MOVES = ((), (0, 1), (3, 2, 1), (0, 4, 2, 1, 4), (0, 1, 2, 3, 0, 1, 2, 3, 4), (0, 1, 2, 3, 0, 1, 2, 0))
ENDED = (4, 4)
VERSIONS = "v0.5", "v0.6"


class Searches:
    """A compiled search, for its version: v0.6's over two devices."""

    def __init__(self, version):
        self.version, self.traces = version, 0

        def search(states, key, log_gamma, weight):
            self.traces += 1
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(jax.random, "loggamma", lambda *_: log_gamma)
                return puct_search(GAME, states, TABLE, key, readouts=READOUTS, version=version, noise=DirichletNoise(0.13, weight))

        if version == "v0.6":
            mesh = Mesh(np.array(jax.devices()[:2]), ("devices",))
            split = P("devices")
            search = jax.shard_map(search, mesh=mesh, in_specs=(split, P(), split, P()), out_specs=split, check_vma=False)
        self.jitted = jax.jit(search)

    def __call__(self, states, log_gamma, weight):
        return jax.device_get(self.jitted(states, jax.random.key(0), log_gamma, np.float32(weight)))


@functools.cache
def searches(version):
    return Searches(version)


@functools.cache
def roots():
    return batch(*(GAME.after(moves) for moves in MOVES))


def log_gamma(seed):
    return np.log(np.random.default_rng(seed).gamma(0.5, size=(len(MOVES), GAME.actions))).astype(np.float32)


def probabilities(log_gamma):
    return np.exp(log_gamma.astype(np.float64)) / np.exp(log_gamma.astype(np.float64)).sum()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("weight", [0, 0.25])
def test_visits_are_those_of_a_plain_search(version, weight):
    drawn = log_gamma(1)
    found = searches(version)(roots(), drawn, weight)
    for row in range(len(MOVES)):
        state = jax.tree.map(lambda leaf, row=row: leaf[row], roots())
        visits, value, action = plain_puct(GAME, state, TABLE, READOUTS, version, (weight, probabilities(drawn[row])))
        assert found.visits[row].tolist() == visits, row
        assert found.value[row] == pytest.approx(value, abs=1e-5)
        assert found.action[row] == action
    np.testing.assert_allclose(found.policy, found.visits / READOUTS, rtol=1e-6)
    assert found.visits.dtype == found.action.dtype == np.int32 and (found.visits.sum(1) == READOUTS).all()


def test_noise_moves_visits():
    quiet, noisy = (searches("v0.5")(roots(), log_gamma(1), weight).visits for weight in (0, 0.25))
    assert (quiet[0] != noisy[0]).any()


@pytest.mark.parametrize("version", VERSIONS)
def test_rows_do_not_know_of_each_other(version):
    drawn, order = log_gamma(2), np.array([4, 2, 5, 0, 3, 1])
    states = roots()
    found = searches(version)(states, drawn, 0.25)
    moved = searches(version)(jax.tree.map(lambda leaf: leaf[order], states), drawn[order], 0.25)
    jax.tree.map(np.testing.assert_array_equal, moved, jax.tree.map(lambda leaf: leaf[order], found))


@pytest.mark.parametrize("version", VERSIONS)
def test_an_ended_game_does_no_harm(version):
    ended = GAME.after(ENDED)
    with_one = jax.tree.map(lambda leaf, other: np.concatenate([leaf[:2], other[None], leaf[3:]]), roots(), ended)
    plain, found = (searches(version)(states, log_gamma(3), 0.25) for states in (roots(), with_one))
    assert found.value[2] == -1 and not found.visits[2].any() and not found.policy[2].any()
    others = np.array([0, 1, 3, 4, 5])
    jax.tree.map(np.testing.assert_array_equal, *(jax.tree.map(lambda leaf: leaf[others], out) for out in (plain, found)))


@pytest.mark.parametrize("version", VERSIONS)
def test_the_double_pass_is_tried_first_but_not_more(version):
    """Priors that would never pass, after a pass of the side that leads: one visit to see that it loses."""
    priors = np.where(np.arange(GAME.actions) == GAME.pass_action, -80, log_gamma(4)).astype(np.float32)
    assert searches(version)(roots(), priors, 1).visits[3, GAME.pass_action] == 1


def test_compiled_once_and_without_collectives():
    for version in VERSIONS:
        compiled = searches(version)
        compiled(roots(), log_gamma(5), 0.5)
        assert compiled.traces == 1
    text = searches("v0.6").jitted.lower(roots(), jax.random.key(0), log_gamma(5), np.float32(0)).compile().as_text()
    assert not any(word in text for word in ("all-reduce", "all-gather", "all-to-all", "collective-permute"))


def test_constants():
    """Values of the spec: v0.5's U of an unvisited child at the first simulation, v0.6's coefficient; roots of 9 and 4."""
    visits = np.array([0, 1, 240, 800, 7, 5], np.int32)
    first, second, rate = jax.jit(lambda n: (exploration(n, "v0.5"), exploration(n, "v0.6"), exploration_rate(n)))(visits)
    assert float(first[1]) / 82 == pytest.approx(0.0291491, abs=5e-8) and float(first[4]) == pytest.approx(1.38 * 3)
    np.testing.assert_allclose(rate[:4], [2.500102, 2.500204, 2.524378, 2.579901], atol=1e-6)
    assert float(second[5]) == pytest.approx(2 * (math.log(19658 / 19652) + 1.25) * 2)


def test_ties_of_visits():
    """v0.5 takes the first; v0.6 the best of Q + U with a root of 1 + N: here action 1 by Q, then action 0 by its prior."""
    node = Node(visits=np.array([[5, 5, 2]] * 2), values=np.array([[0.1, 0.2, 0.9], [0.1, 0.2, 0.9]], np.float32),
                priors=np.array([[0.3, 0.3, 0.4], [0.5, 0.1, 0.4]], np.float32), raw_value=np.zeros(2, np.float32),
                own_visits=np.array([13, 13]), passed=np.zeros(2, bool))
    chosen = jax.jit(puct.most_visited, static_argnums=1)
    assert [chosen(node, version).tolist() for version in VERSIONS] == [[0, 0], [1, 0]]


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_noise_is_dirichlet_s(version, monkeypatch):
    """Means and the expected sum of squares, (alpha + 1) / (n alpha + 1), over all actions (v0.5) or the legal ones (v0.6)."""
    alpha, rows, trees = 0.03, 4000, []  # a gamma variate of so small an alpha is often too small for a float32
    plain_search = puct.search
    monkeypatch.setattr(puct, "search", lambda *arguments: trees.append(plain_search(*arguments)) or trees[0])
    states = jax.tree.map(lambda leaf: np.stack([leaf] * rows), GAME.after((0, 1)))

    @jax.jit
    def priors(key):
        puct_search(GAME, states, TABLE, key, readouts=1, version=version, noise=DirichletNoise(alpha, 1.0))
        return trees[0].priors[:, 0]

    drawn = np.asarray(priors(jax.random.key(0)), np.float64)
    assert (drawn[:, 0] == -1).all()  # illegal
    drawn, n = drawn[:, 1:], 5 if version == "v0.5" else 4
    np.testing.assert_allclose(drawn.mean(0), 1 / n, atol=0.03)
    assert (drawn**2).sum(1).mean() == pytest.approx((alpha + 1) / (n * alpha + 1) * 4 / n, abs=0.03)
    whole = abs(drawn.sum(1) - 1) < 1e-3
    assert whole.all() if version == "v0.6" else 0.6 < whole.mean() < 0.85
