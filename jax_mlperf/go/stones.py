"""Placing a stone on a board of plain numbers: what the reader of recorded games needs of the rules, without JAX."""

from collections.abc import Sequence

BLACK, WHITE = 1, -1


def place(stones: Sequence[int], size: int, point: int, colour: int) -> tuple[list[int], list[int]] | None:
    """The board after a move and the points captured; None where a stone lies or the move is suicide. Ko is not looked at.

    Args:
      stones: [size * size], 1 black, -1 white, 0 empty.
      size: of the board.
      point: row * size + column.
      colour: 1 or -1.
    """
    if stones[point]:
        return None
    board = list(stones)
    board[point] = colour
    captured: list[int] = []
    for neighbour in _neighbours(size, point):
        if board[neighbour] == -colour:
            chain = _captured_chain(board, size, neighbour)
            captured += chain
            for each in chain:
                board[each] = 0
    return None if _captured_chain(board, size, point) else (board, captured)


def _neighbours(size: int, point: int) -> list[int]:
    row, column = divmod(point, size)
    around = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
    return [r * size + c for r, c in around if 0 <= r < size and 0 <= c < size]


def _captured_chain(board: Sequence[int], size: int, point: int) -> list[int]:
    """The chain of the stone at this point, or nothing when it has a liberty."""
    chain = [point]
    seen = {point}
    for each in chain:  # grows while it is gone through
        for neighbour in _neighbours(size, each):
            if board[neighbour] == 0:
                return []
            if board[neighbour] == board[point] and neighbour not in seen:
                seen.add(neighbour)
                chain.append(neighbour)
    return chain
