"""The engine's side of the Go Text Protocol, version 2 (draft 2 of its specification, lysator.liu.se/~gunnar/gtp).

It plays with what is handed in as a `Player`, and imports no JAX.
"""

import contextlib
import math
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Generic, TextIO

from jax_mlperf import __version__
from jax_mlperf.errors import UserError
from jax_mlperf.go import coordinates, sgf
from jax_mlperf.go.drawing import SYMBOLS, draw
from jax_mlperf.go.match import COLOUR_NAMES, Match
from jax_mlperf.go.player import Choice, P, Player
from jax_mlperf.go.stones import BLACK, WHITE

NAME = "jax_mlperf"
_COLOURS = {"b": BLACK, "black": BLACK, "w": WHITE, "white": WHITE}
_COMMAND = re.compile(r"(?:([0-9]+)(?:\s+|$))?(.*)")
_ANY_NUMBER = range(1000)


class _Failure(Exception):
    """The command fails with this message."""


class Engine(Generic[P]):
    """Carries out commands, one line each.

    Attributes:
      finished: `quit` was asked for.
    """

    def __init__(self, player: Player[P]):
        self._player, self._match = player, Match(player)
        self.finished = False
        # Each with the numbers of arguments that it takes.
        self._commands: dict[str, tuple[Callable[..., str], range]] = {
            "protocol_version": (lambda: "2", range(1)), "name": (lambda: NAME, range(1)),
            "version": (lambda: __version__, range(1)),
            "known_command": (lambda name: str(name in self._commands).lower(), range(1, 2)),
            "list_commands": (lambda: "\n".join(self._commands), range(1)),
            "quit": (self._quit, range(1)), "boardsize": (self._boardsize, range(1, 2)), "clear_board": (self._clear, range(1)),
            "komi": (self._set_komi, range(1, 2)), "play": (self._play, range(2, 3)), "genmove": (self._genmove, range(1, 2)),
            "reg_genmove": (self._reg_genmove, range(1, 2)), "undo": (self._undo, range(1)),
            "showboard": (self._showboard, range(1)), "final_score": (self._match.score, range(1)),
            "loadsgf": (self._loadsgf, _ANY_NUMBER), "printsgf": (self._printsgf, range(1)),
            "time_settings": (lambda *_: "", _ANY_NUMBER), "time_left": (lambda *_: "", _ANY_NUMBER)}

    def execute(self, line: str) -> str:
        """The response to a line, with its two line ends; "" to a line without a command."""
        visible = "".join(letter for letter in line.replace("\t", " ") if " " <= letter != "\x7f")
        text = visible.partition("#")[0].strip()
        if not text:
            return ""
        found = _COMMAND.fullmatch(text)
        assert found is not None  # the pattern takes any line
        words = found[2].split()
        try:
            status, result = "=", self._run(words[0] if words else "", words[1:])
        except _Failure as failure:
            status, result = "?", str(failure)
        return f"{status}{found[1] or ''}{' ' if result else ''}{result}\n\n"

    def _run(self, name: str, arguments: list[str]) -> str:
        if name not in self._commands:
            raise _Failure("unknown command")
        command, counts = self._commands[name]
        if len(arguments) not in counts:
            raise _Failure("syntax error")
        return command(*arguments)

    def _quit(self) -> str:
        self.finished = True
        return ""

    def _boardsize(self, text: str) -> str:
        if not re.fullmatch("[0-9]+", text):
            raise _Failure("syntax error")
        if text.lstrip("0") != str(self._player.board_size):
            raise _Failure("unacceptable size")
        return self._clear()

    def _clear(self) -> str:
        self._match.clear()
        return ""

    def _set_komi(self, text: str) -> str:
        try:
            komi = float(text)
        except ValueError:
            komi = math.nan
        if not math.isfinite(komi):
            raise _Failure("syntax error")
        self._use_komi(komi)
        return ""

    def _use_komi(self, komi: float) -> None:
        if komi not in (self._match.komi, self._player.komi):
            print(f"komi {komi:g} counts for the score only: the search reckons with {self._player.komi:g}", file=sys.stderr)
        self._match.komi = komi

    def _play(self, colour: str, vertex: str) -> str:
        try:
            move = sgf.Move(_colour(colour), coordinates.from_gtp(vertex, self._player.board_size))
        except ValueError as error:
            raise _Failure("syntax error") from error
        try:
            self._match.play(move)
        except ValueError as error:
            raise _Failure("illegal move") from error
        return ""

    def _genmove(self, colour: str) -> str:
        return self._vertex(self._match.generate(_colour(colour)))

    def _reg_genmove(self, colour: str) -> str:
        return self._vertex(self._match.choose(_colour(colour)))

    def _vertex(self, choice: Choice) -> str:
        return "resign" if choice.action is None else coordinates.to_gtp(choice.action, self._player.board_size)

    def _undo(self) -> str:
        if not self._match.moves:
            raise _Failure("cannot undo")
        self._match.undo()
        return ""

    def _showboard(self) -> str:
        match, size = self._match, self._player.board_size
        last = match.moves[-1] if match.moves else None
        black, white = self._player.captured(match.position)
        turn = -last.colour if last else BLACK
        played = f"{COLOUR_NAMES[last.colour]} {coordinates.to_gtp(last.action, size)}" if last else "none"
        board = draw(self._player.stones(match.position), size, last.action if last else None)
        return (f"\n{board}\n"
                f"moves: {len(match.moves)}, the last: {played}; to move: {COLOUR_NAMES[turn]} ({SYMBOLS[turn]})\n"
                f"captured by black (X): {black}, by white (O): {white}; komi: {match.komi:g}")

    def _printsgf(self) -> str:
        return sgf.write(self._match.record(NAME)).strip()

    def _loadsgf(self, *arguments: str) -> str:
        """A file's name, which may have blanks, and the number of the move before which to stop."""
        numbered = len(arguments) > 1 and re.fullmatch("[0-9]{1,9}", arguments[-1]) is not None
        name = " ".join(arguments[:-1] if numbered else arguments)
        stop = int(arguments[-1]) - 1 if numbered else None
        if not name or stop == -1:
            raise _Failure("syntax error")
        try:
            game = sgf.read_file(Path(name))
            if game.size != self._player.board_size:
                raise ValueError(f"its board is {game.size}x{game.size}, this player's is {self._player.board_size} lines wide")
            self._match.replay(sgf.Move(move.colour, move.action) for move in game.moves[:stop])
        except (UserError, ValueError) as error:
            raise _Failure(f"cannot load file: {error}") from error
        if game.komi is not None:
            self._use_komi(game.komi)
        return ""


def _colour(text: str) -> int:
    colour = _COLOURS.get(text.lower())
    if colour is None:
        raise _Failure("syntax error")
    return colour


def serve(engine: Engine, lines: Iterable[str], out: TextIO) -> None:
    """Answers line by line, until `quit` or the end of the lines.

    What is printed meanwhile, by whatever the player is made of, goes to standard error: `out` carries responses only.

    Raises:
      BrokenPipeError: nobody reads the responses any more.
    """
    with contextlib.redirect_stdout(sys.stderr):
        for line in lines:
            out.write(engine.execute(line))
            out.flush()
            if engine.finished:
                return
