"""BERT's log with the benchmark's own lines against the official checker, at the oldest, the strictest and the newest ruleset."""

import json
from pathlib import Path

import pytest
from generated_logs import write_run
from official_checker import official_violations

from jax_mlperf import benchmarks
from jax_mlperf.benchmark import Topology
from jax_mlperf.config import load_config
from jax_mlperf.mlperf.checking.check import check_file
from jax_mlperf.run_facts import common_entries

pytestmark = pytest.mark.slow  # the shapes of BERT-large take seconds

RULESETS = ("0.7.0", "2.1.0", "5.0.0")


@pytest.fixture(scope="module")
def entries():
    """The lines before init_stop as the benchmark writes them."""
    made = benchmarks.create(load_config("bert"), Topology(1), Path("absent"))
    return common_entries(made) + made.hyperparameters()


@pytest.fixture
def log(tmp_path, entries):
    """A passing log; a tool to leave lines out or change them."""
    def write(without=(), first_tensors=None, replaced=(), quality=0.7203):
        path = write_run(tmp_path / "result_0.txt", "bert", epoch=2_400_384, quality=quality, ruleset_lines=False)
        keys = {entry.key for entry in entries}
        lines = [line for line in path.read_text().splitlines(True) if json.loads(line.removeprefix(":::MLLOG "))["key"] not in keys]
        tensors = [entry for entry in entries if entry.key == "weights_initialization"]
        left = [entry for entry in entries if entry.key not in (*without, "weights_initialization")]
        added = [":::MLLOG " + json.dumps({
            "namespace": "", "time_ms": 1_700_000_000_100, "event_type": "POINT_IN_TIME", "key": entry.key,
            "value": dict(replaced).get(entry.key, entry.value),
            "metadata": {"file": "trainer.py", "lineno": 1, **(entry.metadata or {})}}) + "\n"
            for entry in left + tensors[:first_tensors]]
        stop = next(number for number, line in enumerate(lines) if '"init_stop"' in line)
        path.write_text("".join(lines[:stop] + added + lines[stop:]))
        return path

    return write


@pytest.mark.parametrize("ruleset", RULESETS)
def test_one_log_passes_all_rulesets(log, ruleset):
    path = log()
    assert official_violations(path, ruleset) == 0
    assert check_file(path, ruleset).passed
    assert path.read_text().count('"weights_initialization"') == 398


NEEDED = ["global_batch_size", "opt_base_learning_rate", "opt_learning_rate_training_steps", "opt_learning_rate_warmup_steps",
          "num_warmup_steps", "start_warmup_step", "opt_lamb_beta_1", "opt_lamb_beta_2", "opt_lamb_weight_decay_rate", "train_samples",
          "eval_samples"]


@pytest.mark.parametrize("ruleset, changes", [
    *(("5.0.0", {"without": [key]}) for key in [*NEEDED, "opt_lamb_epsilon", "gradient_accumulation_steps"]),
    *((ruleset, {"without": [epsilon]}) for ruleset, epsilon in (("0.7.0", "opt_epsilon"), ("2.1.0", "opt_lamb_epsilon"))),
    ("2.1.0", {"first_tensors": 397}), ("5.0.0", {"quality": 0.7199}), ("2.1.0", {"quality": 0.7199}), ("0.7.0", {"quality": 0.7119}),
])
def test_the_checker_misses_what_is_left_out_and_reads_the_target(log, ruleset, changes):
    path = log(**changes)
    assert official_violations(path, ruleset) > 0
    assert not check_file(path, ruleset).passed


@pytest.mark.parametrize("batch, quality, violations", [(448, 0.712, 0), (448, 0.7061, 1), (8192, 0.7061, 0), (8192, 0.7059, 1)])
def test_the_target_of_the_first_round_depends_on_the_batch_size(log, batch, quality, violations):
    path = log(replaced=[("global_batch_size", batch)], quality=quality)
    assert official_violations(path, "0.7.0") == violations and check_file(path, "0.7.0").passed == (not violations)
