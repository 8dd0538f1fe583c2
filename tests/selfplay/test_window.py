"""The replay window against games that a referee in plain Python follows: what is kept, what is drawn, what it looks like."""

import functools
from typing import NamedTuple

import jax
import numpy as np
import pytest
from go_referee import BLACK, WHITE, Referee

from jax_mlperf.go.rules import Rules
from jax_mlperf.selfplay.games import Games, Recorded
from jax_mlperf.selfplay.window import SampleSettings, drawn, empty_window, positions_to_learn, record

SIZE, MOVES, GAMES, WINDOW, ITERATIONS = 4, 12, 4, 3, 4
RULES = Rules(size=SIZE, komi=0.5, max_moves=MOVES)
PASS = RULES.pass_action
# White's last move takes a stone that must not be retaken at once; black goes elsewhere, white fills the ko.
KO = [(0, 1), (0, 2), (1, 0), (1, 3), (2, 1), (2, 2), (1, 2), (1, 1), (3, 3), (1, 2)]
NEWEST = (ITERATIONS - 1) % WINDOW


class Row(NamedTuple):
    """A position to learn from: all boards up to it, newest first, and what belongs to it."""

    boards: list
    turn: int
    liberties: np.ndarray
    captures: np.ndarray
    policy: np.ndarray
    winner: int


def board_of(referee):
    """Chain ids: the first point of each stone's chain + 1, negative for white."""
    ids = np.zeros(SIZE * SIZE, np.int8)
    for colour, stones in referee.stones.items():
        for row, column in stones:
            chain, _ = referee.spread((row, column), stones)
            ids[row * SIZE + column] = colour * (1 + min(r * SIZE + c for r, c in chain))
    return ids


def liberties_of(referee):
    counts = np.zeros((SIZE, SIZE), int)
    for point in referee.stones[BLACK] | referee.stones[WHITE]:
        counts[point] = len(referee.liberties(point))
    return counts


def captures_of(referee):
    points = np.zeros((SIZE, SIZE), bool)
    for point in referee.all_points():
        points[point] = referee.is_legal(point) and bool(referee.captures(point, referee.turn))
    return points


def random_game(rng, length, opening=()):
    """Positions before each of `length` random legal moves."""
    referee, states = Referee(SIZE), []
    for number in range(length):
        states.append((board_of(referee), referee.turn, liberties_of(referee), captures_of(referee)))
        legal = [point for point in referee.all_points() if referee.is_legal(point)]
        referee.play(opening[number] if number < len(opening) else legal[rng.integers(len(legal))] if legal else None)
    return states


class Played(NamedTuple):
    moves: np.ndarray


@pytest.fixture(scope="module")
def kept():
    """The window after four iterations of which three fit, and its positions by number, newest game first."""
    rng = np.random.default_rng(0)
    save = jax.jit(record)
    window, rows, number = empty_window(RULES, GAMES, WINDOW), {}, 0
    for iteration in range(ITERATIONS):
        lengths = rng.integers(4, MOVES + 1, GAMES)
        lengths[1] = MOVES
        ended, held_out = np.full(GAMES, True), np.full(GAMES, False)
        if iteration == ITERATIONS - 1:
            lengths[3], ended[2], held_out[0] = 0, False, True
            lengths[2] = MOVES  # the game that does not end
        games = [random_game(rng, length, KO if game == 1 else ()) for game, length in enumerate(lengths)]
        winners = np.where(rng.random(GAMES) < 0.5, 1, -1) * ended
        policies = rng.random((GAMES, MOVES, RULES.actions)).astype(np.float16)
        boards = rng.integers(-16, 17, (GAMES, MOVES, SIZE * SIZE)).astype(np.int8)  # behind the ends: anything
        for game, states in enumerate(games):
            policies[game, len(states):] = np.nan
            for move, (board, turn, liberties, captures) in enumerate(states):
                boards[game, move] = board
                policies[game, move, PASS] = number  # told by its pass, which no symmetry moves
                if ended[game] and not held_out[game] and iteration >= ITERATIONS - WINDOW:
                    history = [np.sign(earlier).reshape(SIZE, SIZE) for earlier, *_ in states[move::-1]]
                    rows[number] = Row(history, turn, liberties, captures, policies[game, move], winners[game])
                number += 1
        for move in range(MOVES):
            over = ended & (move + 1 >= lengths)
            now = Games(Played(np.minimum(move + 1, lengths).astype(np.int16)), None, over,
                        np.where(over, winners, 0).astype(np.int8), None, None, held_out, None)
            window = save(window, np.int32(iteration % WINDOW), np.int32(move), Recorded(boards[:, move], policies[:, move]), now)
    return window, rows


BATCH = 32


@functools.partial(jax.jit, static_argnums=(3, 4, 5, 6))
def _draw(window, first, key, share, positions, symmetries, planes):
    settings = SampleSettings(positions, share, symmetries, planes)
    return drawn(window, NEWEST, first, BATCH, key, settings, RULES), positions_to_learn(window, NEWEST, settings)


def draw(window, count, share=1.0, positions=0, symmetries=False, planes="agz", seed=0, impl="rbg"):
    """The first `count` examples and (how many positions an iteration learns from, of how many).

    rbg: the generator whose numbers for a batch of keys are not those of the keys one by one.
    """
    parts = []
    for first in range(0, count, BATCH):
        key = jax.random.key(seed, impl=impl)
        examples, numbers = jax.device_get(_draw(window, np.int32(first), key, share, positions, symmetries, planes))
        parts.append(examples)
    return jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *parts), tuple(map(int, numbers))


