import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.go.rules import Rules
from jax_mlperf.search import Evaluation, puct_search

GAME = Rules(size=3, komi=0.5, max_moves=9)


def random_position(key):
    """After eight random moves: the next one is the last."""
    def step(state, key):
        action = jax.random.categorical(key, jnp.where(GAME.legal(state) & (jnp.arange(10) < 9), 0.0, -1e9))
        return GAME.play(state, action), None

    return jax.lax.scan(step, GAME.start(), jax.random.split(key, 8))[0]


@pytest.mark.slow
def test_finds_the_last_move_that_wins():
    """Black's last move in 3x3 games: every action is tried, and one that wins is the most visited wherever there is one."""
    def even(states, key):
        batch = states.moves.shape[0]
        return Evaluation(jnp.zeros((batch, GAME.actions)), jnp.zeros(batch))

    @jax.jit
    def search(keys):
        states = jax.vmap(random_position)(keys)
        after = jax.vmap(lambda state: jax.vmap(lambda action: GAME.play(state, action))(jnp.arange(10)))(states)
        found = puct_search(GAME, states, even, jax.random.key(0), readouts=60, version="v0.5")
        return found, jax.vmap(GAME.legal)(states), jax.vmap(jax.vmap(GAME.score))(after) > 0

    found, legal, wins = jax.device_get(search(jax.random.split(jax.random.key(1), 32)))
    wins = wins & legal
    assert ((found.visits > 0) == legal).all()
    possible = wins.any(1)
    assert 0.2 < possible.mean() < 0.95 and (wins[possible].sum(1) < legal[possible].sum(1)).any()
    np.testing.assert_array_equal(wins[np.arange(32), found.action], possible)
    np.testing.assert_allclose(found.value[~possible], -60 / 61, atol=1e-6)  # 60 losses and the root's even value
