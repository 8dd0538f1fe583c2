"""GTP sessions from a script: the exact responses."""

import io
import random

import pytest
from plain_player import PlainPlayer

from jax_mlperf.go import sgf
from jax_mlperf.go.coordinates import from_gtp
from jax_mlperf.gtp import Engine, serve


def session(text: str, player: PlainPlayer | None = None) -> list[str]:
    """The responses, without the two line ends that each must have."""
    out = io.StringIO()
    serve(Engine(player or PlainPlayer()), io.StringIO(text), out)
    assert out.getvalue() == "" or out.getvalue().endswith("\n\n")
    return out.getvalue().split("\n\n")[:-1]


def last(text: str, player: PlainPlayer | None = None) -> str:
    return session(text, player)[-1]


def test_administration():
    assert session("protocol_version\n7 name\n0 version\nknown_command genmove\nknown_command genmoves\n"
                   "9 quit\nname\n") == ["= 2", "=7 jax_mlperf", "=0 0.1.0", "= true", "= false", "=9"], "nothing after quit"
    commands = last("list_commands").removeprefix("= ").split("\n")
    assert len(commands) == len(set(commands)) == 19 and {"play", "undo", "loadsgf", "printsgf", "reg_genmove"} < set(commands)
    assert session("\n".join(f"known_command {name}" for name in commands)) == ["= true"] * 19


def test_a_whole_game():
    assert session("""1 boardsize 5
        2 clear_board
        3 komi 3.5
        4 play black C3
        5 genmove white
        6 play b b2
        7 genmove w
        8 play B PASS
        9 genmove W
        10 final_score
        11 quit
        """, PlainPlayer(script=(from_gtp("C4", 5), from_gtp("pass", 5)))) == [
            "=1", "=2", "=3", "=4", "=5 C4", "=6", "=7 pass", "=8", "=9 pass", "=10 W+2.5", "=11"]


def test_area_after_the_end():
    """Black's wall on the third column makes 15 points; of the two columns beyond it only the white stone counts."""
    black = "".join(f"play b C{row}\n" for row in range(1, 6))
    assert session(black + "play w E1\nkomi 0\nfinal_score\nkomi 14\nfinal_score\nkomi 20\nfinal_score")[-5::2] == [
        "= B+14", "= 0", "= W+6"]


@pytest.mark.parametrize("line, response", [
    ("", None), ("  \t ", None), ("# name", None), ("\x01\x7f\r", None), ("3 # name", "?3 unknown command"),
    ("name # comment", "= jax_mlperf"), ("\tname\t", "= jax_mlperf"), ("na\x07me\r", "= jax_mlperf"), ("1\tname", "=1 jax_mlperf"),
    ("007 name", "=007 jax_mlperf"), ("-1 name", "? unknown command"), ("12name", "? unknown command"), ("5", "?5 unknown command"),
    ("Name", "? unknown command"), ("3 flip_table", "?3 unknown command"), ("известно", "? unknown command"),
    ("name x", "? syntax error"), ("known_command", "? syntax error"), ("4 play b", "?4 syntax error"),
    ("play b C3 C4", "? syntax error"), ("play red C3", "? syntax error"), ("play b I3", "? syntax error"),
    ("play b F1", "? syntax error"), ("play b A6", "? syntax error"), ("play b resign", "? syntax error"),
    ("genmove", "? syntax error"), ("genmove x", "? syntax error"), ("reg_genmove x", "? syntax error"),
    ("boardsize", "? syntax error"), ("boardsize five", "? syntax error"), ("boardsize -5", "? syntax error"),
    ("boardsize 19", "? unacceptable size"), ("boardsize 0", "? unacceptable size"), ("boardsize 05", "="),
    ("komi x", "? syntax error"), ("komi nan", "? syntax error"), ("komi inf", "? syntax error"), ("komi -3", "="),
    ("undo", "? cannot undo"), ("loadsgf", "? syntax error"), ("loadsgf x 0", "? syntax error"),
    ("time_settings 1800 30 5", "="), ("2 time_left b 30 5", "=2"), ("time_settings", "="),
])
def test_one_line(line, response):
    assert session(line + "\n") == ([] if response is None else [response])
    assert session(line) == session(line + "\r\n"), "with and without a line end"


