import jax
import jax.numpy as jnp
import mctx
import numpy as np
import pytest
from toy_game import Placing, Table, batch

from jax_mlperf.search import gumbel, gumbel_search
from jax_mlperf.search.tree import NONE

GAME = Placing(points=7, max_moves=0, endless=True)
TABLE = Table(GAME)


def states():
    """The beginning with all eight actions legal; fewer; after a pass; only three; a long game."""
    return batch(*(GAME.after(moves) for moves in ((), (0, 1, 2), (7,), (0, 6, 1, 5, 2, 4, 3, 7, 4, 7, 5, 7), (3, 0, 2, 7, 1))))


@pytest.mark.slow
def test_sequential_halving():
    """16 readouts over 8 actions: eight get one visit, the best four a second, the best two a third and a fourth (spec 13).

    The last row is a game that has ended.
    """
    game = Placing(points=7, max_moves=100)
    positions = jax.tree.map(lambda *leaves: np.concatenate(leaves), states(), batch(game.after((7, 7))))
    @jax.jit
    def search(states, seed, scale):
        found = gumbel_search(game, states, TABLE, jax.random.key(seed), readouts=16, considered_actions=8, gumbel_scale=scale)
        return found, jax.vmap(game.legal)(states)

    (found, legal), (again, _), (still, _), (silent, _) = (
        jax.device_get(search(positions, *arguments)) for arguments in ((0, 1.0), (1, 1.0), (0, 0.0), (1, 0.0)))
    assert sorted(found.visits[0].tolist()) == [1, 1, 1, 1, 2, 2, 4, 4]
    assert found.visits.sum(1).tolist() == [16] * 5 + [0] and found.value[-1] == -1 and not found.visits[~legal].any() and not found.policy[~legal].any()
    assert (np.take_along_axis(found.visits, found.action[:, None], 1)[:, 0] == found.visits.max(1)).all()
    np.testing.assert_allclose(found.policy.sum(1), 1, rtol=1e-6)
    assert (found.visits != again.visits).any()
    jax.tree.map(np.testing.assert_array_equal, still, silent)  # without the noise the key is of no consequence


@pytest.fixture(scope="module")
def compared():
    """Our search and mctx's of the same positions with the same noise: what was found, and the trees."""
    key, trees = jax.random.key(2), []

    def masked(logits, legal):
        return jnp.where(legal, logits - jnp.max(logits, -1, keepdims=True), jnp.finfo(jnp.float32).min)

    def recurrent(params, key, action, state):
        state = jax.vmap(GAME.play)(state, action)
        logits, value = TABLE(state, key)
        return mctx.RecurrentFnOutput(reward=jnp.zeros_like(value), discount=-jnp.ones_like(value), value=value,
                                      prior_logits=masked(logits, jax.vmap(GAME.legal)(state))), state

    def captured(*args):
        trees.append(search(*args))
        return trees[0]

    search = gumbel.search
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gumbel, "search", captured)
        ours = jax.jit(lambda: (gumbel_search(GAME, states(), TABLE, key, readouts=100, considered_actions=6), trees[0]))()

    @jax.jit
    def by_mctx(states):
        root, invalid = TABLE(states, key), ~jax.vmap(GAME.legal)(states)
        return mctx.gumbel_muzero_policy(
            None, key, mctx.RootFnOutput(prior_logits=root.logits, value=root.value, embedding=states), recurrent, 100,
            invalid_actions=invalid, max_num_considered_actions=6)

    return jax.device_get((*ours, by_mctx(states())))


@pytest.mark.slow
def test_finds_what_mctx_finds(compared):
    found, _, theirs = compared
    np.testing.assert_array_equal(found.action, theirs.action)
    np.testing.assert_allclose(found.policy, theirs.action_weights, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
def test_the_tree_is_mctx_s_bit_for_bit(compared):
    found, ours, theirs = compared
    theirs = theirs.search_tree
    np.testing.assert_array_equal(found.visits, theirs.children_visits[:, 0])
    np.testing.assert_array_equal(ours.children, theirs.children_index)
    np.testing.assert_array_equal(ours.visits, theirs.node_visits)
    np.testing.assert_array_equal(ours.values, theirs.node_values)
    np.testing.assert_array_equal(ours.raw_values, theirs.raw_values)
    jax.tree.map(np.testing.assert_array_equal, ours.states, theirs.embeddings)
    depth = np.zeros(theirs.parents.shape, int)
    for node in range(1, depth.shape[1]):
        depth[:, node] = np.take_along_axis(depth, theirs.parents[:, node, None], 1)[:, 0] + 1
    assert depth.max() > 2 * 8 and (ours.children != NONE).sum() == 5 * 100  # paths of several blocks, and no simulation lost
