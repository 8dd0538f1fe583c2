"""A game in progress between anybody and a player: its positions, moves, komi and result."""

from collections.abc import Iterable
from typing import Generic

from jax_mlperf.go import coordinates, sgf
from jax_mlperf.go.player import Choice, P, Player
from jax_mlperf.go.stones import BLACK, WHITE

COLOUR_NAMES = {BLACK: "black", WHITE: "white"}


class Match(Generic[P]):
    """One game at a time.

    Attributes:
      player: knows the rules and chooses moves.
      komi: of the score; the player's own until it is set.
      moves: from the empty board on; those that the player chose have a comment.
    """

    def __init__(self, player: Player[P]):
        self.player = player
        self.komi = player.komi
        self.clear()

    def clear(self) -> None:
        """Begins a new game; the komi stays."""
        self._set([self.player.start()], [])

    @property
    def position(self) -> P:
        """After the last move."""
        return self._positions[-1]

    @property
    def pass_action(self) -> int:
        """The action that passes."""
        return self.player.board_size**2

    @property
    def over(self) -> bool:
        """Whether the last two moves are passes."""
        return [move.action for move in self.moves[-2:]] == [self.pass_action] * 2

    def play(self, move: sgf.Move) -> None:
        """Makes a move.

        Raises:
          ValueError: it is illegal.
        """
        self._set([*self._positions, self._after(self.position, move)], [*self.moves, move])

    def undo(self) -> None:
        """Takes the last move back; there must be one."""
        self._set(self._positions[:-1], self.moves[:-1])

    def replay(self, moves: Iterable[sgf.Move]) -> None:
        """Replaces the game by these moves from the empty board.

        Raises:
          ValueError: one is illegal; then the game stays as it was.
        """
        moves, positions = list(moves), [self.player.start()]
        for number, move in enumerate(moves, 1):
            try:
                positions.append(self._after(positions[-1], move))
            except ValueError as error:
                raise ValueError(f"its move {number}, {error}") from error
        self._set(positions, moves)

    def choose(self, colour: int) -> Choice:
        """What the player would do here: it passes when the game is over."""
        return Choice(self.pass_action, 0.0) if self.over else self.player.choose(self.position, colour)

    def generate(self, colour: int) -> Choice:
        """Makes the move that the player chooses, with its value as the comment, or notes that it resigns."""
        choice = self.choose(colour)
        if choice.action is None:
            self._resigned = colour
        else:
            self.play(sgf.Move(colour, choice.action, f"value {choice.value:+.3f} for {COLOUR_NAMES[colour]}"))
        return choice

    def score(self) -> str:
        """The area score of the board as it stands, with komi: "B+3.5", "W+10" or "0"."""
        return sgf.area_result(self.player.score(self.position) - self.komi)

    def record(self, name: str) -> sgf.Game:
        """The game so far.

        Args:
          name: the player's, for the colours for which it chose moves.
        """
        own = {move.colour for move in self.moves if move.comment} | {self._resigned}
        black, white = (name if colour in own else "" for colour in (BLACK, WHITE))
        result = self.score() if self.over else ""
        if self._resigned:
            result = "W+R" if self._resigned == BLACK else "B+R"
        return sgf.Game(self.player.board_size, self.komi, tuple(self.moves), result, black, white)

    def _set(self, positions: list[P], moves: list[sgf.Move]) -> None:
        """A game of n moves and the n + 1 positions around them."""
        self._positions, self.moves = positions, moves
        self._resigned = 0  # the colour that did

    def _after(self, position: P, move: sgf.Move) -> P:
        if not self.player.legal(position, move.colour, move.action):
            vertex = coordinates.to_gtp(move.action, self.player.board_size)
            raise ValueError(f"{COLOUR_NAMES[move.colour]} {vertex}, is illegal")
        return self.player.play(position, move.colour, move.action)
