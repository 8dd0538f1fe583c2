"""Games of self-play with a search that answers what the test wants, under rules that compile in no time."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from toy_rules import ACTIONS, PASS, Rules

from jax_mlperf.search.types import DirichletNoise, Found
from jax_mlperf.selfplay.agent import SearchSettings
from jax_mlperf.selfplay.games import PlaySettings, new_games, play_move

RULES = Rules()
GAMES = 2000
NOISE = DirichletNoise(0.1, 0.25)
SETTINGS = PlaySettings(readouts=20, noise=NOISE, sampled_moves=3, pass_is_sampled=True, target_moves=2, target_exponent=0.5,
                        resign_threshold=-0.9, resign_disabled=0.25, holdout=0.1)


class Answering:
    """An agent whose search finds what is handed to it as the network's variables."""

    rules = RULES

    def __init__(self, kind="puct"):
        self.settings = SearchSettings(kind, "v0.5", 4)

    def search(self, variables, positions, key, readouts, *, noise=None):
        assert (readouts, noise) == (SETTINGS.readouts, NOISE)
        return variables


AGENT = Answering()


@functools.partial(jax.jit, static_argnums=(0, 1))
def moved(agent, settings, games, number, found):
    return play_move(agent, settings, found, games, number, jax.random.fold_in(jax.random.key(5, impl="unsafe_rbg"), number))


def found(visits, *, value=0.0, action=None):
    """What the search says in all games: visits [A] or [G, A]."""
    visits = np.broadcast_to(np.asarray(visits, np.int32), (GAMES, ACTIONS))
    best = np.argmax(visits, axis=1) if action is None else np.full(GAMES, action)
    return Found(visits, (visits / visits.sum(axis=1, keepdims=True)).astype(np.float32),
                 np.broadcast_to(np.float32(value), GAMES), best.astype(np.int32))


def only(*actions):
    """All visits on one action: [A], or one for each game."""
    return 20 * np.eye(ACTIONS, dtype=np.int32)[list(actions)].squeeze()


@pytest.fixture(scope="module")
def fresh():
    return jax.device_get(jax.jit(functools.partial(new_games, RULES, SETTINGS, GAMES))(jax.random.key(0, impl="unsafe_rbg")))


def played(games, *answers, agent=AGENT, settings=SETTINGS, first=0):
    """The games after these answers, and what was recorded of each move."""
    records = []
    for number, answer in enumerate(answers, first):
        games, recorded = moved(agent, settings, games, np.int32(number), answer)
        records.append(recorded)
    return jax.device_get(games), jax.device_get(records)


def test_lots_are_drawn_in_the_shares_of_the_settings(fresh):
    """Within four standard errors."""
    assert np.mean(fresh.may_resign) == pytest.approx(0.75, abs=0.039)
    assert np.mean(fresh.held_out) == pytest.approx(0.1, abs=0.027)
    assert np.mean(fresh.held_out & fresh.may_resign) == pytest.approx(0.075, abs=0.024), "independent lots"
    assert not fresh.ended.any() and not fresh.winner.any() and (fresh.actions == -1).all() and not fresh.position.moves.any()


def test_early_moves_are_drawn_in_proportion_to_visits_and_later_ones_are_the_searchs(fresh):
    visits = np.zeros(ACTIONS, int)
    visits[[0, 4, PASS]] = 3, 12, 5
    drawn = {}
    for number in (0, 2, 3):
        games, _ = played(fresh, found(visits, action=8), first=number)
        drawn[number] = games.actions[:, number]
    for number in (0, 2):
        counts = np.bincount(drawn[number], minlength=ACTIONS)
        assert np.nonzero(counts)[0].tolist() == [0, 4, PASS]
        np.testing.assert_allclose(counts[[0, 4, PASS]] / GAMES, [0.15, 0.6, 0.25], atol=0.044)  # four standard errors
    assert (drawn[0] != drawn[2]).any() and (drawn[3] == 8).all()


@pytest.mark.parametrize("visits, drawn", [({0: 4, 4: 16, PASS: 500}, {0: 1 / 3, 4: 2 / 3}), ({PASS: 20}, {PASS: 1})])
def test_draws_of_v06_are_by_flattened_visits_without_the_pass(fresh, visits, drawn):
    """`policy_softmax_temp` in minigo's cc/mcts_player.cc."""
    row = np.zeros(ACTIONS, int)
    row[list(visits)] = list(visits.values())
    games, _ = played(fresh, found(row), settings=dataclasses.replace(SETTINGS, pass_is_sampled=False))
    actions, counts = np.unique(games.actions[:, 0], return_counts=True)
    assert actions.tolist() == list(drawn)
    np.testing.assert_allclose(counts / GAMES, list(drawn.values()), atol=0.044)


