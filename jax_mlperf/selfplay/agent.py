"""Who plays Go: a network with the rules and a search around it."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax_mlperf.go.features import PlaneKind, planes
from jax_mlperf.go.rules import Position, Rules
from jax_mlperf.go.symmetries import SYMMETRIES, apply_planes, undo_policy
from jax_mlperf.models.go_net import GoNet
from jax_mlperf.models.go_net_inference import fold, infer
from jax_mlperf.models.network import Network
from jax_mlperf.search.gumbel import gumbel_search
from jax_mlperf.search.puct import Version, puct_search
from jax_mlperf.search.types import DirichletNoise, EvaluateFn, Evaluation, Found
from jax_mlperf.types import PyTree


class Variables(NamedTuple):
    """What a network computes with: nested dicts of arrays.

    Attributes:
      params: trained parameters.
      statistics: batch-norm statistics.
    """

    params: PyTree
    statistics: PyTree


@dataclasses.dataclass(frozen=True)
class SearchSettings:
    """How moves are searched for.

    Attributes:
      kind: "puct" (minigo's) or "gumbel".
      puct: the version of minigo's selection.
      considered_actions: of Gumbel search at the root.
    """

    kind: str
    puct: Version
    considered_actions: int


@dataclasses.dataclass(frozen=True)
class Agent:
    """A network's architecture and its search; the weights are an argument of everything it does.

    Attributes:
      rules: of the game.
      planes: which planes of `go.features` the network reads.
      network: makes the network's module of its variables.
      settings: of the search.
    """

    rules: Rules
    planes: PlaneKind
    network: Network[GoNet]
    settings: SearchSettings

    def evaluate_fn(self, variables: Variables) -> EvaluateFn:
        """The network as a search wants it: each position of a batch under a random symmetry (`dual_net.py`, `strategies.py`)."""
        # outside of the search's loop: it is the same for all simulations
        net = fold(self.network.bound(variables.params, variables.statistics))

        def evaluate(positions: Position, key: jax.Array) -> Evaluation:
            symmetries = jax.random.randint(key, positions.moves.shape, 0, SYMMETRIES)
            inputs = jax.vmap(lambda position: planes(self.planes, position.history, position.board, position.ko,
                                                      self.rules.to_play(position) > 0, self.rules.size))(positions)
            logits, black_value = infer(net, jax.vmap(apply_planes)(inputs, symmetries))
            value = black_value * jax.vmap(self.rules.to_play)(positions).astype(jnp.float32)
            return Evaluation(jax.vmap(undo_policy)(logits, symmetries), value)

        return evaluate

    def search(self, variables: Variables, positions: Position, key: jax.Array, readouts: int, *,
               noise: DirichletNoise | None = None) -> Found:
        """Searches every position of a batch.

        Args:
          variables: of the network.
          positions: [B].
          key: of symmetries and noise.
          readouts: simulations; 0 takes the network's policy as it is.
          noise: on the root's priors, of minigo's search; Gumbel search has its own whenever this is given.
        """
        evaluate = self.evaluate_fn(variables)
        if not readouts:
            return self._policy_only(evaluate, positions, key)
        if self.settings.kind == "gumbel":
            return gumbel_search(self.rules, positions, evaluate, key, readouts=readouts,
                                 considered_actions=self.settings.considered_actions, gumbel_scale=1.0 if noise else 0.0)
        return puct_search(self.rules, positions, evaluate, key, readouts=readouts, version=self.settings.puct, noise=noise)

    def _policy_only(self, evaluate: EvaluateFn, positions: Position, key: jax.Array) -> Found:
        logits, value = evaluate(positions, key)
        legal = jax.vmap(self.rules.legal)(positions)
        policy = jax.nn.softmax(jnp.where(legal, logits, -jnp.inf), axis=-1)
        return Found(jnp.zeros(legal.shape, jnp.int32), policy, value, jnp.argmax(policy, axis=-1).astype(jnp.int32))
