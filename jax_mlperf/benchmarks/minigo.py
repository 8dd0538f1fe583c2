"""Reinforcement learning (minigo): Go by self-play with tree search on the devices; professionals' moves found, or games won.

An epoch is an iteration: a gating match, self-play move by move, updates, an evaluation. Facts: MLPerf Training v0.5 and v0.6,
`mlcommons/training@ea50328d` and `@8839e658`, reinforcement/tensorflow/minigo.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jax_mlperf.benchmark import DataFile, LogEntry, Topology, TrainState
from jax_mlperf.benchmarks.minigo_checkpoint import alone, check_initial_weights, config_of, variables_from
from jax_mlperf.benchmarks.minigo_data import settings
from jax_mlperf.benchmarks.minigo_evaluation import make_metric, padded
from jax_mlperf.benchmarks.minigo_settings import agent_of, check
from jax_mlperf.benchmarks.minigo_steps import SPLIT, WHOLE, Steps, make_loss, on_each_device, variables_of
from jax_mlperf.benchmarks.prepared import PreparedBenchmark
from jax_mlperf.data import pro_games
from jax_mlperf.flops import count_flops
from jax_mlperf.ops.hash_rng import key_data_shape, key_implementation
from jax_mlperf.optim import momentum_sgd
from jax_mlperf.parallel.mesh import check_batch_divides, make_mesh, placed_like
from jax_mlperf.quality import Quality
from jax_mlperf.schedules import piecewise_schedule
from jax_mlperf.search.puct import VALUE_PENALTY
from jax_mlperf.selfplay.agent import Variables
from jax_mlperf.selfplay.games import Games, starts
from jax_mlperf.supervised import supervised_step
from jax_mlperf.types import PyTree

# Of the run's key: draws from the window, which last for an iteration, and evaluations; those of steps are numbered from 0.
_WINDOW_KEY, _EVALUATION_KEY = 2**32 - 1, 2**32 - 2


class MinigoBenchmark(PreparedBenchmark):
    """The benchmark for a config, a topology and a data folder; see Benchmark.

    A training step is one of three kinds, told by its batch: {"gate"}, {"iteration", "move"} or {"iteration", "update"}, int32
    scalars all. Games and the replay window are the experience of the state; an iteration's games are split over the devices.
    """

    name = "minigo"
    source = pro_games
    settings = staticmethod(settings)

    def __init__(self, config: ConfigDict, topology: Topology, data_dir: Path) -> None:
        super().__init__(config, topology, data_dir)
        check(config)
        check_initial_weights(config)
        self._reads_games = settings(config).source == "pro_games"
        for count, key in ((config.selfplay.games, "selfplay.games"), (config.data.batch_size, "data.batch_size")):
            check_batch_divides(count, topology.devices, f"config.{key} of")
        mesh = topology.mesh
        self.agent = agent_of(config, bn_devices=mesh.shape["data"] if mesh else 1)
        self.metric = make_metric(config, self.agent, data_dir, self.folder)
        self.quality = Quality({config.evaluation.metric: config.quality_target})
        self.global_batch_size = config.data.batch_size
        self.train_samples = config.data.updates * config.data.batch_size
        self.eval_samples = self.metric.samples
        self._gates = int(config.gating.games > 0)
        self._plays = -(-config.game.max_moves // config.selfplay.moves_per_step)
        self._trains = config.data.updates // config.data.updates_per_step
        self.steps_per_epoch = self._gates + self._plays + self._trains
        scalar = jax.ShapeDtypeStruct((), jnp.int32)
        self.batch_specs = (*[{"gate": scalar}] * self._gates, {"iteration": scalar, "move": scalar},
                            {"iteration": scalar, "update": scalar})
        rows = -(-len(self.metric.rows()) // topology.devices) * topology.devices
        self.eval_batch_spec = {"row": jax.ShapeDtypeStruct((rows,), jnp.int32)}
        self.host_data_spec = self.metric.host_data_spec
        self._key_implementation = key_implementation(config.rng_impl)
        optimizer = config.optimizer
        rates = optimizer.learning_rates
        self._schedule = piecewise_schedule(rates[0], 0, optimizer.boundaries, [rate / rates[0] for rate in rates[1:]])
        self.optimizer = momentum_sgd(self._schedule, optimizer.momentum, optimizer.weight_decay, decayed=optimizer.decayed)
        update = supervised_step(make_loss(self.agent, optimizer.value_weight), self.optimizer, rng_impl=self._key_implementation,
                                 mesh=mesh)
        self.steps = Steps(config, self.agent, mesh, update)
        self.experience_spec = self.steps.experience_spec
        self._evaluation = on_each_device(self._sums, mesh, (WHOLE, SPLIT, SPLIT, WHOLE, WHOLE), WHOLE)

    # Data -------------------------------------------------------------------------------------------------------

    def data_files(self) -> list[DataFile]:
        """The prepared professional games, where they are read."""
        return super().data_files() if self._reads_games else []

    def data_fingerprint(self) -> str:
        """That of the professional games, where they are read."""
        return super().data_fingerprint() if self._reads_games else ""

    def host_data(self) -> PyTree:
        """The recorded games, or the opponent's network."""
        return self.metric.host_data()

    def device_data(self, host: PyTree) -> PyTree:
        """The positions of the recorded games, or the opponent's network."""
        return self.metric.device_data(host)

    def train_batches(self, seed: int, step: int) -> Iterator[PyTree]:
        """What each step does; nothing of it depends on the seed, which the state has."""
        config = self.config
        while True:
            iteration, place = divmod(step, self.steps_per_epoch)
            place -= self._gates
            if place < 0:
                batch = {"gate": iteration}
            elif place < self._plays:
                batch = {"iteration": iteration, "move": place * config.selfplay.moves_per_step}
            else:
                batch = {"iteration": iteration, "update": (place - self._plays) * config.data.updates_per_step}
            yield jax.tree.map(np.int32, batch)
            step += 1

    def eval_batches(self) -> Iterator[PyTree]:
        """All positions, or pairs of games, at once."""
        yield from padded(self.metric.rows(), self.topology)

    # Model ------------------------------------------------------------------------------------------------------

    def init(self, key_data: jax.Array) -> TrainState:
        """The initial state; see Benchmark."""
        params, statistics = self.agent.network.init(jax.random.wrap_key_data(key_data, impl=self._key_implementation))
        return TrainState(jnp.zeros((), jnp.int32), params, statistics, self.optimizer.init(params), key_data,
                          self.steps.experience(params, statistics))

    def starting_point(self, state: TrainState) -> TrainState:
        """The state with another run's network, where the config names one; see Benchmark."""
        if not self.config.model.initial_weights:
            return state
        folder = Path(self.config.model.initial_weights)
        variables = variables_from(config_of(folder), self.data_dir, folder)
        params, statistics = placed_like(variables, variables_of(state))
        experience = dict(state.experience)
        if self._gates:
            experience["player"] = placed_like(variables, experience["player"])
        return dataclasses.replace(state, params=params, model_state=statistics, experience=experience)

    def train_step(self, state: TrainState, batch: PyTree, data: PyTree) -> tuple[TrainState, dict[str, jax.Array]]:
        """A gating match, moves of self-play, or updates; see Benchmark."""
        key = jax.random.wrap_key_data(state.rng, impl=self._key_implementation)
        if "update" in batch:
            return self.steps.train(state, batch, jax.random.fold_in(key, _WINDOW_KEY))
        kind = self.steps.gate if "gate" in batch else self.steps.play
        return kind(state, batch, jax.random.fold_in(key, state.step))

    def eval_step(self, state: TrainState, batch: PyTree, data: PyTree) -> dict[str, jax.Array]:
        """Counts over the batch, and over the iteration's games."""
        key = jax.random.fold_in(jax.random.wrap_key_data(state.rng, impl=self._key_implementation), _EVALUATION_KEY)
        sums = self._evaluation(variables_of(state), state.experience["games"], batch["row"], data,
                                jax.random.fold_in(key, state.step))
        return sums | ({"promotions": state.experience["promotions"]} if self._gates else {})

    def _sums(self, variables: Variables, games: Games, rows: jax.Array, data: PyTree, key: jax.Array) -> dict[str, jax.Array]:
        played = games.winner != 0  # also a game whose first move is a resignation
        played_out = played & ~games.may_resign
        self_play = {"games": played, "black_wins": games.winner > 0, "resigned": games.resigned, "moves": games.position.moves,
                     "played_out": played_out, "misjudged": played_out & (games.would_resign == games.winner)}
        counts = {name: jnp.sum(values, dtype=jnp.int32) for name, values in self_play.items()}
        right = self.metric.right(variables, rows, data, self.steps.own_key(key))
        return jax.tree.map(self.steps.sum_over_devices, counts | {"right": right})

    # Quality and log --------------------------------------------------------------------------------------------

    def score(self, outputs: list[PyTree]) -> dict[str, float]:
        """The metric as a fraction; of the iteration's games the number, mean length, and shares won by black and resigned.

        `false_resignations` is the share of the games without resignation whose winner would have resigned first: AlphaGo Zero's
        measure of a threshold that is too high (Silver et al., Nature 2017: to be kept below 5 %).
        """
        (output,) = ({name: int(value) for name, value in output.items()} for output in outputs)
        games = max(output["games"], 1)
        metrics = {self.config.evaluation.metric: output["right"] / self.metric.samples, "games": float(output["games"]),
                   "moves_per_game": output["moves"] / games, "black_wins": output["black_wins"] / games,
                   "resigned": output["resigned"] / games}
        if self.config.selfplay.resign_disabled:
            metrics["false_resignations"] = output["misjudged"] / max(output["played_out"], 1)
        return metrics | ({"promotions": float(output["promotions"])} if self._gates else {})

    def logged_quality(self, metrics: Mapping[str, float]) -> float:
        """As a fraction."""
        return round(metrics[self.config.evaluation.metric], 6)

    def evaluation_entries(self, metrics: Mapping[str, float]) -> list[LogEntry]:
        """How many games the iteration played."""
        return [LogEntry("actual_selfplay_games_per_generation", int(metrics["games"]))]

    def hyperparameters(self) -> list[LogEntry]:
        """The keys of rulesets 0.7.0 to 2.1.0 (closed_minigo.yaml), and what submissions logged beside them."""
        play, replay, optimizer = self.config.selfplay, self.config.replay, self.config.optimizer
        values: dict[str, Any] = {
            "train_batch_size": self.config.data.batch_size, "lr_rates": ",".join(map(str, optimizer.learning_rates)),
            "lr_boundaries": ",".join(map(str, optimizer.boundaries)), "min_selfplay_games_per_generation": play.games,
            "opt_name": optimizer.name, "opt_momentum": optimizer.momentum, "opt_weight_decay": optimizer.weight_decay,
            "filter_amount": replay.kept, "window_size": replay.iterations, "num_readouts": play.readouts,
            "value_init_penalty": VALUE_PENALTY if play.puct == "v0.6" else 0.0, "holdout_pct": play.holdout,
            "disable_resign_pct": play.resign_disabled, "resign_threshold": play.resign_threshold, "virtual_losses": 1,
            "eval_games": self.metric.samples if self.config.evaluation.metric == "win_rate" else 0,
            "board_size": self.config.game.board_size, "search": play.search, "opponent": self.config.evaluation.opponent,
        }
        return [LogEntry(key, value) for key, value in values.items()]

    def learning_rate(self, step: int) -> float:
        """Of the update in, or next after, a step, all updates of every iteration taken as made."""
        iteration, place = divmod(step, self.steps_per_epoch)
        made = max(0, place - self._gates - self._plays) * self.config.data.updates_per_step
        return float(self._schedule(iteration * self.config.data.updates + made))

    def samples_in(self, spec: PyTree) -> int:
        """Positions that the network sees in a step: of the batches, or of the search; games that have ended are counted too."""
        play, gating = self.config.selfplay, self.config.gating
        if "update" in spec:
            return self.config.data.updates_per_step * self.config.data.batch_size
        if "gate" in spec:
            return gating.games * self.config.game.max_moves * (gating.readouts + 1)
        return play.games * play.moves_per_step * (play.readouts + 1)

    def forward_flops(self, spec: PyTree) -> int:
        """Convolutions and dense layers for all positions of a step."""
        return self.samples_in(spec) * self._flops_per_position

    def train_flops_per_step(self) -> float:
        """The mean over an iteration; games that have ended are counted too."""
        times = [self._gates, self._plays, 3 * self._trains][-len(self.batch_specs):]
        flops = [count * self.forward_flops(spec) for count, spec in zip(times, self.batch_specs, strict=True)]
        return sum(flops) / self.steps_per_epoch

    @functools.cached_property
    def _flops_per_position(self) -> int:
        state = jax.eval_shape(self.init, key_data_shape(self.config.rng_impl))
        rules = self.agent.rules
        evaluate = self.agent.evaluate_fn
        position = jax.eval_shape(lambda: starts(rules, 1))
        key = jax.eval_shape(lambda: jax.random.key(0))
        return count_flops(lambda variables, *arguments: evaluate(variables)(*arguments), variables_of(state), position, key)


def benchmark_on_one_device(config: ConfigDict, data_dir: Path) -> MinigoBenchmark:
    """The benchmark of a config as one device of this process has it, whatever it was trained on, and against random moves."""
    return MinigoBenchmark(alone(config), Topology(1, mesh=make_mesh(1, 1, jax.local_devices()[:1])), data_dir)
