"""bert:tiny through run.py in real processes: killed in the middle, resumed to its target; the official checker; weights taken out."""

import subprocess

import numpy as np
import pytest
from tiny_runs import assert_passes_the_official_checker, assert_reached, command, killed_and_resumed, log_lines

from jax_mlperf.state_dict import read_state_dict

pytestmark = pytest.mark.slow


def test_bert_tiny(tmp_path, repository):
    flags, resumed = killed_and_resumed(tmp_path, repository, "configs/bert.py:tiny", "--config.seed=1")
    assert_reached(tmp_path, resumed, least=0.6)
    for ruleset in ("2.1.0", "5.0.0"):
        assert_passes_the_official_checker(tmp_path, ruleset)
    lines = log_lines(tmp_path / "w" / "result_0.txt")
    (packing,) = (line for line in lines if line["key"] == "packing_efficiency")
    assert packing["value"] > 0.9 and packing["metadata"]["sequences_per_row"] > 1.5, "rows hold several sequences"
    epochs = [line["metadata"]["epoch_num"] for line in lines if line["key"] == "eval_accuracy"]
    assert epochs == list(range(9600, 9600 * (len(epochs) + 1), 9600)), "samples, as the rules of BERT count epochs"

    weights = tmp_path / "bert.safetensors"
    converted = subprocess.run(
        **command("-m", "jax_mlperf", "convert", "--config=configs/bert.py:tiny", flags[0], f"--from={tmp_path}/w", f"--to={weights}"),
        cwd=repository, capture_output=True)
    assert converted.returncode == 0 and "46 arrays" in converted.stdout, converted.stdout + converted.stderr
    assert np.std(read_state_dict(weights)["bert.embeddings.word_embeddings.weight"]) > 0.05, "trained: they started at 0.044"
