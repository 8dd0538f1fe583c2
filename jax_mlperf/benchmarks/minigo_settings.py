"""What a minigo config says, checked and made into the objects that play."""

import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from jax_mlperf.benchmarks.config_checks import LARGEST, check_bounds, check_dtype
from jax_mlperf.errors import UserError
from jax_mlperf.go.features import plane_count
from jax_mlperf.go.rules import Rules
from jax_mlperf.models.go_net import GoNet
from jax_mlperf.models.network import Network
from jax_mlperf.search.types import DirichletNoise
from jax_mlperf.selfplay.agent import Agent, SearchSettings
from jax_mlperf.selfplay.games import PlaySettings
from jax_mlperf.selfplay.window import SampleSettings

RANDOM = "random"  # the opponent of random moves
_CHOICES = {
    "model.planes": ("agz", "mlperf07"), "selfplay.search": ("puct", "gumbel"), "selfplay.puct": ("v0.5", "v0.6"),
    "optimizer.name": ("sgd",), "optimizer.decayed": ("not_biases", "not_biases_nor_offsets"),
    "evaluation.metric": ("move_prediction", "win_rate"),
}
MOST_READOUTS = 100_000  # a node takes some KB
_READOUTS = ("selfplay.readouts", "gating.readouts", "evaluation.readouts")
_MOST_KOMI = 361  # all points of the largest board
_THRESHOLDS = ("selfplay.resign_threshold", "gating.resign_threshold", "evaluation.resign_threshold")
_SHARES = ("selfplay.noise_weight", "selfplay.resign_disabled", "selfplay.holdout", "replay.kept", "gating.threshold")
_AT_LEAST_ONE = (
    "game.board_size", "game.max_moves", "model.filters", "model.value_width", "selfplay.games", "selfplay.considered_actions",
    "selfplay.readouts", "selfplay.moves_per_step", "replay.iterations", "data.batch_size", "data.updates",
    "data.updates_per_step", "evaluation.rounds", "evaluation.games")
_AT_LEAST_ZERO = (
    "model.blocks", "selfplay.sampled_moves", "selfplay.target_moves", "replay.positions", "gating.games", "gating.readouts",
    "evaluation.readouts")
_BOUNDS = (
    *((key, ">=", 0) for key in (*_SHARES, *_AT_LEAST_ZERO)), *((key, "<=", 1) for key in _SHARES),
    *((key, ">=", 1) for key in _AT_LEAST_ONE),
    *((key, "<=", LARGEST) for key in (*_AT_LEAST_ONE, *_AT_LEAST_ZERO)),
    *((key, "<=", 0) for key in _THRESHOLDS), *((key, "<=", MOST_READOUTS) for key in _READOUTS),
    ("selfplay.dirichlet_alpha", ">", 0), ("selfplay.dirichlet_alpha", "<=", 1000),
    ("selfplay.target_exponent", ">", 0), ("selfplay.holdout", "<", 1),
    ("replay.kept", ">", 0), ("game.max_moves", "<=", 2**15 - 1),
    ("model.bn_momentum", ">=", 0), ("model.bn_momentum", "<", 1), ("model.bn_epsilon", ">", 0),
    ("optimizer.learning_rates", ">", 0), ("optimizer.boundaries", ">=", 0), ("optimizer.boundaries", "<=", LARGEST),
    ("optimizer.momentum", ">=", 0), ("optimizer.momentum", "<", 1),
    ("optimizer.weight_decay", ">=", 0), ("optimizer.value_weight", ">=", 0),
    ("quality_target", ">", 0), ("quality_target", "<=", 1),
    # What nobody means: float32 overflows, or a network takes hours to build.
    ("game.komi", ">=", -_MOST_KOMI), ("game.komi", "<=", _MOST_KOMI), ("selfplay.target_exponent", "<=", 4),
    ("optimizer.learning_rates", "<=", 1e6), ("optimizer.value_weight", "<=", 1e6),
    ("model.blocks", "<=", 1000), ("model.filters", "<=", 2**16), ("model.value_width", "<=", 2**16),
)