def test_a_line_end_closes_each_response_at_once():
    class Watched(io.StringIO):
        flushed = 0

        def flush(self):
            self.flushed = len(self.getvalue())

    out, seen = Watched(), []

    def lines():
        for line in ("name\n", "\n", "version\n"):
            yield line
            seen.append(out.flushed)

    serve(Engine(PlainPlayer()), lines(), out)
    assert out.getvalue() == "= jax_mlperf\n\n= 0.1.0\n\n" and seen == [14, 14, 23]


def test_illegal_moves():
    """An occupied point, suicide, and a ko, which is over after a move elsewhere or a second move of the same colour."""
    assert session("play b C3\nplay w C3\nplay b C3") == ["=", "? illegal move", "? illegal move"]
    corner = "play b A2\nplay b B1\n"
    assert session(corner + "play w A1\nplay b A1")[2:] == ["? illegal move", "="]
    ko = "".join(f"play {move}\n" for move in ("b B5", "w C5", "b A4", "w D4", "b B3", "w C3", "b C4", "w B4"))
    board = last(ko + "showboard")
    assert "captured by black (X): 0, by white (O): 1" in board
    assert last(ko + "play b C4") == "? illegal move"
    assert session(ko + "play b E1\nplay w E2\nplay b C4\nshowboard")[-2] == "="
    assert session(ko + "play b E1\nplay b C4")[-1] == "="


def test_undo():
    assert session("play b C3\nplay w D3\nundo\nplay b D3\nundo\nundo\nundo\nplay w C3") == [
        "=", "=", "=", "=", "=", "=", "? cannot undo", "="]
    captured = "play b A1\nplay w A2\nplay w B1\n"
    assert "by white (O): 1" in last(captured + "showboard")
    assert "by white (O): 0" in last(captured + "undo\nshowboard")
    assert session(captured + "boardsize 5\nundo\nplay b B1")[-3:] == ["=", "? cannot undo", "="]


def test_showboard():
    assert last("showboard").split("\n")[-2:] == [
        "moves: 0, the last: none; to move: black (X)", "captured by black (X): 0, by white (O): 0; komi: 0.5"]
    assert last("play b A1\nplay w A2\nplay b E5\nplay w B1\n8 showboard").split("\n") == [
        "=8 ",
        "   A B C D E",
        " 5 . . . . X 5",
        " 4 . . . . . 4",
        " 3 . . . . . 3",
        " 2 O . . . . 2",
        " 1 .(O). . . 1",
        "   A B C D E",
        "moves: 4, the last: white B1; to move: black (X)",
        "captured by black (X): 0, by white (O): 1; komi: 0.5"]
    marked = [row for row in last("play b E3\nshowboard").split("\n") if "(X)" in row and row.startswith(" 3")]
    assert marked == [" 3 . . . .(X)3"]
    passed = last("play b E3\nplay w pass\nshowboard")
    assert " 3 . . . . X 3\n" in passed and "the last: white pass; to move: black" in passed


def test_showboard_of_the_largest_boards():
    rows = last("play b A19\nshowboard", PlainPlayer(19)).split("\n")
    assert rows[1] == rows[21] == "   A B C D E F G H J K L M N O P Q R S T"
    assert rows[2] == "19(X)" + ". " * 18 + "19" and rows[20] == " 1" + " ." * 19 + " 1"


def test_generated_moves():
    player = PlainPlayer(script=(12, 12, None, None))
    assert session("reg_genmove b\ngenmove b\nplay w C3\nreg_genmove w\ngenmove w\nplay w D3\n", player) == [
        "= C3", "= C3", "? illegal move", "= resign", "= resign", "="]
    assert session("genmove b\ngenmove b", PlainPlayer(script=(0, 1))) == ["= A5", "= B5"], "a colour may move twice"


def test_printed_games():
    script = "genmove b\nplay w B2\nplay b pass\nplay w pass\n3 printsgf"
    printed = last(script, PlainPlayer(script=(12,)))
    assert printed.startswith("=3 (;GM[1]FF[4]") and "\n\n" not in printed
    game = sgf.read(printed.removeprefix("=3 "), "printed")
    assert (game.size, game.komi, game.black, game.white, game.result) == (5, 0.5, "jax_mlperf", "", "W+0.5")
    assert game.moves[:2] == (sgf.Move(1, 12, "value +0.250 for black"), sgf.Move(-1, 16)) and len(game.moves) == 4
    assert "RE[B+R]" in last("genmove w\nprintsgf", PlainPlayer(script=(None,)))