def numbers_of(examples):
    return examples.policy[:, PASS].astype(int).tolist()


def test_lengths_and_winners_that_are_kept(kept):
    window, rows = kept
    lengths, winners = np.asarray(window.lengths), np.asarray(window.winners)
    assert lengths[:, NEWEST].tolist() == [0, MOVES, 0, 0], "held out, learned from, unfinished, resigned at once"
    assert lengths.sum() == len(rows) and (lengths[:, 1:] >= 4).all(), "the first iteration's place is the last one's now"
    assert winners[2, NEWEST] == 0 and (winners[:, 1:] != 0).all()
    assert window.boards.shape == (GAMES, WINDOW, MOVES, SIZE * SIZE) and window.boards.dtype == np.int8


def stone_planes(row, boards):
    history = (row.boards + [np.zeros((SIZE, SIZE))] * boards)[:boards]
    planes = [board == side for board in history for side in (row.turn, -row.turn)]
    return np.stack([*planes, np.full((SIZE, SIZE), row.turn == BLACK)], axis=-1)


def test_an_epoch_is_every_position_once_with_its_own_planes_policy_and_winner(kept):
    window, rows = kept
    examples, (learned, seen) = draw(window, 2 * len(rows))
    assert learned == seen == len(rows)
    numbers = numbers_of(examples)
    first, second = numbers[:seen], numbers[seen:]
    assert sorted(first) == sorted(second) == sorted(rows) and first != second
    assert np.mean(np.array(first) == sorted(rows)) < 0.2, "shuffled"
    for planes, policy, winner, number in zip(*examples, numbers, strict=True):
        np.testing.assert_array_equal(planes, stone_planes(rows[number], 8))
        np.testing.assert_array_equal(policy, rows[number].policy.astype(np.float32))
        assert winner == rows[number].winner
    assert len({len(rows[number].boards) for number in first}) == MOVES, "from a game's start, where history is short, to its end"


def test_a_share_of_the_positions_is_learned_again_and_again(kept):
    window, rows = kept
    subsets = []
    for seed in (0, 1):
        examples, (learned, seen) = draw(window, 2 * -(-len(rows) // 4), share=0.25, seed=seed)
        assert (learned, seen) == (-(-len(rows) // 4), len(rows))
        numbers = numbers_of(examples)
        assert len(set(numbers)) == learned and sorted(numbers[:learned]) == sorted(numbers[learned:])
        assert numbers[:learned] != numbers[learned:] and set(numbers) <= set(rows)
        subsets.append(set(numbers))
    assert subsets[0] != subsets[1], "each iteration has a subset of its own"


def turned(board, symmetry):
    """Quarter turns of the board, then of its transpose."""
    board = np.swapaxes(board, 0, 1) if symmetry >= 4 else board
    return np.rot90(board, symmetry % 4)


@pytest.mark.slow
def test_the_newest_positions_under_random_symmetries_in_mlperf07(kept):
    """At least 20 positions: the newest iteration's only game, then games of the one before, in their order."""
    window, rows = kept
    lengths = np.asarray(window.lengths)[:, [NEWEST, NEWEST - 1, NEWEST - 2]].T.ravel()
    games = 1 + int(np.searchsorted(np.cumsum(lengths), 20))
    examples, (learned, seen) = draw(window, 96, positions=20, symmetries=True, planes="mlperf07", impl="threefry2x32")
    assert learned == seen == lengths[:games].sum() < len(rows)
    numbers = numbers_of(examples)
    of_newest = sorted(rows)[-MOVES:]
    before = sorted(rows)[-lengths[:2 * GAMES].sum():-MOVES]
    assert sorted(numbers[:seen]) == sorted([*of_newest, *before[:seen - MOVES]])
    found = []
    for planes, policy, number in zip(examples.planes, examples.policy, numbers, strict=True):
        row = rows[number]
        points = row.policy[:PASS].astype(np.float32).reshape(SIZE, SIZE)
        (symmetry,) = [s for s in range(8) if np.array_equal(turned(points, s).ravel(), policy[:PASS])]
        extra = np.stack([row.liberties == 1, row.liberties == 2, row.liberties >= 3, row.captures], axis=-1)
        np.testing.assert_array_equal(planes, turned(np.concatenate([stone_planes(row, 4), extra], axis=-1), symmetry))
        found.append(symmetry)
    assert set(found) == set(range(8)) and len({(number, symmetry) for number, symmetry in zip(numbers, found, strict=True)}) > seen


def test_the_games_have_a_ko(kept):
    """Else nothing above tells whether the forbidden point is left out of the captures."""
    _, rows = kept
    referee = Referee(SIZE)
    for point in KO[:8]:
        referee.play(point)
    assert referee.ko == (1, 2) and referee.captures(referee.ko, BLACK) == {(1, 1)}
    at_ko = [row for row in rows.values() if np.array_equal(np.flatnonzero(row.boards[0]), np.flatnonzero(board_of(referee)))]
    assert len(at_ko) >= WINDOW and not any(row.captures[1, 2] for row in at_ko)
