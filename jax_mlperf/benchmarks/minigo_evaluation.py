"""minigo's two metrics: professionals' moves found (v0.5), and games won against a fixed opponent (v0.6 and later)."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jax_mlperf.benchmark import Topology
from jax_mlperf.benchmarks.minigo_checkpoint import check_trained, config_of, variables_from
from jax_mlperf.benchmarks.minigo_settings import RANDOM, agent_of
from jax_mlperf.data import pro_games
from jax_mlperf.errors import UserError
from jax_mlperf.ops.hash_rng import key_data_shape
from jax_mlperf.selfplay.agent import Agent, Variables
from jax_mlperf.selfplay.match import ChooseFn, play_match, random_player, searching_player
from jax_mlperf.selfplay.move_prediction import found, replayed
from jax_mlperf.types import PyTree


class Metric(Protocol):
    """How networks are evaluated. A batch holds all rows of an evaluation; -1 is padding.

    Attributes:
      samples: rows that count in an evaluation.
      host_data_spec: as Benchmark's.
    """

    samples: int
    host_data_spec: PyTree

    def rows(self) -> np.ndarray:
        """The numbers of the rows, int32 [samples]."""

    def host_data(self) -> PyTree:
        """As Benchmark's."""

    def device_data(self, host: PyTree) -> PyTree:
        """As Benchmark's."""

    def right(self, variables: Variables, rows: jax.Array, data: PyTree, key: jax.Array) -> jax.Array:
        """Moves found or games won among this device's rows, int32 []."""


class MovePrediction:
    """Every move of the four professional games in each of several rounds, which differ by the network's random symmetries."""

    def __init__(self, config: ConfigDict, agent: Agent, folder: Path) -> None:
        self._agent, self._folder = agent, folder
        self._readouts, self._rounds = config.evaluation.readouts, config.evaluation.rounds
        self.samples = self._rounds * sum(pro_games.MOVES)
        self.host_data_spec = {"actions": jax.ShapeDtypeStruct((len(pro_games.MOVES), max(pro_games.MOVES)), jnp.int16)}

    def rows(self) -> np.ndarray:
        """Game times moves of the longest, plus the move's number."""
        longest = max(pro_games.MOVES)
        one = np.concatenate([game * longest + np.arange(moves) for game, moves in enumerate(pro_games.MOVES)])
        return np.tile(one, self._rounds).astype(np.int32)

    def host_data(self) -> PyTree:
        """The games."""
        return {"actions": pro_games.load(self._folder).actions}

    def device_data(self, host: PyTree) -> PyTree:
        """All their positions."""
        return replayed(self._agent.rules, host["actions"])

    def right(self, variables: Variables, rows: jax.Array, data: PyTree, key: jax.Array) -> jax.Array:
        """Moves that the search finds."""
        hits = found(self._agent, variables, data, jnp.maximum(rows, 0), key, self._readouts)
        return jnp.sum(hits & (rows >= 0), dtype=jnp.int32)


class WinRate:
    """Games against an opponent that does not learn, half of them with either colour; a row is a pair of games."""

    def __init__(self, config: ConfigDict, agent: Agent, data_dir: Path) -> None:
        self._agent, self._data_dir, self._settings = agent, data_dir, config.evaluation
        self._opponent = None if config.evaluation.opponent == RANDOM else Path(config.evaluation.opponent)
        self._pairs = config.evaluation.games // 2
        self.samples = 2 * self._pairs
        self.host_data_spec: PyTree = ()
        if self._opponent:
            self._config = config_of(self._opponent)
            check_trained(self._opponent)
            their_agent = agent_of(self._config)
            theirs, ours = their_agent.rules, agent.rules
            if theirs.size != ours.size:
                raise UserError(f"config.evaluation.opponent {self._opponent} plays on {theirs.size}x{theirs.size}, but "
                                f"config.game.board_size is {ours.size}")
            self._their_agent = dataclasses.replace(their_agent, rules=ours)  # a match has one komi and one end
            key = key_data_shape(config.rng_impl)
            shapes = jax.eval_shape(lambda data: self._their_agent.network.init(jax.random.key(data[0])), key)
            self.host_data_spec = Variables(*shapes)

    def rows(self) -> np.ndarray:
        """The numbers of the pairs."""
        return np.arange(self._pairs, dtype=np.int32)

    def host_data(self) -> PyTree:
        """The opponent's network."""
        return variables_from(self._config, self._data_dir, self._opponent) if self._opponent else ()

    def device_data(self, host: PyTree) -> PyTree:
        """The same."""
        return host

    def right(self, variables: Variables, rows: jax.Array, data: PyTree, key: jax.Array) -> jax.Array:
        """Games won."""
        settings = self._settings
        ours = searching_player(self._agent, variables, settings.readouts, settings.resign_threshold)
        theirs: ChooseFn = random_player(self._agent.rules)
        if self._opponent:
            theirs = searching_player(self._their_agent, data, settings.readouts, settings.resign_threshold)
        won = play_match(self._agent.rules, ours, theirs, len(rows), key)
        return jnp.sum(jnp.where(rows >= 0, won, 0), dtype=jnp.int32)


def make_metric(config: ConfigDict, agent: Agent, data_dir: Path, folder: Path) -> Metric:
    """The metric that the config asks for; raises UserError for an opponent that cannot be read."""
    if config.evaluation.metric == "move_prediction":
        return MovePrediction(config, agent, folder)
    return WinRate(config, agent, data_dir)


def padded(rows: np.ndarray, topology: Topology) -> Iterator[dict[str, Any]]:
    """The one evaluation batch: this process's part of the rows, as many for each device."""
    local = -(-len(rows) // topology.devices) * topology.devices // topology.process_count
    whole = np.full(local * topology.process_count, -1, np.int32)
    whole[:len(rows)] = rows
    yield {"row": whole[topology.process_index * local:][:local]}
