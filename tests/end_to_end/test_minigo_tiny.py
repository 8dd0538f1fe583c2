"""minigo:tiny through run.py in real processes: killed in the middle, resumed to its target, official checker; its games as SGF."""

import subprocess

import pytest
from tiny_runs import assert_passes_the_official_checker, assert_reached, command, killed_and_resumed

from jax_mlperf.go import sgf

pytestmark = pytest.mark.slow


def test_minigo_tiny(tmp_path, repository):
    _, resumed = killed_and_resumed(tmp_path, repository, "configs/minigo.py:tiny", "--config.seed=1")
    assert_reached(tmp_path, resumed, least=0.95)
    assert_passes_the_official_checker(tmp_path, "2.1.0")
    shown = subprocess.run(**command("-m", "jax_mlperf", "games", "--config=configs/minigo.py:tiny", f"--workdir={tmp_path}/w",
                                     f"--out={tmp_path}/games"), cwd=repository, capture_output=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    games = [sgf.read_file(path) for path in sorted((tmp_path / "games").glob("*.sgf"))]
    assert len(games) == 128 and all(game.size == 5 and game.result and game.moves for game in games)
