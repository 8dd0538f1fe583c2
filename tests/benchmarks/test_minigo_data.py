"""The data verbs of the minigo benchmark."""

import pytest
from ml_collections import ConfigDict

from jax_mlperf.benchmarks.minigo_data import data_command, settings
from jax_mlperf.data.pro_games import Settings
from jax_mlperf.errors import UserError

WIN_RATE = {"evaluation.metric": "win_rate", "data.source": "none"}


def config(**changes) -> ConfigDict:
    made = ConfigDict({"benchmark": "minigo", "variant": "", "game": {"board_size": 9},
                       "data": {"source": "pro_games", "raw_dir": ""}, "evaluation": {"metric": "move_prediction"}})
    made.update_from_flattened_dict(changes)
    return made


def test_settings_of_a_config():
    assert settings(config()) == Settings()
    assert settings(config(**{"data.raw_dir": "x"})) == Settings(raw_dir="x")
    assert settings(config(**WIN_RATE, **{"game.board_size": 5})) == Settings("none")


@pytest.mark.parametrize("changes, message", [
    ({"data.source": "pro"}, "config.data.source is 'pro'; there are: pro_games, none"),
    ({"data.source": "none"}, "'none', but evaluation.metric 'move_prediction' needs 'pro_games': set --config.data.source=pro_games"),
    ({"evaluation.metric": "win_rate"}, "'pro_games', but evaluation.metric 'win_rate' needs 'none'"),
    ({"game.board_size": 19}, "config.game.board_size is 19, but the games of evaluation.metric 'move_prediction' are 9x9: set it to 9"),
    ({**WIN_RATE, "data.raw_dir": "x"}, "config.data.raw_dir is 'x', but this config reads no files: leave it empty"),
])
def test_mistakes_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        settings(config(**changes))


def test_verbs(tmp_path, shared_data, capsys):
    own = config(**{"data.raw_dir": str(shared_data / "go9x9_pro")})
    data_command("verify", own, tmp_path, mirror=None, workers=1)
    assert capsys.readouterr().out.count("ok  ") == 4
    data_command("prepare", own, tmp_path, mirror=None, workers=1)
    assert capsys.readouterr().out.startswith(f"prepared {tmp_path}/prepared/go9x9_pro-")
    with pytest.raises(UserError, match=r"4 of 4 files .*YKSH\.sgf first \(missing\); get them again with: .*data download minigo"):
        data_command("verify", config(), tmp_path, mirror=None, workers=1)


@pytest.mark.parametrize("action", ["download", "verify", "prepare"])
def test_configs_without_files_say_so(tmp_path, capsys, action):
    data_command(action, config(**WIN_RATE), tmp_path, mirror=None, workers=1)
    assert capsys.readouterr().out == f"nothing to {action}: all games of this config are played while it runs\n"
    assert not any(tmp_path.iterdir())
