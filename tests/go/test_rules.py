"""The rules of Go against a referee of our own and against pgx, at every position of random and professional games."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from go_games import CYCLE, FIVE, HAND_MADE, KO, NINE, areas, cycle, follow, play, professional_games

from jax_mlperf.errors import UserError
from jax_mlperf.go.moves import chain_maxima, chain_maxima_by_pairs
from jax_mlperf.go.rules import Rules


def compare(rules, games, game, moves=None):
    """Everything that the rules say after each move of one game."""
    found = jax.tree.map(lambda leaf: leaf[:moves, game], games)
    position, points = found.position, [divmod(point, rules.size) for point in range(rules.points)]
    facts = []
    for referee in follow(rules, found.action):
        board = [1 if point in referee.stones[1] else -1 if point in referee.stones[-1] else 0 for point in points]
        ko = -1 if referee.ko is None else points.index(referee.ko)
        facts.append((board, [*map(referee.is_legal, points), True], (referee.captured[1], referee.captured[-1]),
                      referee.areas(), ko, referee.passes, referee.turn, rules.superko and referee.repeated))
    boards, legal, captured, area, ko, passes, turn, repeated = (np.array(fact) for fact in zip(*facts, strict=True))
    moves = np.arange(1, len(turn) + 1)
    before = np.concatenate([np.zeros((rules.history - 1, rules.points), int), boards])
    for age in range(rules.history):
        np.testing.assert_array_equal(position.history[:, age], before[rules.history - 1 - age:][:len(turn)])
    ended = (passes >= 2) | repeated | (moves >= rules.max_moves)
    for ours, referees in ((np.sign(position.board), boards), (found.legal, legal), (position.captured, captured),
                           (position.ko, ko), (position.passes, passes), (position.moves, moves),
                           (position.repeated, repeated), (found.ended, ended)):
        np.testing.assert_array_equal(ours, referees)
    score = area[:, 0] - area[:, 1] - rules.komi
    if games.score is None:
        np.testing.assert_array_equal(areas(position.history[:, 0], rules.size), area)
    else:
        winner = np.where(repeated, turn, np.where(score > 0, 1, -1))
        np.testing.assert_array_equal(found.score, score)
        np.testing.assert_array_equal(found.outcome, np.where(ended, winner * turn, 0))


@pytest.mark.parametrize("game", range(6))
def test_random_games_on_9x9(game):
    compare(NINE, play(NINE), game)


@pytest.mark.parametrize("game", range(6))
def test_random_games_on_5x5_with_superko(game):
    compare(FIVE, play(FIVE), game)


@pytest.mark.slow
@pytest.mark.parametrize("rules", [NINE, dataclasses.replace(FIVE, max_moves=200), Rules(size=2, max_moves=200, superko=True)])
def test_many_random_games(rules):
    games = play(rules, 12, 200, seed=1, counted=True)
    for game in range(12):
        compare(rules, games, game)


@pytest.mark.slow
def test_random_games_on_19x19():
    rules = Rules(size=19, max_moves=722)
    compare(rules, play(rules, 2, 600), 1, 400)


@pytest.mark.slow
@pytest.mark.parametrize("rules", [dataclasses.replace(NINE, superko=True), FIVE])
def test_games_are_pgxs(rules, shared_data):
    """Legal moves, stones, ends, winners: of each game as far as pgx plays it, which is to its end."""
    from pgx.go import Go

    forced = (*professional_games(shared_data), *HAND_MADE[NINE]) if rules.size == 9 else HAND_MADE[rules]
    games = play(rules, 24, rules.max_moves, seed=2, forced=forced, counted=True, passes=0.2)
    environment = Go(size=rules.size, komi=rules.komi, history_length=rules.history, max_terminal_steps=rules.max_moves)

    def move(state, action):
        after = environment.step(state, action)
        return after, (after.legal_action_mask, after.observation, after.terminated, after.rewards[state.current_player])

    start = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (24, *leaf.shape)), environment.init(jax.random.key(0)))
    replayed = jax.jit(lambda start, actions: jax.lax.scan(jax.vmap(move), start, actions)[1])(start, games.action)
    legal, seen, ended, reward = jax.device_get(replayed)
    going = np.cumsum(games.ended, axis=0) - games.ended == 0
    np.testing.assert_array_equal(ended[going], games.ended[going])
    np.testing.assert_array_equal(reward[going], -games.outcome[going])  # of who has moved, not of who is to move
    own = np.where(games.position.moves % 2 == 0, 1, -1)[..., None, None]
    stones = np.stack([games.position.history == own, games.position.history == -own], axis=3)
    stones = np.moveaxis(stones.reshape(*own.shape[:2], 2 * rules.history, rules.size, rules.size), 2, -1)
    np.testing.assert_array_equal(seen[going][..., :-1], stones[going])
    going &= ~games.ended  # pgx's mask is all True then
    np.testing.assert_array_equal(legal[going], games.legal[going])
    # What all this was for: games that reach their last move, and repetitions, the one made by hand among them.
    lost = np.sum(games.position.repeated & games.ended & (np.cumsum(games.ended, axis=0) == 1))
    assert np.sum(going[-2]) >= 4 and lost >= (1 if rules.size == 9 else 3)


def test_random_games_have_what_the_comparison_is_for():
    """Kos, captures by both, passes in a row, repetitions: none of it may be absent from the games compared above."""
    nine, five = play(NINE), play(FIVE)
    for games in (nine, five):
        assert np.sum(games.position.ko >= 0) >= 10 and np.all(games.position.captured[-1].sum(axis=0) > 50)
        assert np.any(games.position.passes >= 2)
    assert np.sum(five.position.repeated) >= 3 and np.all(five.ended[-1]) and np.all(np.any(five.outcome == [[[1]], [[-1]]], axis=(1, 2)))


@pytest.fixture(scope="module")
def professional(shared_data):
    actions = professional_games(shared_data)
    return actions, play(NINE, forced=actions)


def test_professional_games(professional):
    """Every recorded move is legal, and every position as the referee has it."""
    actions, games = professional
    assert [len(game) for game in actions] == [42, 62, 47, 30]
    for index, game in enumerate(actions):
        assert tuple(games.action[:len(game), index]) == game
        assert not np.any(games.ended[:len(game), index])
        compare(NINE, games, index, len(game))


def test_professional_games_of_the_spec(professional):
    """Sums, final areas, captures and numbers of legal actions, from spec section 13."""
    actions, games = professional
    assert [sum(game) for game in actions] == [1974, 2842, 1897, 1281]
    last = np.array([len(game) - 1 for game in actions]), np.arange(4)
    np.testing.assert_array_equal(areas(games.position.history[last][:, 0], 9), [[48, 20], [46, 34], [46, 33], [14, 16]])
    np.testing.assert_array_equal(games.position.captured[last], [[1, 0], [3, 2], [5, 0], [0, 1]])
    legal = np.concatenate([[82, *games.legal[:len(game) - 1, index].sum(axis=-1)] for index, game in enumerate(actions)])
    assert len(legal) == 181 and legal.sum() == 10_686
    np.testing.assert_allclose(np.mean(1 / legal), 0.018350775, rtol=1e-7)
    # One position has a ko that is on.
    assert sum(np.sum(games.position.ko[:len(game) - 1, index] >= 0) for index, game in enumerate(actions)) == 1


def after(rules, actions, moves=None):
    """What the rules say after so many moves of one of the games made by hand, all of which must be legal."""
    game = HAND_MADE[rules].index(actions)
    games = play(rules)
    assert tuple(games.action[:len(actions), game]) == actions
    return jax.tree.map(lambda leaf: leaf[(moves or len(actions)) - 1, game], games)


def test_ko_of_the_spec():
    retaken = (*KO, 70, 71, 11)
    found = after(NINE, retaken, len(KO))
    assert found.position.ko == 11 and not found.legal[11]
    assert tuple(found.position.captured) == (0, 1)
    # Over there and back here: the ko may be retaken.
    assert after(NINE, retaken).position.captured[0] == 1


def test_scores_by_hand():
    """The spec has -7.5 and 73.5 on 9x9, with its komi."""
    empty = after(FIVE, (25, 25))
    assert (empty.ended, empty.score, empty.outcome) == (True, -0.5, -1)  # black to move, white has won
    centre = after(FIVE, (12, 25, 25))
    assert (centre.ended, centre.score, centre.outcome) == (True, 24.5, -1)  # white to move, black has won
    nine = [after(NINE, actions) for actions in ((81, 81), (40, 81, 81))]
    np.testing.assert_array_equal(areas([games.position.history[0] for games in nine], 9), [[0, 0], [81, 0]])
    assert all(games.ended for games in nine) and NINE.komi == 7.5


def test_who_repeats_a_board_loses():
    actions = cycle(FIVE)
    before, repeated = after(FIVE, actions, len(CYCLE) - 1), after(FIVE, actions)
    assert (before.position.repeated, before.ended, before.outcome) == (False, False, 0)
    assert before.legal[actions[-1]]
    # Black has: to white, who is to move, that is a win, whatever the score.
    assert (repeated.position.repeated, repeated.ended, repeated.outcome) == (True, True, 1)
    np.testing.assert_array_equal(repeated.position.history[0], after(FIVE, actions, len(CYCLE) - 5).position.history[0])


def test_without_superko_repetition_is_nothing():
    repeated = after(NINE, cycle(NINE))
    assert not repeated.position.repeated and not repeated.ended
    np.testing.assert_array_equal(repeated.position.history[0], repeated.position.history[5])


def test_side_to_move_and_passes():
    """What the search asks of single positions, and the turn that is skipped: no pass, no new board, no ko."""
    taken, passed = after(NINE, (*KO, 70, 71, 11), len(KO)).position, after(NINE, (81, 81), 1).position

    @jax.jit
    def asked(position):
        skipped = NINE.skip_turn(position)
        return skipped, NINE.to_play(position), NINE.to_play(skipped), NINE.passed(position), NINE.passed(skipped)

    skipped, *facts = asked(taken)
    assert facts == [1, -1, False, False] and asked(passed)[1:4] == (-1, 1, True)
    assert (skipped.ko, skipped.moves) == (-1, taken.moves + 1)
    jax.tree.map(np.testing.assert_array_equal, skipped, taken._replace(ko=skipped.ko, moves=skipped.moves))


def test_both_forms_of_chain_maxima():
    """CPUs have one and accelerators the other."""
    boards = play(NINE).position.board[:, 0]
    values = np.random.default_rng(0).integers(100, size=(2, *boards.shape))
    forms = jax.jit(jax.vmap(lambda *given: (chain_maxima(*given), chain_maxima_by_pairs(*given))))(boards, *values)
    for scattered, paired in zip(*forms, strict=True):
        np.testing.assert_array_equal(np.where(boards, scattered, 0), np.where(boards, paired, 0))
    assert np.any(np.where(boards, forms[0][0] > values[0], False))


def test_positions_are_small():
    def start(size):
        return jax.eval_shape(Rules(size=size).start)

    assert sum(leaf.size * leaf.dtype.itemsize for leaf in start(9)) < 800
    assert start(11).board.dtype == jnp.int8 and start(12).board.dtype == jnp.int16


@pytest.mark.parametrize("size", [1, 20])
def test_sizes_that_are_none(size):
    with pytest.raises(UserError, match=f"board size {size}: must be from 2 to 19"):
        Rules(size=size)
