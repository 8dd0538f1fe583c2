"""Go by self-play: 9x9, random weights to 40 % of the professionals' moves (MLPerf v0.5), closed division.

    python run.py --config=configs/minigo.py

An epoch is an iteration: 2,000 games of self-play, 6,250 updates, an evaluation, and a match for who plays next. Nothing but
four recorded games is read. Variants, all in the open division:
  :win_rate  rules v0.6: half of 100 games won against a fixed network (--config.evaluation.opponent=WORKDIR)
  :gumbel    the default's target with Gumbel search of 32 readouts, large batches and the newest network at play
  :tiny      5x5, a small network, Gumbel search of 16 readouts; two CPU cores, a minute or two to 95 % of the games
             against a player of random moves
"""

from ml_collections import ConfigDict

from jax_mlperf.config import base_config
from jax_mlperf.errors import UserError


def get_config(variant: str = "") -> ConfigDict:
    """The config of a variant: the closed benchmark and what differs from it."""
    config = base_config()
    config.benchmark = "minigo"
    config.quality_target = 0.4         # of the professionals' moves (or of the games against the opponent)
    config.max_epochs = 1000.0          # iterations
    config.log_every_steps = 10
    config.checkpoint_every_steps = 0
    config.prefetch_batches = 16
    config.game = ConfigDict({
        "board_size": 9, "komi": 7.5, "max_moves": 114,
        "superko": False,               # True: who recreates an earlier board loses
    })
    config.model = ConfigDict({
        "planes": "agz",                # agz (8 boards, the side to move), mlperf07 (4 boards, liberties)
        "filters": 32, "blocks": 9, "value_width": 64, "conv_bias": True, "bn_momentum": 0.997, "bn_epsilon": 1e-5,
        "initial_weights": "",          # work folder whose newest checkpoint training starts from; empty: random weights
    })
    config.selfplay = ConfigDict({
        "games": 2000,                  # an iteration; all of them start together
        "readouts": 200,
        "search": "puct",               # puct (minigo's), gumbel
        # puct
        "puct": "v0.5",                 # v0.5, v0.6 (and later): selection formula, start values, where the noise goes
        "dirichlet_alpha": 0.03 * 361 / 81, "noise_weight": 0.25,
        "sampled_moves": 7,             # of the game, drawn in proportion to the visits; the most visited move later
        "target_moves": 6, "target_exponent": 0.95,     # the policy to learn is visits ** exponent for the first moves
        # gumbel
        "considered_actions": 16,
        "resign_threshold": -0.95, "resign_disabled": 0.05, "holdout": 0.0,     # shares of the games
        "moves_per_step": 1,
    })
    config.replay = ConfigDict({
        "iterations": 25,               # whose games are kept
        "positions": 2_000_000,         # of the newest games that are drawn from; 0: all that are kept
        "kept": 0.05,                   # share of them that an iteration learns from
        "single_pass": False,           # at most once from each; False: as often as the updates need
        "symmetries": False,            # rotate and reflect what is learned from
    })
    config.data = ConfigDict({
        "source": "pro_games",          # the four professional games; none: no data
        "raw_dir": "",                  # folder of the original files; empty: the downloaded ones
        "batch_size": 16, "updates": 6250,      # an iteration, at most
        "updates_per_step": 125,
    })
    config.optimizer = ConfigDict({
        "name": "sgd", "learning_rates": (0.01, 0.001, 0.0001), "boundaries": (1_000_000, 2_000_000), "momentum": 0.9,
        "weight_decay": 1e-4,
        "decayed": "not_biases",        # not_biases (v0.5), not_biases_nor_offsets (v0.6 and later)
        "value_weight": 1.0,            # of the squared error beside the cross entropy
    })
    config.gating = ConfigDict({        # a new network plays when it wins such a share of games against the one that plays
        "games": 100, "readouts": 200, "threshold": 0.55, "resign_threshold": -0.9})    # games 0: the newest one plays
    config.evaluation = ConfigDict({
        "metric": "move_prediction",    # move_prediction, win_rate
        "readouts": 1000,               # 0: the network's first choice
        "rounds": 2,                    # move_prediction: over the four games
        # win_rate
        "games": 100, "resign_threshold": -1.0,
        "opponent": "",                 # "random", or a work folder of this benchmark
    })
    if variant and variant not in _VARIANTS:
        raise UserError(f"configs/minigo.py has no variant {variant!r}; there are: {', '.join(_VARIANTS)}")
    if variant:
        config.division = "open"
        config.update(_VARIANTS[variant])
    return config


_VARIANTS = {
    "win_rate": {
        "quality_target": 0.5,
        "game": {"max_moves": 162},
        "model": {"conv_bias": False, "bn_momentum": 0.95},
        "selfplay": {"games": 4096, "readouts": 240, "puct": "v0.6", "dirichlet_alpha": 0.1337, "sampled_moves": 6,
                     "target_exponent": 0.98, "resign_threshold": -0.99, "resign_disabled": 0.1, "holdout": 0.03},
        "replay": {"iterations": 10, "positions": 0, "kept": 0.5, "single_pass": True, "symmetries": True},
        "data": {"source": "none", "batch_size": 4096, "updates": 810, "updates_per_step": 81},
        "optimizer": {"learning_rates": (0.16, 0.016, 0.0016), "boundaries": (25_000, 37_500),
                      "decayed": "not_biases_nor_offsets", "value_weight": 0.25},
        "gating": {"readouts": 240, "threshold": 0.49, "resign_threshold": -0.99},
        "evaluation": {"metric": "win_rate", "readouts": 240, "resign_threshold": -0.99},
    },
    "gumbel": {
        "model": {"conv_bias": False, "bn_momentum": 0.95},
        "selfplay": {"games": 4096, "readouts": 32, "search": "gumbel", "resign_threshold": -0.99, "resign_disabled": 0.1},
        "replay": {"iterations": 10, "positions": 0, "kept": 1.0, "symmetries": True},
        "data": {"batch_size": 2048, "updates": 250, "updates_per_step": 50},
        "optimizer": {"learning_rates": (0.1, 0.01), "boundaries": (50_000,), "decayed": "not_biases_nor_offsets"},
        "gating": {"games": 0},
    },
    "tiny": {
        "quality_target": 0.95,
        "max_epochs": 40.0,
        "compute_dtype": "float32",
        "rng_impl": "hash32",
        "game": {"board_size": 5, "komi": 0.5, "max_moves": 50},
        "model": {"filters": 16, "blocks": 2, "value_width": 32, "conv_bias": False, "bn_momentum": 0.95},
        "selfplay": {"games": 128, "readouts": 16, "search": "gumbel", "considered_actions": 8, "resign_threshold": -1.0,
                     "resign_disabled": 0.0, "moves_per_step": 50},
        "replay": {"iterations": 4, "positions": 0, "kept": 1.0, "symmetries": True},
        "data": {"source": "none", "batch_size": 256, "updates": 32, "updates_per_step": 1},
        "optimizer": {"learning_rates": (0.05,), "boundaries": (), "decayed": "not_biases_nor_offsets"},
        "gating": {"games": 0},
        "evaluation": {"metric": "win_rate", "readouts": 8, "games": 128, "opponent": "random"},
    },
}
