"""The count of areas against the referee's and pgx's, on random boards and on those that are hard to fill."""

import functools

import jax
import numpy as np
import pytest
from go_games import areas
from go_referee import Referee

from jax_mlperf.go.area import area


def referee_areas(stones, size):
    referee = Referee(size)
    for colour in (1, -1):
        referee.stones[colour] = {divmod(int(point), size) for point in np.flatnonzero(stones == colour)}
    return referee.areas()


def random_boards(size, count, seed=0):
    """Boards of all densities, black and white in all proportions."""
    random = np.random.default_rng(seed)
    density, black = random.random((2, count, 1))
    uniform = random.random((count, size**2))
    return np.where(uniform > density, 0, np.where(uniform > density * black, -1, 1)).astype(np.int8)


def spiral(size):
    """One empty path from a corner to the centre, between walls."""
    board = np.ones((size, size), np.int8)
    row = column = 0
    step_row, step_column = 0, 1
    board[0, 0] = 0

    def is_open(row, column):
        return not (0 <= row < size and 0 <= column < size) or board[row, column] == 0

    turns = 0
    while turns < 2:
        ahead = row + step_row, column + step_column
        beyond = row + 2 * step_row, column + 2 * step_column
        inside = 0 <= ahead[0] < size and 0 <= ahead[1] < size
        if inside and (not is_open(*beyond) or not (0 <= beyond[0] < size and 0 <= beyond[1] < size)) and board[ahead]:
            row, column = ahead
            board[row, column] = 0
            turns = 0
        else:
            step_row, step_column = step_column, -step_row
            turns += 1
    return board


def waves(size):
    """Paths that turn between up and down every other column: the most sweeps per point."""
    board = np.ones((size, size), np.int8)
    for top in range(0, size - 1, 3):
        columns = np.arange(size)
        board[top, columns % 4 != 1] = 0
        board[top + 1, columns % 4 != 3] = 0
        # From one band to the next, at the right and at the left end in turn.
        if top + 3 < size - 1:
            board[top + 2, 0 if top % 2 else size - 1] = 0
    return board


def serpentine(size):
    board = np.zeros((size, size), np.int8)
    board[1::2] = 1
    board[1::4, -1] = board[3::4, 0] = 0
    return board


def hard_boards(size):
    """Long paths in walls of black, empty, with a white stone at one end, and all that turned."""
    boards = []
    for path in (spiral(size), waves(size), serpentine(size)):
        empty = np.argwhere(path == 0)
        for end in (None, empty[0], empty[-1], empty[len(empty) // 2]):
            board = path.copy()
            if end is not None:
                board[tuple(end)] = -1
            boards += [turned * colour for turned in (np.rot90(board, turns) for turns in range(4)) for colour in (1, -1)]
    return np.stack(boards).reshape(len(boards), -1).astype(np.int8)


@functools.cache
def boards(size, count):
    return np.concatenate([random_boards(size, count), hard_boards(size), np.zeros((1, size**2), np.int8)])


@pytest.mark.parametrize(("size", "count"), [(9, 60), *(pytest.param(size, 50, marks=pytest.mark.slow) for size in (2, 5, 19))])
def test_areas_are_the_referees(size, count):
    every = boards(size, count)
    np.testing.assert_array_equal(areas(every, size), [referee_areas(stones, size) for stones in every])


def test_paths_are_long():
    """The boards above are as hard as they should be: nearly half of the board or more is one path."""
    for size in (5, 9, 19):
        for path in (spiral(size), waves(size), serpentine(size)):
            empty = {tuple(map(int, point)) for point in np.argwhere(path == 0)}
            found, _ = Referee(size).spread(next(iter(empty)), empty)
            assert found == empty and len(empty) >= 0.49 * size * size


@pytest.mark.slow
@pytest.mark.parametrize("size", [5, 9, 19])
def test_areas_are_pgxs(size):
    """The count that pgx ends its games with; it gives the points of a board without stones to both."""
    from pgx._src.games import go

    every = np.concatenate([boards(size, 20), random_boards(size, 500, seed=1)])
    every = every[every.any(axis=1)]
    scores = jax.jit(jax.vmap(lambda stones: go._count_scores(go.GameState(board=stones), size)))
    np.testing.assert_array_equal(areas(every, size), scores(every.astype(np.int32)))


def test_boards_of_other_widths_are_refused():
    with pytest.raises(ValueError, match="rows of 33 points do not fit 32 bits"):
        area(np.zeros(33 * 33, np.int8), 33)