def test_loaded_games(tmp_path, capsys):
    path = tmp_path / "a game.sgf"
    path.write_text("(;SZ[5]KM[2.5];B[cc];W[dc];B[cd]C[third];B[aa])")
    board = last(f"play b E5\nloadsgf {path}\nshowboard")
    assert "moves: 4, the last: black A5; to move: white" in board and "komi: 2.5" in board and " 3 . . X O . 3" in board
    assert "search reckons with 0.5" in capsys.readouterr().err
    assert "moves: 2, the last: white D3" in last(f"loadsgf {path} 3\nshowboard")
    assert "moves: 0" in last(f"loadsgf {path} 1\nshowboard") and "moves: 4" in last(f"loadsgf {path} 99\nshowboard")
    assert "PB[]" not in last(f"loadsgf {path}\nprintsgf") and "third" not in last(f"loadsgf {path}\nprintsgf")


@pytest.mark.parametrize("name, captured, score", [
    ("YKSH", (1, 0), "B+20.5"), ("IYMD", (3, 2), "B+4.5"), ("YSIY", (5, 0), "B+5.5"), ("IYHN", (0, 1), "W+9.5")])
def test_professional_games(shared_data, name, captured, score):
    path = shared_data / "go9x9_pro" / f"9x9_pro_{name}.sgf"
    board, result = session(f"loadsgf {path}\nshowboard\nfinal_score", PlainPlayer(9, 7.5))[1:]
    assert result == f"= {score}"
    assert board.endswith("captured by black (X): {}, by white (O): {}; komi: 7.5".format(*captured))


@pytest.mark.parametrize("text, message", [
    (None, "No such file"), ("(;SZ[9];B[ii])", "its board is 9x9, this player's is 5 lines wide"),
    ("(;SZ[5];B[aa];W[aa])", "its move 2, white A5, is illegal"), ("(;SZ[9\n\n9])", "no board size"), ("", "holds no SGF game")])
def test_games_that_cannot_be_loaded(tmp_path, text, message):
    if text is not None:
        (tmp_path / "x.sgf").write_text(text)
    responses = session(f"play b E5\n2 loadsgf {tmp_path / 'x.sgf'}\nshowboard")
    assert len(responses) == 3 and responses[1].startswith("?2 cannot load file: ") and message in responses[1]
    assert "moves: 1, the last: black E5" in responses[2], "the game stays as it was"


def test_komi_of_the_search_stays_and_is_said(capsys):
    assert session("komi 0.5\nkomi 6.5\nkomi 6.5\nplay b C3\nfinal_score\nclear_board\nfinal_score")[-3::2] == ["= B+18.5", "= W+6.5"]
    assert capsys.readouterr().err == "komi 6.5 counts for the score only: the search reckons with 0.5\n"


def test_only_responses_go_out(capsys):
    class Talking(PlainPlayer):
        def choose(self, position, colour):
            print("thinking")
            return super().choose(position, colour)

    assert session("genmove b", Talking(script=(3,))) == ["= D5"]
    assert capsys.readouterr() == ("", "thinking\n")


def test_nobody_reads_any_more():
    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        serve(Engine(PlainPlayer()), ["name\n"], Closed())


def test_any_line_has_one_response():
    """Whatever comes, a response is one status, the id, text without empty lines, and the two line ends."""
    letters, engine = random.Random(1), Engine(PlainPlayer())
    words = ["play", "genmove", "b", "W", "C3", "a1", "pass", "undo", "komi", "7", "loadsgf", "printsgf", "showboard", "#", "\t", "\x00",
             "boardsize", "5", "known_command", "é", "final_score", "-1", "99999999999999999999", "time_left", "reg_genmove"]
    for _ in range(300):
        line = " ".join(letters.choices(words, k=letters.randint(0, 4)))
        response = engine.execute(line)
        assert response == "" or (response[0] in "=?" and response.endswith("\n\n") and "\n\n" not in response[:-1]), line
