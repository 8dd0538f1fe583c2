"""The three kinds of training steps of minigo, as programs of the devices: a move of self-play, a gating match, updates.

All games and positions stay on the device that plays them (`shard_map`); only gradients, batch statistics and counts travel.
"""

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, PartitionSpec
from ml_collections import ConfigDict

from jax_mlperf.benchmark import TrainState
from jax_mlperf.benchmarks.minigo_settings import play_settings, sample_settings
from jax_mlperf.parallel.mesh import BATCH_AXES
from jax_mlperf.selfplay.agent import Agent, Variables
from jax_mlperf.selfplay.games import Games, new_games, no_games, play_move
from jax_mlperf.selfplay.match import play_match, searching_player
from jax_mlperf.selfplay.window import Examples, Window, drawn, empty_window, positions_to_learn, record
from jax_mlperf.supervised import LossOutput, TrainStep
from jax_mlperf.types import PyTree

WHOLE, SPLIT = PartitionSpec(), PartitionSpec(BATCH_AXES)
_ROUNDING = 1e-6  # of 0.55 * 100 games


def variables_of(state: TrainState) -> Variables:
    """The network that is trained."""
    return Variables(state.params, state.model_state)


def on_each_device(function: Callable[..., Any], mesh: Mesh | None, in_specs: Any, out_specs: Any) -> Callable[..., Any]:
    """`function` on each device for its own part of what is split; inside it, `sum_over_devices` may be used.

    Search loops vary over the devices, which the check of varying axes refuses in while loops.
    """
    if mesh is None or mesh.size == 1:
        return function
    return jax.shard_map(function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)


