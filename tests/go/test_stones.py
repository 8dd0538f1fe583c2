"""Placing stones: captures, suicide, occupied points."""

from jax_mlperf.go.stones import BLACK, WHITE, place


def board(text: str) -> list[int]:
    return [{"X": BLACK, "O": WHITE, ".": 0}[letter] for letter in text.replace(" ", "")]


def test_captures():
    assert place(board(".OX OOX XXX"), 3, 0, BLACK) == (board("X.X ..X XXX"), [3, 4, 1]), "one chain"
    assert place(board(".OX OX. X.."), 3, 0, BLACK) == (board("X.X .X. X.."), [3, 1]), "two chains"


def test_suicide_and_occupied_points():
    assert place(board(".X. X.. ..."), 3, 0, WHITE) is None, "one stone"
    assert place(board(".OX OOX XXX"), 3, 0, WHITE) is None, "a chain"
    assert place(board(".OX O.X XXX"), 3, 0, WHITE) == (board("OOX O.X XXX"), []), "a chain with a liberty"
    assert place(board("X.. ... ..."), 3, 0, BLACK) is None and place(board("X.. ... ..."), 3, 0, WHITE) is None


def test_the_given_board_stays():
    before = board("OX. ... ...")
    assert place(before, 3, 3, BLACK) == (board(".X. X.. ..."), [0])
    assert before == board("OX. ... ...")
