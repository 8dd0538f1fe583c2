"""The comparison of self-play runs: Gumbel search beside the peer on the same network, and whole games with minigo's search."""

import json
import subprocess
import sys

import pytest

SMALL = ["--config.model.blocks=0", "--config.model.filters=4", "--readouts=2", "--json"]


def measured(repository, *flags):
    command = [sys.executable, repository / "perf/selfplay.py", *SMALL, *flags]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=400).stdout)["results"]


@pytest.mark.slow
def test_every_side_plays(repository):
    rows = measured(repository, "--sides=gumbel,pgx", "--games=2", "--moves=1", "--rounds=3")
    assert [row["side"] for row in rows] == ["gumbel", "pgx"]
    assert all(row["moves_per_sec"] > 1 and row["of_pgx_moves_per_sec"] > 0.05 for row in rows)
    assert rows[1]["of_pgx_moves_per_sec"] == rows[1]["of_pgx_moves_per_processor_sec"] == 1


@pytest.mark.slow
def test_whole_games_are_played_to_their_ends(repository):
    (row,) = measured(repository, "--whole", "--games=3", "--config.game.max_moves=12")
    assert 2 <= row["moves_per_game"] <= 12
    assert row["games_per_sec"] * row["moves_per_game"] == pytest.approx(row["moves_per_sec"])
