"""What the searches take and return, and what they ask of a game."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax

State = Any  # a game's position: a pytree of arrays, which get a leading axis [B] in a batch


class Evaluation(NamedTuple):
    """A network's opinion of B positions."""

    logits: jax.Array  # float32 [B, A]: of all actions, illegal ones too
    value: jax.Array  # float32 [B], in [-1, 1]: expected outcome for the side to move


EvaluateFn = Callable[[State, jax.Array], Evaluation]  # (positions [B, ...], key)


class Game(Protocol):
    """A two-player zero-sum game with alternating moves, as functions of one position (the searches vmap them)."""

    @property
    def actions(self) -> int:
        """How many actions there are, A."""

    @property
    def pass_action(self) -> int:
        """The action that gives up the turn."""

    def play(self, position: State, action: jax.Array) -> State:
        """The position after an action, int32 []; any position without NaN where the game has ended or the action is illegal."""

    def legal(self, position: State) -> jax.Array:
        """Which actions may be played, bool [A]."""

    def ended(self, position: State) -> jax.Array:
        """Whether the game is over, bool []."""

    def outcome(self, position: State) -> jax.Array:
        """+1 or -1 (or 0), float32 []: the result of an ended game for the side to move."""

    def passed(self, position: State) -> jax.Array:
        """Whether the last move was a pass, bool []."""


class DirichletNoise(NamedTuple):
    """Noise mixed into the root's priors: (1 - weight) P + weight Dirichlet(alpha)."""

    alpha: float
    weight: float


class Found(NamedTuple):
    """What a search says about B positions; where the game had ended already: no visits, and finite numbers without meaning."""

    visits: jax.Array  # int32 [B, A], sum = readouts
    policy: jax.Array  # float32 [B, A], sum = 1: the training target
    value: jax.Array  # float32 [B]: mean value of the root for the side to move, its own evaluation included
    action: jax.Array  # int32 [B]: what to play
