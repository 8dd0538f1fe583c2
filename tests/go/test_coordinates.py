"""SGF points and GTP vertices, against the spec's and the GTP standard's examples."""

import pytest

from jax_mlperf.go.coordinates import column_letters, from_gtp, from_sgf, to_gtp, to_sgf


@pytest.mark.parametrize("size, action, point, vertex", [
    (9, 32, "fd", "F6"),  # row 3, column 5
    (9, 0, "aa", "A9"), (9, 8, "ia", "J9"), (9, 72, "ai", "A1"), (9, 80, "ii", "J1"), (9, 81, "", "pass"),
    (19, 72, "pd", "Q16"), (19, 360, "ss", "T1"), (25, 0, "aa", "A25"), (25, 624, "yy", "Z1"), (25, 494, "tt", "U6")])
def test_by_hand(size, action, point, vertex):
    assert (to_sgf(action, size), to_gtp(action, size)) == (point, vertex)
    assert from_sgf(point, size) == from_gtp(vertex, size) == from_gtp(vertex.lower(), size) == action


def test_every_action_comes_back():
    for size in range(2, 26):
        actions = range(size * size + 1)
        assert [from_sgf(to_sgf(action, size), size) for action in actions] == list(actions)
        vertices = [to_gtp(action, size) for action in actions]
        assert len(set(vertices)) == len(vertices) and [from_gtp(vertex, size) for vertex in vertices] == list(actions)


def test_tt_is_a_pass_up_to_19():
    assert from_sgf("tt", 9) == 81 and from_sgf("tt", 19) == 361 and from_sgf("tt", 20) == 19 * 20 + 19


@pytest.mark.parametrize("text", ["a", "aaa", "ja", "aj", "AA", "a1", " ", "ß", "{a"])
def test_points_off_the_board(text):
    with pytest.raises(ValueError, match="is no point of a 9x9 board"):
        from_sgf(text, 9)


@pytest.mark.parametrize("text", ["", "I5", "K1", "A10", "A0", "A-1", "A01", "A", "5", "AA1", "A1 ", "A²", "A٣", "passe", "ſ1", "resign"])
def test_vertices_off_the_board(text):
    with pytest.raises(ValueError, match="is no vertex of a 9x9 board"):
        from_gtp(text, 9)


@pytest.mark.parametrize("write", [to_sgf, to_gtp])
@pytest.mark.parametrize("action", [-1, 82])
def test_no_such_action(write, action):
    with pytest.raises(ValueError, match=f"{action} is no action of a 9x9 board"):
        write(action, 9)


def test_column_letters_leave_out_the_i():
    assert column_letters(9) == "ABCDEFGHJ"
