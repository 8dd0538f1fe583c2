"""Game records in SGF (FF[4], red-bean.com/sgf): reads the main line of a file's first game, writes a game."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from jax_mlperf import __version__
from jax_mlperf.errors import UserError
from jax_mlperf.go import coordinates
from jax_mlperf.go.stones import BLACK, WHITE

_COLOURS = {"B": BLACK, "W": WHITE}
_SETUP = ("AB", "AW", "AE")
_SMALLEST, _LARGEST, _DEFAULT_SIZE = 2, 25, 19  # 19: of records without SZ
_MOVES_PER_LINE = 10
_VALUE = r"\[((?:\\.|[^\]\\])*)\]"
_TOKEN = re.compile(rf"\s*(?:(?P<mark>[();])|(?P<name>[A-Za-z]+)(?P<values>(?:\s*{_VALUE})*))", re.DOTALL)
_NEWLINE = r"(?:\r\n|\n\r|\n|\r)"
_NUMBER = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]*)?")


class Move(NamedTuple):
    """One move.

    Attributes:
      colour: 1 black, -1 white; a colour may move twice in a row.
      action: row * size + column, rows from the top; size * size is the pass.
    """

    colour: int
    action: int
    comment: str = ""


@dataclass(frozen=True)
class Game:
    """A game from the empty board.

    Attributes:
      komi: None when the record does not say.
      result: as SGF writes it: "B+3.5", "W+R", "0"; "" when unknown.
      black, white: the players' names.
    """

    size: int
    komi: float | None
    moves: tuple[Move, ...]
    result: str = ""
    black: str = ""
    white: str = ""
    rules: str = "Chinese"


class _Property(NamedTuple):
    name: str
    values: list[str]
    start: int


def area_result(score: float) -> str:
    """What SGF, and GTP's final_score, call the result of black's score, komi included: "B+3.5", "W+10" or "0"."""
    return f"{'B' if score > 0 else 'W'}+{abs(score):g}" if score else "0"


def write(game: Game) -> str:
    """The text of a record, to be stored as UTF-8.

    Raises:
      ValueError: an action is not on the board.
    """
    fields = {"AP": f"jax_mlperf:{__version__}", "SZ": str(game.size), "KM": _number(game.komi),
              "RU": game.rules, "PB": game.black, "PW": game.white, "RE": game.result}
    root = "".join(f"{name}[{value if name == 'AP' else _escaped(value)}]" for name, value in fields.items() if value)
    moves = [_written_move(move, game.size) for move in game.moves]
    lines = ["".join(moves[start:start + _MOVES_PER_LINE]) for start in range(0, len(moves), _MOVES_PER_LINE)]
    return "\n".join(["(;GM[1]FF[4]CA[UTF-8]" + root, *lines]) + ")\n"


def _written_move(move: Move, size: int) -> str:
    name = "B" if move.colour == BLACK else "W"
    comment = f"C[{_escaped(move.comment)}]" if move.comment else ""
    return f";{name}[{coordinates.to_sgf(move.action, size)}]{comment}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:f}".rstrip("0").rstrip(".")  # SGF knows no exponents


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("]", "\\]")


def read_file(path: Path) -> Game:
    """The first game of a file.

    Raises:
      UserError: the file cannot be read, or see `read`.
    """
    try:
        return read(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; give an SGF file") from error


def read(content: bytes | str, source: str) -> Game:
    """The main line of the first game.

    Args:
      content: bytes are UTF-8, or else Latin-1, whatever CA says.
      source: the file's name, for messages.

    Raises:
      UserError: it is no SGF record of Go, or has what is not supported: setup stones, boards that are not square or
        not 2x2 to 25x25. The message says where.
    """
    reader = _Reader(content if isinstance(content, str) else _decoded(content), source)
    nodes = reader.main_line()
    root = {each.name: each for each in reversed(nodes[0])}
    if "GM" in root and root["GM"].values[0].strip() != "1":
        raise reader.error(f"GM is {root['GM'].values[0]!r}, another game than Go, which is '1'", root["GM"].start)
    size = reader.size(root.get("SZ"))
    names = {key: _simple_text(root[name].values[0]) if name in root else ""
             for key, name in (("result", "RE"), ("black", "PB"), ("white", "PW"), ("rules", "RU"))}
    moves = tuple(move for node in nodes for move in reader.moves(node, size))
    return Game(size, reader.komi(root.get("KM")), moves, **names)


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


class _Reader:
    """One text, with the place in it for messages."""

    def __init__(self, text: str, source: str):
        self._text, self._source = text, source

    def error(self, what: str, start: int) -> UserError:
        line = self._text.count("\n", 0, start) + 1
        column = start - (self._text.rfind("\n", 0, start) + 1) + 1
        return UserError(f"{self._source}, line {line}, column {column}: {what}")

    def main_line(self) -> list[list[_Property]]:
        """The nodes of the first game's main line: all that stand before the first ")", since first variations come first."""
        begin = re.search(r"\(\s*;", self._text)
        if begin is None:
            raise self.error('holds no SGF game, which begins with "(;"', 0)
        nodes: list[list[_Property]] = []
        depth, place, closed, before = 0, begin.start(), False, ""
        while not closed or depth:
            token = _TOKEN.match(self._text, place)
            if token is None:
                raise self._unreadable(place)
            mark = token["mark"] or "property"
            if before == "(" and mark != ";":
                raise self.error('";" should follow "("', token.end() - 1 if token["mark"] else token.start("name"))
            depth += {"(": 1, ")": -1}.get(mark, 0)
            closed = closed or mark == ")"
            if mark == ";" and not closed:
                nodes.append([])
            if mark == "property":
                nodes[-1] += self._property(token, closed)
            place, before = token.end(), mark
        return nodes

    def _property(self, token: re.Match[str], ignored: bool) -> list[_Property]:
        """The property, unless it is to be ignored; it must have a value in any case."""
        values = re.findall(_VALUE, token["values"], re.DOTALL)
        if not values:
            what = "has a value without an end" if self._text[token.end():].lstrip().startswith("[") else "has no value"
            raise self.error(f"the property {token['name']} {what}", token.start("name"))
        name = re.sub("[a-z]", "", token["name"])  # FF[3] and older allow "White" for W
        return [] if ignored else [_Property(name, values, token.start("name"))]

    def _unreadable(self, place: int) -> UserError:
        rest = self._text[place:]
        place += len(rest) - len(rest.lstrip())
        if place == len(self._text):
            return self.error('ends before its game does: a ")" is missing', place)
        return self.error(f"{self._text[place]!r} should not be here", place)

    def size(self, given: _Property | None) -> int:
        if given is None:
            return _DEFAULT_SIZE
        value = given.values[0].strip()
        sides = value.split(":")
        if len(sides) > 2 or not all(re.fullmatch("[0-9]{1,9}", side) for side in sides):
            raise self.error(f"SZ is {value!r}, no board size", given.start)
        if len(sides) == 2 and int(sides[0]) != int(sides[1]):
            raise self.error(f"SZ is {value!r}, not square; only square boards are supported", given.start)
        if not _SMALLEST <= int(sides[0]) <= _LARGEST:
            raise self.error(f"SZ is {value!r}, not supported: boards are {_SMALLEST}x{_SMALLEST} to {_LARGEST}x{_LARGEST}",
                             given.start)
        return int(sides[0])

    def komi(self, given: _Property | None) -> float | None:
        value = given.values[0].strip() if given else ""
        if given is None or not value:
            return None
        if not _NUMBER.fullmatch(value):
            raise self.error(f"KM is {value!r}, no number", given.start)
        return float(value.replace(",", "."))

    def moves(self, node: list[_Property], size: int) -> list[Move]:
        """The moves of a node, most often one; its comment goes to the last."""
        found: list[Move] = []
        for name, values, start in node:
            if name in _SETUP and any(values):
                raise self.error(f"{name} places stones; only games from the empty board are supported", start)
            if name in _COLOURS:
                try:
                    [value] = values
                    found.append(Move(_COLOURS[name], coordinates.from_sgf(value.strip(), size)))
                except ValueError as error:
                    what = str(error) if len(values) == 1 else f"{name} has {len(values)} values, a move has one"
                    raise self.error(what, start) from error
        comments = [_text(values[0]) for name, values, _ in node if name == "C"]
        return [*found[:-1], found[-1]._replace(comment=comments[0])] if found and comments else found


def _text(value: str) -> str:
    """SGF's Text: an escaped line break is none, another escaped letter stands for itself, white space is a blank."""
    value = re.sub(_NEWLINE, "\n", value)
    value = re.sub(r"\\(.)", lambda found: "" if found[1] == "\n" else found[1], value, flags=re.DOTALL)
    return re.sub(r"[\t\v\f]", " ", value)


def _simple_text(value: str) -> str:
    """SGF's SimpleText: a line break is a blank too."""
    return _text(value).replace("\n", " ").strip()
