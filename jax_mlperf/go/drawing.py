"""A board as text that a person can read."""

from collections.abc import Sequence

from jax_mlperf.go.coordinates import column_letters
from jax_mlperf.go.stones import BLACK, WHITE

SYMBOLS = {BLACK: "X", WHITE: "O", 0: "."}


def draw(stones: Sequence[int], size: int, last: int | None = None) -> str:
    """Rows with coordinates around them, the last move in brackets.

    Args:
      stones: [size * size], 1 black (X), -1 white (O), 0 empty (.).
      size: of the board.
      last: the last move's action; a pass, or None, marks nothing.
    """
    letters = "   " + " ".join(column_letters(size))
    rows = []
    for row in range(size):
        cells = [SYMBOLS[stone] for stone in stones[row * size:(row + 1) * size]]
        marked = -1 if last is None or last // size != row else last % size
        gaps = ["(" if column == marked else ")" if column == marked + 1 and marked >= 0 else " " for column in range(size + 1)]
        rows.append(f"{size - row:2}" + "".join(map("".join, zip(gaps, [*cells, ""], strict=True))) + f"{size - row}")
    return "\n".join([letters, *rows, letters])
