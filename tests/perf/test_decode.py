"""The comparison of decoders runs: three ways, each in its own process."""

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
def test_every_way_is_measured(shared_data, repository):
    command = [sys.executable, repository / "perf/decode.py", shared_data / "tfds/imagenet2012",
               "--cores=1", "--images=80", "--rounds=1", "--size=64", "--json"]  # fmt: skip
    rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=200).stdout)
    assert [row["way"] for row in rows] == ["jax_mlperf", "tf.data", "pillow"]
    assert all(20 < row["images_per_sec"] < 20_000 and 0.05 < row["cpu_ms"] < 50 for row in rows)
    assert rows[0]["ours_is_times"] == rows[0]["cpu_times_ours"] == 1
