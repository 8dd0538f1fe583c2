"""Actions as SGF points and as GTP vertices; rows count from the top, an action is row * size + column, then comes the pass."""

import re

PASS = "pass"
_SGF_LETTERS = "abcdefghijklmnopqrstuvwxy"
_GTP_LETTERS = "ABCDEFGHJKLMNOPQRSTUVWXYZ"  # no I, which looks like a 1 or a J
_VERTEX = re.compile(rf"([{_GTP_LETTERS}])([1-9][0-9]?)", re.IGNORECASE)
_LARGEST_WITH_TT = 19  # FF[3]'s "tt" lies outside of boards up to here (red-bean.com/sgf/go.html, Move properties)


def from_sgf(text: str, size: int) -> int:
    """The action [0, size * size] of an SGF move: column and row as letters, "" (and up to 19x19 "tt") the pass.

    Raises:
      ValueError: it is no point of this board.
    """
    if text == "" or (text == "tt" and size <= _LARGEST_WITH_TT):
        return size * size
    letters = _SGF_LETTERS[:size]
    if len(text) != 2 or text[0] not in letters or text[1] not in letters:
        raise ValueError(f"{text!r} is no point of a {size}x{size} board")
    return letters.index(text[1]) * size + letters.index(text[0])


def to_sgf(action: int, size: int) -> str:
    """The SGF move of an action; the pass is "".

    Raises:
      ValueError: there is no such action.
    """
    if action == size * size:
        return ""
    row, column = _row_and_column(action, size)
    return _SGF_LETTERS[column] + _SGF_LETTERS[row]


def from_gtp(text: str, size: int) -> int:
    """The action [0, size * size] of a GTP vertex: "A1" is the lower left corner; any case, "pass" too.

    Raises:
      ValueError: it is no vertex of this board.
    """
    if text.lower() == PASS:
        return size * size
    found = _VERTEX.fullmatch(text)
    if found is not None:
        column, row = _GTP_LETTERS.index(found[1].upper()), size - int(found[2])
        if column < size and row >= 0:
            return row * size + column
    raise ValueError(f"{text!r} is no vertex of a {size}x{size} board")


def to_gtp(action: int, size: int) -> str:
    """The GTP vertex of an action, or "pass".

    Raises:
      ValueError: there is no such action.
    """
    if action == size * size:
        return PASS
    row, column = _row_and_column(action, size)
    return f"{_GTP_LETTERS[column]}{size - row}"


def column_letters(size: int) -> str:
    """The letters of a board's columns, from the left."""
    return _GTP_LETTERS[:size]


def _row_and_column(action: int, size: int) -> tuple[int, int]:
    if not 0 <= action < size * size:
        raise ValueError(f"{action} is no action of a {size}x{size} board")
    return divmod(action, size)
