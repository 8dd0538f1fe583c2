"""Matches between players that do as they are told, in the toy game: more stones win, white wins ties, six moves at most."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from toy_rules import ACTIONS, PASS, Rules

from jax_mlperf.search.types import Found
from jax_mlperf.selfplay.match import Choices, play_match, random_player, searching_player

RULES, PAIRS, MOVES = Rules(), 3, 6
# [moves, pairs]: what a player does in the game's move number i, whatever its colour.
PASSES = np.full((MOVES, PAIRS), PASS, np.int32)
PLACES = np.repeat(np.arange(MOVES, dtype=np.int32)[:, None], PAIRS, axis=1)
NEVER = np.zeros((MOVES, PAIRS), bool)


def scripted(script, positions, key):
    game = jnp.arange(len(positions.moves))
    actions, resigns = (jnp.asarray(table)[positions.moves, game] for table in script)
    return Choices(actions, resigns)


@jax.jit
def play(first, second):
    return play_match(RULES, functools.partial(scripted, first), functools.partial(scripted, second), PAIRS, jax.random.key(0))


def won(first, second, first_resigns=NEVER, second_resigns=NEVER):
    return np.asarray(play((first, first_resigns), (second, second_resigns))).tolist()


def resigns_in(*moves_of_games):
    """Resigns in these moves: one for each pair, -1 for none."""
    return np.arange(MOVES)[:, None] == np.array(moves_of_games)


def test_either_player_has_either_colour():
    assert won(PLACES, PASSES) == [[1] * PAIRS] * 2, "three stones against none, as black and as white"
    assert won(PASSES, PLACES) == [[0] * PAIRS] * 2
    assert won(PASSES, PASSES) == won(PLACES, PLACES) == [[0] * PAIRS, [1] * PAIRS], "ties are white's"


def test_games_of_a_match_are_games_of_their_own():
    mixed = np.where([True, False, True], PLACES, PASSES)
    assert won(mixed, PASSES) == [[1, 0, 1], [1, 1, 1]]


def test_who_resigns_loses():
    """The first player ahead: as black it moves in 0, 2, 4, as white in 1, 3, 5."""
    assert won(PLACES, PASSES, first_resigns=resigns_in(-1, 2, 3)) == [[1, 0, 1], [1, 1, 0]]
    assert won(PASSES, PLACES, second_resigns=resigns_in(5, 0, -1)) == [[1, 0, 0], [0, 1, 0]]


def test_after_the_end_nobody_resigns():
    late = np.arange(MOVES)[:, None] >= [2, 2, 2]
    assert won(PASSES, PASSES, late, late) == [[0] * PAIRS, [1] * PAIRS]
    assert won(PLACES, PASSES, resigns_in(2, 2, 2), resigns_in(3, 3, 3))[0] == [0] * PAIRS, "the first resignation counts"


def test_random_players_draw_legal_moves_alike():
    rows = 4000
    start = RULES.start()
    boards = np.zeros((rows, 9), np.int8)
    boards[:, [0, 4, 5]] = 1, -1, 1
    positions = start._replace(board=boards, moves=np.full(rows, 3, np.int16), passes=np.zeros(rows, np.int8))
    choice = jax.device_get(jax.jit(random_player(RULES))(positions, jax.random.key(1)))
    counts = np.bincount(choice.action, minlength=ACTIONS)
    assert np.flatnonzero(counts).tolist() == [1, 2, 3, 6, 7, 8, PASS] and not choice.resigns.any()
    np.testing.assert_allclose(counts[counts > 0], rows / 7, atol=4 * (rows / 7 * 6 / 7) ** 0.5)


def test_searching_players_play_the_searchs_action_and_resign_below_the_threshold():
    class Agent:
        def search(self, variables, positions, key, readouts):  # no noise
            assert (variables, positions, key, readouts) == ("weights", "positions", "key", 7)
            return Found(None, None, np.float32([-0.91, -0.89, 0.91]), np.int32([3, 2, 1]))

    choice = searching_player(Agent(), "weights", 7, -0.9)("positions", "key")
    assert choice.action.tolist() == [3, 2, 1] and choice.resigns.tolist() == [True, False, False]
