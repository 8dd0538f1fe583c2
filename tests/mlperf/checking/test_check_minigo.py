"""minigo's two definitions: the log's target tells which rules it was written for."""

import json
from pathlib import Path

import pytest
from changed_logs import changed, without
from generated_logs import write_run
from official_checker import official_violations

from jax_mlperf import benchmarks
from jax_mlperf.benchmark import Topology
from jax_mlperf.config import load_config
from jax_mlperf.mlperf.checking.check import as_text, check_file
from jax_mlperf.mlperf.checking.checker_rulesets import OWN_FOLDER
from jax_mlperf.run_facts import common_entries

# Lines that no rule is about, and values that are free.
UNNAMED = {"virtual_losses", "eval_games", "opponent"}
FREE = {"train_batch_size": 64, "lr_rates": "0.04,0.004", "lr_boundaries": "250000", "global_batch_size": 64,
        "gradient_accumulation_steps": 2, "train_samples": 99_968}


@pytest.fixture(scope="module")
def facts():
    """The lines before init_stop as the benchmark writes them."""
    made = benchmarks.create(load_config("minigo"), Topology(1), Path("absent"))
    return {entry.key: entry.value for entry in common_entries(made) + made.hyperparameters()}


def target(value):
    return {"targets": {"": value}, "higher_is_better": True, "strict": False}


def v05_log(folder, facts, *, division="closed", quality=0.4007, **changed):
    """A log of two iterations of the v0.5 definition; `changed` facts."""
    path = write_run(folder / "result_0.txt", "minigo", epoch=2, quality=quality, division=division, ruleset_lines=False)
    values = {**facts, "quality_target": target(0.4), **changed}
    lines = [line for line in path.read_text().splitlines(True) if json.loads(line.removeprefix(":::MLLOG "))["key"] not in values]
    stop = next(number for number, line in enumerate(lines) if '"init_stop"' in line)
    added = [":::MLLOG " + json.dumps({"namespace": "", "time_ms": 1_700_000_000_100, "event_type": "POINT_IN_TIME", "key": key,
                                       "value": value, "metadata": {"file": "trainer.py", "lineno": 1}}) + "\n"
             for key, value in values.items()]
    path.write_text("".join(lines[:stop] + added + lines[stop:]))
    return path


def test_the_target_tells_which_definition_a_closed_log_is_of(logs, facts, tmp_path):
    verdict = check_file(v05_log(tmp_path, facts))
    assert verdict.passed and verdict.ruleset == "own", verdict.violations
    assert "minigo, closed division, our own rules" in as_text([verdict])
    assert official_violations(verdict.path, "6.1.0", str(OWN_FOLDER / "common.yaml")) == 0, "the official command accepts the file"
    later = v05_log(tmp_path, facts, quality_target=target(0.5), quality=0.51)
    verdict = check_file(later)
    (violation,) = verdict.violations
    assert verdict.ruleset == "2.1.0" and violation.startswith("min_selfplay_games_per_generation is 2000, must be 8192")
    assert official_violations(later, "2.1.0") == 1
    verdict = check_file(without(v05_log(tmp_path, facts), tmp_path, "quality_target"))
    assert verdict.ruleset == "2.1.0" and not verdict.passed, "published logs have no such line"
    verdict = check_file(changed(logs["minigo"], tmp_path, '"value": 8192', '"value": 8191'))
    assert verdict.ruleset == "2.1.0" and "logs of other rounds: --ruleset 0.7.0" in verdict.hint


def test_the_open_division_is_the_official_one_for_both(facts, tmp_path):
    for own in (target(0.4), target(0.9)):
        log = v05_log(tmp_path, facts, division="open", quality=0.1, quality_target=own)
        verdict = check_file(log)
        assert verdict.passed and verdict.ruleset == "2.1.0" and official_violations(log, "2.1.0") == 0


def test_every_line_is_needed(facts, tmp_path):
    log = v05_log(tmp_path, facts)
    text = log.read_text()
    for key in {*facts, "seed", "actual_selfplay_games_per_generation", "eval_accuracy"} - UNNAMED:
        log.write_text(text)
        violations = check_file(without(log, tmp_path, key)).violations
        assert any(violation.startswith(f"{key} is missing") for violation in violations), (key, violations)


def test_every_fixed_value_is_checked_and_the_free_ones_are_free(facts, tmp_path):
    for key, value in facts.items():
        if key in FREE or key in UNNAMED:
            continue
        other = value + "x" if isinstance(value, str) else value / 2 if value else 0.5
        violations = check_file(v05_log(tmp_path, facts, **{key: other})).violations
        assert len(violations) == 1 and violations[0].startswith(f"{key} is "), (key, violations)
    assert check_file(v05_log(tmp_path, facts, **FREE)).passed
    assert not check_file(v05_log(tmp_path, facts, train_samples=100_001)).passed


def test_the_target_of_v05(facts, tmp_path):
    assert check_file(v05_log(tmp_path, facts, quality=0.3999)).violations == (
        "eval_accuracy: no evaluation reached 0.4 (best 0.3999, epoch 2)",)


def test_each_iteration_plays_its_games(facts, tmp_path):
    log = v05_log(tmp_path, facts)
    text = log.read_text()
    log.write_text(text.replace("8202", "1999"))
    (violation,) = check_file(log).violations
    assert violation.startswith("actual_selfplay_games_per_generation is 1999, must be at least 2000")
    last = next(line for line in text.splitlines(True) if "8202" in line)
    log.write_text(text.replace(last, ""))
    assert check_file(log).violations == (
        "a rule on the whole log does not hold: played_iterations == evaluated_epochs (evaluated_epochs is 2, "
        "played_iterations is 1)",)