class Steps:
    """The steps of a config on a mesh; see Benchmark.train_step.

    Args:
      config: a checked config.
      agent: network and search.
      mesh: None for one device.
      update: makes one update of the state with a batch of Examples.
    """

    def __init__(self, config: ConfigDict, agent: Agent, mesh: Mesh | None, update: TrainStep) -> None:
        self.config, self.agent, self.mesh, self.update = config, agent, mesh, update
        self.devices = mesh.size if mesh else 1
        self.settings = play_settings(config)
        self.samples = sample_settings(config, self.devices)
        self._split = mesh is not None and mesh.size > 1

    def sum_over_devices(self, value: jax.Array) -> jax.Array:
        """Of what each device has counted; inside `on_each_device`."""
        return jax.lax.psum(value, BATCH_AXES) if self._split else value

    def own_key(self, key: jax.Array) -> jax.Array:
        """This device's key; inside `on_each_device`."""
        return jax.random.fold_in(key, jax.lax.axis_index(BATCH_AXES)) if self._split else key

    @property
    def experience_spec(self) -> dict[str, PartitionSpec]:
        """How `experience` lies on the mesh."""
        spec = {"games": SPLIT, "window": SPLIT}
        return spec | {"player": WHOLE, "promotions": WHOLE} if self.config.gating.games else spec

    def experience(self, params: PyTree, statistics: PyTree) -> dict[str, Any]:
        """Before the first game: no games, an empty window, and the untrained network as the one that plays."""
        rules, games = self.agent.rules, self.config.selfplay.games
        experience: dict[str, Any] = {"games": no_games(rules, games),
                                      "window": empty_window(rules, games, self.config.replay.iterations)}
        if self.config.gating.games:
            # copies: the trained network's arrays are donated
            experience |= {"player": jax.tree.map(jnp.copy, Variables(params, statistics)),
                           "promotions": jnp.zeros((), jnp.int32)}
        return experience

    # Self-play --------------------------------------------------------------------------------------------------

    def play(self, state: TrainState, batch: PyTree, key: jax.Array) -> tuple[TrainState, dict[str, jax.Array]]:
        """Moves batch["move"], ... of the games of iteration batch["iteration"]; the first one starts them."""
        experience = state.experience
        player = experience.get("player", variables_of(state))
        function = on_each_device(self._play, self.mesh, (WHOLE, SPLIT, SPLIT, WHOLE, WHOLE), (SPLIT, SPLIT, WHOLE))
        games, window, going = function(player, experience["games"], experience["window"], batch, key)
        state = dataclasses.replace(state, step=state.step + 1, experience={**experience, "games": games, "window": window})
        return state, {"games_in_progress": going}

    def _play(self, player: Variables, games: Games, window: Window, batch: PyTree,
              key: jax.Array) -> tuple[Games, Window, jax.Array]:
        key = self.own_key(key)
        start_key, moves_key = jax.random.split(key)
        slot = batch["iteration"] % window.lengths.shape[1]
        fresh = new_games(self.agent.rules, self.settings, len(games.ended), start_key)
        games = jax.tree.map(partial(jnp.where, batch["move"] == 0), fresh, games)

        def one_move(offset: jax.Array, carry: tuple[Games, Window]) -> tuple[Games, Window]:
            number = batch["move"] + offset

            def play(carry: tuple[Games, Window]) -> tuple[Games, Window]:
                games, recorded = play_move(self.agent, self.settings, player, carry[0], number,
                                            jax.random.fold_in(moves_key, offset))
                return games, record(carry[1], slot, number, recorded, games)

            return jax.lax.cond(jnp.all(carry[0].ended), lambda carry: carry, play, carry)

        moves = self.config.selfplay.moves_per_step
        games, window = jax.lax.fori_loop(0, moves, one_move, (games, window))
        return games, window, self.sum_over_devices(jnp.sum(~games.ended, dtype=jnp.int32))

    # Gating -----------------------------------------------------------------------------------------------------

    def gate(self, state: TrainState, batch: PyTree, key: jax.Array) -> tuple[TrainState, dict[str, jax.Array]]:
        """The trained network plays from now on if it wins enough games against the one that plays; not before iteration 1."""
        trained, player = variables_of(state), state.experience["player"]
        function = on_each_device(self._won, self.mesh, (WHOLE, WHOLE, WHOLE), WHOLE)
        won = jax.lax.cond(batch["gate"] > 0, lambda: function(trained, player, key), lambda: jnp.zeros((), jnp.int32))
        gating = self.config.gating
        # in whole games: float32 quotients miss thresholds that are reached exactly
        promoted = (batch["gate"] > 0) & (won >= math.ceil(gating.threshold * gating.games - _ROUNDING))
        experience = {**state.experience, "player": jax.tree.map(partial(jnp.where, promoted), trained, player),
                      "promotions": state.experience["promotions"] + promoted}
        return dataclasses.replace(state, step=state.step + 1, experience=experience), {"gating_games_won": won}

    def _won(self, trained: Variables, player: Variables, key: jax.Array) -> jax.Array:
        gating = self.config.gating
        first, second = (searching_player(self.agent, variables, gating.readouts, gating.resign_threshold)
                         for variables in (trained, player))
        pairs = gating.games // 2
        local = -(-pairs // self.devices)
        results = play_match(self.agent.rules, first, second, local, self.own_key(key))
        number = jnp.arange(local) + (jax.lax.axis_index(BATCH_AXES) * local if self._split else 0)
        return self.sum_over_devices(jnp.sum(jnp.where(number < pairs, results, 0)))

    # Updates ----------------------------------------------------------------------------------------------------

    def train(self, state: TrainState, batch: PyTree, key: jax.Array) -> tuple[TrainState, dict[str, jax.Array]]:
        """Updates number batch["update"], ... of iteration batch["iteration"]."""
        count = self.config.data.updates_per_step
        specs = (SPLIT, WHOLE, WHOLE, WHOLE)
        function = on_each_device(self._batches, self.mesh, specs, (PartitionSpec(None, BATCH_AXES), WHOLE))
        iteration_key = jax.random.fold_in(key, batch["iteration"])
        examples, available = function(state.experience["window"], batch["iteration"], batch["update"], iteration_key)

        def one(state: TrainState, numbered: tuple[jax.Array, Examples]) -> tuple[TrainState, dict[str, jax.Array]]:
            number, examples = numbered
            if not self.config.replay.single_pass:
                return self.update(state, examples._asdict(), ())
            skipped = {"loss": jnp.zeros(()), "gradient_norm": jnp.zeros(())}
            return jax.lax.cond(number < available, lambda state: self.update(state, examples._asdict(), ()),
                                lambda state: (state, skipped), state)

        numbers = batch["update"] + jnp.arange(count)
        if count == 1:  # no loop: see design on convolution gradients in loops on the CPU
            after, metrics = one(state, (numbers[0], jax.tree.map(lambda leaf: leaf[0], examples)))
        else:
            after, metrics = jax.lax.scan(one, state, (numbers, examples))
            metrics = jax.tree.map(lambda values: values[-1], metrics)
        return dataclasses.replace(after, step=state.step + 1), metrics

    def _batches(self, window: Window, iteration: jax.Array, update: jax.Array,
                 key: jax.Array) -> tuple[Examples, jax.Array]:
        """Examples [updates, rows, ...] of this device, and how many updates a single pass has, on all devices."""
        count, rows = self.config.data.updates_per_step, self.config.data.batch_size // self.devices
        newest = iteration % window.lengths.shape[1]
        examples = drawn(window, newest, update * rows, count * rows, self.own_key(key), self.samples, self.agent.rules)
        available = positions_to_learn(window, newest, self.samples)[0] // rows
        if self._split:
            available = jax.lax.pmin(available, BATCH_AXES)
        return jax.tree.map(lambda leaf: leaf.reshape(count, rows, *leaf.shape[1:]), examples), available


def make_loss(agent: Agent, value_weight: float) -> Callable[..., LossOutput]:
    """Cross entropy with the searched policy, and value_weight times the squared error of Black's value (`dual_net.py`)."""

    def loss(params: PyTree, model_state: PyTree, batch: PyTree, key: jax.Array, data: PyTree) -> LossOutput:
        model = agent.network.bound(params, model_state)
        logits, value = model(batch["planes"], train=True)
        policy = -jnp.sum(batch["policy"] * jax.nn.log_softmax(logits), axis=-1)
        error = jnp.square(value - batch["winner"])
        statistics = nnx.to_pure_dict(nnx.state(model, nnx.BatchStat))
        return LossOutput(jnp.sum(policy + value_weight * error), jnp.float32(len(value)), statistics)

    return loss
