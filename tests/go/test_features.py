"""Input planes against the referee and the spec, from positions and from stored boards."""

import functools

import jax
import numpy as np
import pytest
from go_games import FIVE, NINE, follow, play, professional_games

from jax_mlperf.errors import UserError
from jax_mlperf.go.features import ko_point, plane_count, planes


@jax.jit
@jax.vmap
@jax.vmap
def seen(position):
    """The planes of all positions [T, B] of games on 9x9, of both kinds."""
    return {kind: planes(kind, position.history, position.board, position.ko, position.moves % 2 == 0, 9) for kind in ("agz", "mlperf07")}


@functools.cache
def random_games():
    games = play(NINE)
    return games, jax.device_get(seen(games.position))


def expected_mlperf07(referee, boards, size):
    """The 13 planes by their definition; `boards` are the newest four, each the referee's stones by colour."""
    every = np.zeros((size, size, 13), bool)
    for age, stones in enumerate(boards):
        for plane, colour in ((2 * age, referee.turn), (2 * age + 1, -referee.turn)):
            for point in stones[colour]:
                every[(*point, plane)] = True
    every[..., 8] = referee.turn == 1
    for point in referee.all_points():
        if not referee.empty(point):
            every[(*point, 8 + min(3, len(referee.liberties(point))))] = True
        elif referee.is_legal(point) and referee.captures(point, referee.turn):
            every[(*point, 12)] = True
    return every


@pytest.mark.parametrize("game", [0, 5])
def test_liberties_and_captures_are_the_referees(game):
    games, found = random_games()
    found = found["mlperf07"][:, game]
    boards = [{1: set(), -1: set()}] * 4
    for move, referee in enumerate(follow(NINE, games.action[:, game])):
        boards = [{colour: set(stones) for colour, stones in referee.stones.items()}, *boards[:3]]
        np.testing.assert_array_equal(found[move], expected_mlperf07(referee, boards, 9))
    assert found[..., 9:].any(axis=(0, 1, 2)).all()  # all of the last four occur


def test_stone_planes_are_the_boards_before():
    games, found = random_games()
    stones = np.sign(games.position.board).reshape(*games.action.shape, 9, 9)
    stones = np.concatenate([np.zeros((8, *stones.shape[1:]), np.int8), stones])
    for move in range(len(games.action)):
        own = 1 if move % 2 else -1  # after the first move white is to play
        newest = np.moveaxis(stones[move + 1:move + 9][::-1], 0, -1)
        np.testing.assert_array_equal(found["agz"][move, ..., :16:2], newest == own)
        np.testing.assert_array_equal(found["agz"][move, ..., 1:16:2], newest == -own)
        np.testing.assert_array_equal(found["agz"][move, ..., 16], np.full((6, 9, 9), own == 1))


def test_planes_of_the_spec():
    """Section 13: after black's 40 only plane 1 has a bit; the empty board has the plane of black to move."""
    games, found = random_games()
    for move, game, actions, sums in ((1, 1, (81, 81), {16: 81}), (0, 2, (40,), {1: 1})):
        assert tuple(games.action[:move + 1, game]) == actions
        bits = found["agz"][move, game].sum(axis=(0, 1))
        assert {plane: count for plane, count in enumerate(bits) if count} == sums


def test_planes_of_the_professional_positions(shared_data):
    """Section 13: 35,607 bits in pgx's planes, whose last one is the other way round: all of it for each white move."""
    actions = professional_games(shared_data)
    found = np.asarray(seen(play(NINE, forced=actions).position)["agz"])
    total = 0
    for game, moves in enumerate(actions):
        total += found[:len(moves) - 1, game, ..., :16].sum() + 81 * (len(moves) // 2)
    assert total == 35_607


@pytest.mark.parametrize("rules", [NINE, pytest.param(FIVE, marks=pytest.mark.slow)])
def test_ko_is_known_from_two_stored_boards(rules):
    position = play(rules).position
    history = np.sign(position.board)
    history = np.stack([history, np.concatenate([np.zeros_like(history[:1]), history[:-1]])], axis=2)
    found = jax.jit(jax.vmap(jax.vmap(lambda boards: ko_point(boards, rules.size))))(history)
    np.testing.assert_array_equal(found, position.ko)


def test_counts_and_unknown_kinds():
    assert (plane_count("agz", 8), plane_count("agz", 2), plane_count("mlperf07", 8)) == (17, 5, 13)
    with pytest.raises(UserError, match="input planes 'stones': must be one of agz, mlperf07"):
        plane_count("stones", 8)
