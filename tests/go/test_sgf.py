"""Reading and writing SGF: the professional games, the format's corners, round trips, and what is refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_mlperf.errors import UserError
from jax_mlperf.go.sgf import Game, Move, read, read_file, write


def test_a_professional_game(shared_data):
    game = read_file(shared_data / "go9x9_pro" / "9x9_pro_YKSH.sgf")
    assert (game.size, game.komi, game.rules, game.result) == (9, 7.5, "Chinese", "B+8.5")
    assert game.black == game.white == "000001-helped-husky"
    assert [move.action for move in game.moves[:5]] == [32, 39, 49, 48, 57]
    assert [move.colour for move in game.moves] == [1, -1] * 21


def test_written_text():
    game = Game(9, 7.5, (Move(1, 40, "a] \\ b"), Move(-1, 81), Move(-1, 0)), "B+R", "me", "you")
    assert write(game) == ("(;GM[1]FF[4]CA[UTF-8]AP[jax_mlperf:0.1.0]SZ[9]KM[7.5]RU[Chinese]PB[me]PW[you]RE[B+R]\n"
                           ";B[ee]C[a\\] \\\\ b];W[];W[aa])\n")
    assert write(Game(5, None, (), rules="")) == "(;GM[1]FF[4]CA[UTF-8]AP[jax_mlperf:0.1.0]SZ[5])\n"


def moves(text: bytes | str) -> list[tuple[int, int]]:
    return [(colour, action) for colour, action, _ in read(text, "x.sgf").moves]


@pytest.mark.parametrize("text, expected", [
    ("(;SZ[3];B[aa](;W[ba];B[ca])(;W[bb](;B[cc])(;B[ac])))", [(1, 0), (-1, 1), (1, 2)]),  # the first of the variations
    ("(;SZ[3](;B[aa];W[ba])(;B[bb]))(;SZ[9];B[ii])", [(1, 0), (-1, 1)]),  # the first of the games
    ("mail (at home)\n( ;SZ [3] ; B [aa]\r\n;W\t[bb] ) bye", [(1, 0), (-1, 4)]),
    ("(;FF[3]GaMe[1]SiZe[3]SZ[3];Black[aa];White[bb])", [(1, 0), (-1, 4)]),  # lower-case letters of old files
    ("(;SZ[3];B[aa];B[ba];W[])", [(1, 0), (1, 1), (-1, 9)]),  # a colour may move twice
    ("(;SZ[3]B[aa]W[bb])", [(1, 0), (-1, 4)]),  # bad style: all in one node, the root
    ("(;SZ[3:3]AB[];B[tt];;W[ aa ])", [(1, 9), (-1, 0)]),
    ("(;SZ[3]C[;B[aa\\];W[bb\\])\\\\];B[cc])", [(1, 8)]),  # a comment that looks like moves
    ("(;SZ[3]LB[aa:x][bb:y] [cc:z];B[cc])", [(1, 8)]),
])
def test_main_line(text, expected):
    assert moves(text) == moves(text.encode()) == expected


def test_text_and_defaults():
    game = read("(;PB[a\\\r\nb\r\nc]RE[ W+R ]KM[6,5];B[aa]C[x\\\ny\\]\\:\tz\n\rw]C[second])", "x.sgf")
    assert (game.size, game.komi, game.black, game.result, game.white, game.rules) == (19, 6.5, "ab c", "W+R", "", "")
    assert game.moves == (Move(1, 0, "xy]: z\nw"),)
    assert read("(;KM[];B[aa])", "x.sgf").komi is None and read("(;)", "x.sgf") == Game(19, None, (), rules="")
    assert read("(;PB[a]PB[b])", "x.sgf").black == "a"


def test_encodings():
    name = "Cho U, 張栩, Müller"
    assert read(f"(;PB[{name}])".encode(), "x.sgf").black == name
    assert read("(;PB[Müller])".encode("utf-8-sig"), "x.sgf").black == "Müller"
    assert read("(;PB[Müller])".encode("latin-1"), "x.sgf").black == "Müller"


@pytest.mark.parametrize("text, message", [
    ("", r'x\.sgf, line 1, column 1: holds no SGF game, which begins with "\(;"'),
    ("(B[aa])", "holds no SGF game"),
    ("(;SZ[9]\n;B[aa]\n", r'line 3, column 1: ends before its game does: a "\)" is missing'),
    ("(;SZ[9](;B[aa])", "column 16: ends before"),
    ("(;SZ[9]\n;B[ee];W)", "line 2, column 8: the property W has no value"),
    ("(;SZ[9];B[ee", "column 9: the property B has a value without an end"),
    ("(;SZ[9];B[ee]C[x\\])", "column 14: the property C has a value without an end"),
    ("(;SZ[9];B[ee]\n 7)", "line 2, column 2: '7' should not be here"),
    ("(;SZ[9]](", "column 8: ']' should not be here"),
    ("(;SZ[9](B[aa]))", 'column 9: ";" should follow "\\("'),
    ("(;SZ[9]())", 'column 9: ";" should follow "\\("'),
    ("(;SZ[9]\n;B[ja])", "line 2, column 2: 'ja' is no point of a 9x9 board"),
    ("(;SZ[9];B[aa][bb])", "column 9: B has 2 values, a move has one"),
    ("(;SZ[9]AB[aa][bb])", "column 8: AB places stones; only games from the empty board"),
    ("(;SZ[9];B[aa];AW[cc])", "column 15: AW places stones"),
    ("(;SZ[9:13])", "column 3: SZ is '9:13', not square"),
    ("(;SZ[26])", "SZ is '26', not supported: boards are 2x2 to 25x25"), ("(;SZ[1:1])", "not supported"),
    ("(;SZ[nine])", "SZ is 'nine', no board size"), ("(;SZ[9:9:9])", "no board size"), ("(;SZ[²])", "no board size"),
    ("(;KM[nan])", "column 3: KM is 'nan', no number"), ("(;GM[2])", "GM is '2', another game than Go"),
])
def test_what_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        read(text, "x.sgf")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match=r"absent\.sgf cannot be read: No such file.*; give an SGF file"):
        read_file(tmp_path / "absent.sgf")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read_file(tmp_path)
    (tmp_path / "x.sgf").write_bytes(b"\xff\x00\x01")
    with pytest.raises(UserError, match=r"x\.sgf, line 1, column 1: holds no SGF game"):
        read_file(tmp_path / "x.sgf")


LETTERS = st.characters(exclude_categories=["Cs", "Cc"])
NAMES = st.text(LETTERS, max_size=6).map(str.strip)


@st.composite
def games(draw) -> Game:
    size = draw(st.integers(2, 25))
    move = st.builds(Move, st.sampled_from([1, -1]), st.integers(0, size * size),
                     st.text(LETTERS | st.sampled_from("\n]\\"), max_size=4))
    return Game(size, draw(st.none() | st.integers(-20, 20).map(lambda halves: halves / 2)),
                tuple(draw(st.lists(move, max_size=12))), *(draw(NAMES | st.just("]\\[")) for _ in range(4)))


@settings(max_examples=30, deadline=None)
@given(games())
def test_round_trip(game):
    assert read(write(game).encode(), "x.sgf") == game


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="();[]\\BWCabSZ9: \n", max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        game = read("(;" + text, "x.sgf")
    except UserError as error:
        assert str(error).startswith("x.sgf, line ")
    else:
        assert all(0 <= move.action <= game.size**2 for move in game.moves)
