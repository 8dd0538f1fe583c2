"""A player of Go in plain Python: the referee's rules, and moves from a list or at random."""

import copy
import random

from go_referee import BLACK, WHITE, Referee

from jax_mlperf.go.player import Choice


class PlainPlayer:
    """Chooses the actions of `script` in turn (None resigns), then random legal moves."""

    def __init__(self, board_size: int = 5, komi: float = 0.5, script: tuple[int | None, ...] = ()):
        self.board_size, self.komi = board_size, komi
        self._script, self._random = list(script), random.Random(0)

    def start(self) -> Referee:
        return Referee(self.board_size)

    def legal(self, position: Referee, colour: int, action: int) -> bool:
        return action == self.board_size**2 or self._turn(position, colour).is_legal(divmod(action, self.board_size))

    def play(self, position: Referee, colour: int, action: int) -> Referee:
        assert self.legal(position, colour, action)
        after = self._turn(position, colour)
        after.play(None if action == self.board_size**2 else divmod(action, self.board_size))
        return after

    def choose(self, position: Referee, colour: int) -> Choice:
        if self._script:
            return Choice(self._script.pop(0), 0.25)
        legal = [action for action in range(self.board_size**2 + 1) if self.legal(position, colour, action)]
        return Choice(self._random.choice(legal), 0.0)

    def stones(self, position: Referee) -> list[int]:
        return [(point in position.stones[BLACK]) - (point in position.stones[WHITE]) for point in position.all_points()]

    def captured(self, position: Referee) -> tuple[int, int]:
        return position.captured[BLACK], position.captured[WHITE]

    def score(self, position: Referee) -> float:
        black, white = position.areas()
        return float(black - white)

    def _turn(self, position: Referee, colour: int) -> Referee:
        """A copy in which it is the colour's turn."""
        board = copy.copy(position)
        board.stones = {side: set(stones) for side, stones in position.stones.items()}
        board.captured, board.boards = dict(position.captured), list(position.boards)
        if board.turn != colour:
            board.turn, board.ko = colour, None
        return board