def check(config: ConfigDict) -> None:
    """Holds the values against their bounds and against each other.

    Raises:
      UserError: a value is out of its bounds, or does not fit another one.
    """
    check_bounds(config, _BOUNDS)
    check_dtype(config)
    for key, known in _CHOICES.items():
        section, name = key.split(".")
        if config[section][name] not in known:
            raise UserError(f"config.{key} is {config[section][name]!r}; there are: {', '.join(known)}")
    if config.microbatch_per_device:
        raise UserError(f"config.microbatch_per_device is {config.microbatch_per_device}, but minigo takes all rows of a device "
                        "at once: leave it at 0")
    if config.mesh.fsdp != 1:
        raise UserError(f"config.mesh.fsdp is {config.mesh.fsdp}, but minigo's network is small and its batch statistics go over "
                        "the axis mesh.data alone: leave it at 1")
    rates, boundaries = config.optimizer.learning_rates, config.optimizer.boundaries
    if len(rates) != len(boundaries) + 1 or list(boundaries) != sorted(set(boundaries)):
        raise UserError(f"config.optimizer.boundaries is {boundaries!r}, must increase and be one fewer than the "
                        f"{len(rates)} config.optimizer.learning_rates")
    if not all(type(boundary) is int for boundary in boundaries):
        raise UserError(f"config.optimizer.boundaries is {boundaries!r}, must be whole numbers: of updates made")
    if config.data.updates % config.data.updates_per_step:
        raise UserError(f"config.data.updates is {config.data.updates}, must be a multiple of config.data.updates_per_step, "
                        f"which is {config.data.updates_per_step}")
    _check_positions(config)
    metric, opponent = config.evaluation.metric, config.evaluation.opponent
    for section in ("gating", *(["evaluation"] if metric == "win_rate" else [])):
        if config[section].games % 2:
            raise UserError(f"config.{section}.games is {config[section].games}, must be even: "
                            "either network has black in half of them")
    if metric == "win_rate" and not opponent:
        raise UserError("config.evaluation.opponent is empty, but evaluation.metric 'win_rate' needs one: a work folder of "
                        f"minigo with a checkpoint, or {RANDOM!r}")


def _check_positions(config: ConfigDict) -> None:
    positions = config.replay.iterations * config.selfplay.games * config.game.max_moves
    if positions > LARGEST:
        raise UserError(f"config.replay.iterations {config.replay.iterations} x selfplay.games {config.selfplay.games} x "
                        f"game.max_moves {config.game.max_moves} are {positions:,} positions, more than the {LARGEST:,} that 31 "
                        "bits number: keep fewer iterations")
    examples = config.data.updates * config.data.batch_size
    if examples > LARGEST:
        raise UserError(f"config.data.updates x data.batch_size are {examples:,} examples, more than the {LARGEST:,} that 31 "
                        "bits number: make fewer updates")


def rules_of(config: ConfigDict) -> Rules:
    """The board and its rules; raises UserError for a size that there is not."""
    game = config.game
    return Rules(size=game.board_size, komi=float(game.komi), max_moves=game.max_moves, superko=game.superko)


def agent_of(config: ConfigDict, *, bn_devices: int = 1) -> Agent:
    """The network with its search.

    Args:
      config: a checked config.
      bn_devices: devices that share batch statistics in training.
    """
    rules, model = rules_of(config), config.model
    planes = plane_count(model.planes, rules.history)

    def build(rngs: nnx.Rngs) -> GoNet:
        return GoNet(size=rules.size, planes=planes, filters=model.filters, blocks=model.blocks,
                     value_width=model.value_width, conv_bias=model.conv_bias, bn_momentum=model.bn_momentum,
                     bn_epsilon=model.bn_epsilon, bn_devices=bn_devices, dtype=jnp.dtype(config.compute_dtype), rngs=rngs)

    search = SearchSettings(config.selfplay.search, config.selfplay.puct, config.selfplay.considered_actions)
    return Agent(rules, model.planes, Network(build), search)


def play_settings(config: ConfigDict) -> PlaySettings:
    """How self-play goes."""
    play = config.selfplay
    return PlaySettings(
        readouts=play.readouts, noise=DirichletNoise(play.dirichlet_alpha, play.noise_weight), sampled_moves=play.sampled_moves,
        pass_is_sampled=play.puct == "v0.5", target_moves=play.target_moves, target_exponent=play.target_exponent,
        resign_threshold=play.resign_threshold, resign_disabled=play.resign_disabled, holdout=play.holdout)


def sample_settings(config: ConfigDict, devices: int) -> SampleSettings:
    """What each of so many devices draws from its part of the window."""
    replay = config.replay
    return SampleSettings(-(-replay.positions // devices), replay.kept, replay.symmetries, config.model.planes)
