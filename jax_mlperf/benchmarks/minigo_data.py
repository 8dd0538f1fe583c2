"""The data verbs of the minigo benchmark: which recorded games a config reads, and fetching, checking and preparing them."""

from pathlib import Path

from ml_collections import ConfigDict

from jax_mlperf.benchmarks import data_checks
from jax_mlperf.data import pro_games
from jax_mlperf.errors import UserError


def settings(config: ConfigDict) -> pro_games.Settings:
    """Which recorded games the config evaluates with: those of move prediction, none for win rates.

    Raises:
      UserError: an unknown source, one that does not fit the metric or the board, or a folder that nothing would be read from.
    """
    data, metric, size = config.data, config.evaluation.metric, config.game.board_size
    if data.source not in pro_games.SOURCES:
        raise UserError(f"config.data.source is {data.source!r}; there are: {', '.join(pro_games.SOURCES)}")
    needed = "pro_games" if metric == "move_prediction" else "none"
    if data.source != needed:
        raise UserError(f"config.data.source is {data.source!r}, but evaluation.metric {metric!r} needs {needed!r}: "
                        f"set --config.data.source={needed}")
    if needed == "pro_games" and size != pro_games.SIZE:
        raise UserError(f"config.game.board_size is {size}, but the games of evaluation.metric 'move_prediction' are "
                        f"{pro_games.SIZE}x{pro_games.SIZE}: set it to {pro_games.SIZE}, or --config.evaluation.metric=win_rate "
                        "and --config.data.source=none")
    if data.source == "none" and data.raw_dir:
        raise UserError(f"config.data.raw_dir is {data.raw_dir!r}, but this config reads no files: leave it empty")
    return pro_games.Settings(data.source, data.raw_dir)


def data_command(action: str, config: ConfigDict, data_dir: Path, *, mirror: str | None, workers: int) -> None:
    """`python -m jax_mlperf data download|verify|prepare` for this benchmark."""
    chosen = settings(config)
    if chosen.source == "none":
        print(f"nothing to {action}: all games of this config are played while it runs")
    else:
        data_checks.execute(action, pro_games, chosen, config, data_dir, mirror)