def test_the_policy_to_learn_is_flattened_in_the_first_moves(fresh):
    row = np.zeros(ACTIONS, int)
    row[[1, 5]] = 4, 16
    _, records = played(fresh, found(row), found(row), found(row))
    for record, expected in zip(records, ([1 / 3, 2 / 3], [1 / 3, 2 / 3], [0.2, 0.8]), strict=True):
        np.testing.assert_allclose(record.policy[:, [1, 5]], [expected] * GAMES, atol=5e-4)  # float16
        np.testing.assert_allclose(record.policy.sum(axis=1, dtype=np.float32), 1, atol=1e-3)


def test_gumbel_search_says_what_to_play_and_what_to_learn(fresh):
    games, (record,) = played(fresh, found(only(4), action=8)._replace(policy=np.full((GAMES, ACTIONS), 0.1, np.float32)),
                              agent=Answering("gumbel"))
    assert (games.actions[:, 0] == 8).all()
    np.testing.assert_allclose(record.policy, 0.1, atol=1e-4)


def test_boards_are_recorded_before_the_move(fresh):
    games, records = played(fresh, found(only(4)), found(only(2)))
    assert not records[0].board.any()
    np.testing.assert_array_equal(records[1].board, np.broadcast_to(np.arange(9) == 4, (GAMES, 9)))
    np.testing.assert_array_equal(games.position.board[0], [0, 0, -1, 0, 1, 0, 0, 0, 0])


def test_two_passes_and_the_limit_of_moves_end_games_by_their_score(fresh):
    """Game 0: a black stone, two passes. 1 and all others: two passes. 2: six moves, and white has more stones."""
    scripts = np.full((6, GAMES), PASS)
    scripts[:, 0] = 0, PASS, PASS, 1, 1, 1
    scripts[:, 2] = PASS, 4, 0, 1, PASS, 3
    games, _ = played(fresh, *[found(only(*row)) for row in scripts])
    assert games.ended.all() and games.winner[:4].tolist() == [1, -1, -1, -1]
    assert games.position.moves[:4].tolist() == [3, 2, 6, 2]
    assert games.actions[:3].tolist() == [[0, PASS, PASS, -1, -1, -1], [PASS, PASS, *[-1] * 4], scripts[:, 2].tolist()]
    assert games.position.board[0].tolist() == [1] + [0] * 8
    assert not games.resigned.any() and not games.would_resign.any()


def test_a_hopeless_side_resigns_where_it_may(fresh):
    """White's value is -0.91 at move 1; black's is -0.95 at move 2, too."""
    fresh = fresh._replace(may_resign=np.arange(GAMES) % 2 == 0)
    games, _ = played(fresh, found(only(4), value=-0.89), found(only(0), value=-0.91), found(only(8), value=-0.95))
    resigned, goes_on = (jax.tree.map(lambda leaf, start=start: leaf[start::2], games) for start in (0, 1))
    assert resigned.ended.all() and resigned.resigned.all() and (resigned.winner == 1).all(), "white gave up"
    assert (resigned.position.moves == 1).all() and (resigned.actions[:, :2] == [4, -1]).all(), "that position is not played"
    assert not goes_on.ended.any() and not goes_on.resigned.any() and (goes_on.position.moves == 3).all()
    assert (games.would_resign == -1).all(), "the first that would have"


def test_black_may_resign_too(fresh):
    value = np.where(np.arange(GAMES) < 2, -0.95, 0.95)
    games, _ = played(fresh._replace(may_resign=np.ones(GAMES, bool)), found(only(4), value=value))
    assert games.winner[:3].tolist() == [-1, -1, 0] and games.position.moves[:3].tolist() == [0, 0, 1]
    assert games.would_resign[:3].tolist() == [1, 1, 0]


def test_ended_games_stand_still_whatever_their_search_says(fresh):
    ended, _ = played(fresh, found(only(PASS)), found(only(PASS)))
    assert ended.ended.all()
    bad = Found(np.zeros((GAMES, ACTIONS), np.int32), np.full((GAMES, ACTIONS), np.nan, np.float32),
                np.full(GAMES, -1, np.float32), np.full(GAMES, 4, np.int32))
    still, _ = played(ended._replace(may_resign=np.ones(GAMES, bool)), bad, first=2)
    jax.tree.map(np.testing.assert_array_equal, still._replace(may_resign=ended.may_resign), ended)
