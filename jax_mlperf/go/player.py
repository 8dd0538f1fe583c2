"""What a program must offer to play Go against others: rules, search and network behind a few methods."""

from typing import NamedTuple, Protocol, TypeVar

P = TypeVar("P")  # a position: a value of any type that is never changed


class Choice(NamedTuple):
    """What a player would do.

    Attributes:
      action: a legal action, None to resign.
      value: expected outcome for the colour that moves, in [-1, 1].
    """

    action: int | None
    value: float


class Player(Protocol[P]):
    """Plays on boards of one size.

    A colour is 1 (black) or -1 (white) and may move twice in a row: every method that takes one first makes it that colour's
    turn, without a pass. An action is row * board_size + column, rows from the top; board_size^2 is the pass.
    """

    @property
    def board_size(self) -> int:
        """Of every position."""

    @property
    def komi(self) -> float:
        """What the search reckons with."""

    def start(self) -> P:
        """The empty board, black to move."""

    def legal(self, position: P, colour: int, action: int) -> bool:
        """Whether the colour may play there; a pass is always legal."""

    def play(self, position: P, colour: int, action: int) -> P:
        """The position after a legal move, also after two passes and however long the game has become."""

    def choose(self, position: P, colour: int) -> Choice:
        """The move to make. Never asked right after two passes, but at any length of the game, which must not stop the search."""

    def stones(self, position: P) -> list[int]:
        """[board_size^2]: 1 black, -1 white, 0 empty."""

    def captured(self, position: P) -> tuple[int, int]:
        """Stones captured by black, and by white."""

    def score(self, position: P) -> float:
        """Black's area less white's, without komi, as the board stands."""
