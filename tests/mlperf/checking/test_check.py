"""`check` against the official checker, and its words."""

import json
from pathlib import Path

import pytest
from changed_logs import changed, without
from generated_logs import write_run
from official_checker import official_violations

from jax_mlperf.errors import UserError
from jax_mlperf.mlperf.checking.check import as_text, check_file, passed
from jax_mlperf.mlperf.checking.checker_rulesets import default_ruleset, official_rulesets, rulesets_that_know
from jax_mlperf.mlperf.scoring.scoring_rules import RULES

# Rulesets -----------------------------------------------------------------------------------------------------------------------


def test_the_default_ruleset_is_the_newest_that_knows_the_benchmark():
    for benchmark, rule in RULES.items():
        newest = [name for name in rulesets_that_know(benchmark) if name != "own" or not rule.ruleset][-1]
        assert default_ruleset(benchmark) == newest == (rule.ruleset or "own"), benchmark
    assert default_ruleset("llama2_70b_lora") == official_rulesets()[-1]
    assert default_ruleset("made_up") is None


def test_rulesets_are_those_whose_files_and_lists_have_the_benchmark():
    assert rulesets_that_know("minigo")[-2:] == ("2.1.0", "own"), "3.0.0 has a stale file"
    assert rulesets_that_know("maskrcnn")[-1] == "3.1.0", "4.0.0 lists it and has no file"
    assert rulesets_that_know("transformer") == ("0.7.0",)


def test_an_unknown_ruleset_is_a_mistake_of_the_user(logs, tmp_path):
    with pytest.raises(UserError, match=r"no ruleset '9\.9\.9'; there are 0\.7\.0, 1\.0\.0.*own; those that know transformer: 0\.7\.0$"):
        check_file(logs["transformer"], "9.9.9")
    with pytest.raises(UserError, match="no ruleset"):
        check_file(tmp_path, "../../x")


@pytest.mark.parametrize("benchmark", ["resnet", "bert", "maskrcnn", "transformer", "minigo"])
def test_generated_logs_pass_at_their_newest_ruleset(logs, benchmark):
    verdict = check_file(logs[benchmark])
    assert verdict.passed and verdict.violations == () and verdict.ruleset == RULES[benchmark].ruleset
    assert official_violations(logs[benchmark], verdict.ruleset) == 0
    assert as_text([verdict]).endswith(f"{benchmark}.txt: {benchmark}, closed division, ruleset {verdict.ruleset}")


def test_a_deleted_line_does_not_pick_a_laxer_ruleset(logs, tmp_path):
    log = without(logs["resnet"], tmp_path, "gradient_accumulation_steps")
    assert official_violations(log, "0.7.0") == 0
    verdict = check_file(log)
    assert verdict.violations == ("gradient_accumulation_steps is missing (needed exactly once)",)
    assert "4.0.0 is the newest ruleset that knows resnet; logs of other rounds: --ruleset 0.7.0, 1.0.0" in as_text([verdict])
    assert check_file(log, "0.7.0").passed


def test_the_ruleset_that_is_asked_for_counts(logs):
    assert "submission_benchmark is 'transformer', must be one of 'resnet', 'ssd'" in as_text([check_file(logs["transformer"], "4.0.0")])
    assert not check_file(logs["resnet"], "2.1.0").passed, "2.1.0 wants the weights_initialization lines"


@pytest.mark.parametrize(("benchmark", "division", "ruleset"), [
    ("resnet", "open", None), ("maskrcnn", "open", None), ("minigo", "open", None), ("bert", "open", "2.1.0")])
def test_open_division(tmp_path, benchmark, division, ruleset):
    quality = {"BBOX": 0.1, "SEGM": 0.1} if benchmark == "maskrcnn" else 0.1
    log = write_run(tmp_path / "result_0.txt", benchmark, division=division, quality=quality, ruleset_lines=False)
    verdict = check_file(log, ruleset)
    assert verdict.passed and verdict.division == "open"
    assert official_violations(log, verdict.ruleset) == 0


# Published logs -----------------------------------------------------------------------------------------------------------------

ROUNDS = {"v0.7": "0.7.0", "v2.0": "2.0.0", "v4.0": "4.0.0", "v5.0": "5.0.0"}


@pytest.mark.parametrize(("pattern", "count"), [("*JAX/*/result_0.txt", 3), pytest.param("**/result_*.txt", 45, marks=pytest.mark.slow)])
def test_published_logs_pass_at_the_ruleset_of_their_round(shared_data, pattern, count):
    files = sorted((shared_data / "mlperf_logs" / ("v0.7" if count == 3 else "")).glob(pattern))
    assert len(files) == count
    for file in files:
        ruleset = next(ruleset for name, ruleset in ROUNDS.items() if name in file.parts)
        verdict = check_file(file, ruleset)
        assert verdict.passed, as_text([verdict])
        assert official_violations(file, ruleset) == 0


# Words --------------------------------------------------------------------------------------------------------------------------

CHANGES = [
    ("resnet", '"lars_epsilon", "value": 0.0', '"lars_epsilon", "value": 0.1', "lars_epsilon is 0.1, must be 0.0 (line 18)"),
    ("resnet", '"lars_opt_weight_decay", "value": 5e-05', '"lars_opt_weight_decay", "value": 3e-05',
     "lars_opt_weight_decay is 3e-05; the rule is is_integer(math.log2(value / 0.0001)) (line 21)"),
    ("resnet", '"global_batch_size", "value": 4096', '"global_batch_size", "value": 0', "global_batch_size is 0, must be more than 0 (line 9)"),
    ("resnet", '"global_batch_size", "value": 4096', '"global_batch_size", "value": "many"',
     "global_batch_size is 'many', to which its rule cannot be applied: value > 0 (line 9)"),
    ("resnet", '"submission_org", "value": "org"', '"submission_org", "value": ""', "submission_org is empty (line 5)"),
    ("resnet", '"submission_status", "value": "onprem"', '"submission_status", "value": "basement"',
     "submission_status is 'basement', must be one of 'cloud', 'onprem', 'preview', 'research' (line 7)"),
    ("resnet", '"value": 0.7591', '"value": 0.7581', "eval_accuracy: no evaluation reached 0.759 (best 0.7581, epoch 41)"),
    ("resnet", '"value": 0.7591', '"value": 75.91',
     "eval_accuracy: no evaluation holds the rule value >= 0.7590 and value < 1.0 (best 75.91, epoch 41); it wants fractions, not per cent"),
    ("maskrcnn", '"SEGM": 0.3402', '"SEGM": 0.3302', "eval_accuracy: no evaluation reached BBOX 0.377 and SEGM 0.339 (best BBOX 0.3781 and SEGM 0.3302, epoch 41)"),
    ("maskrcnn", '"opt_base_learning_rate", "value": 0.12', '"opt_base_learning_rate", "value": 0.13',
     "opt_base_learning_rate is 0.13; the rule is is_integer(value / 0.02) or ( global_batch_size < 16 and is_integer(0.02 / value) ) "
     "where global_batch_size is 96 (line 13)"),
    ("bert", '"value": 0.7203', '"value": 0.7103', "eval_accuracy: no evaluation reached 0.72 (best 0.7103, epoch 41)"),
    ("transformer", '"method": "discard"', '"method": "guess"',
     "max_sequence_length breaks the rule method in ['truncate', 'discard'] where method is 'guess' (line 19)"),
    ("resnet", '"epoch_num": 41', '"epoch": 41', "eval_accuracy has no epoch_num in its metadata (line 31)"),
    ("resnet", '"first_epoch_num"', '"first"', "block_start has no first_epoch_num in its metadata (line 24 and 1 more)"),
    ("resnet", '"status": "success"', '"state": "success"', "run_stop has no status in its metadata (line 34)"),
    ("resnet", '"opt_name", "value": "lars"', '"opt_name", "value": "adam"', "opt_name is 'adam', must be one of 'sgd', 'lars' (line 13)"),
    ("resnet", '"opt_name", "value": "lars"', '"opt_name", "value": "adam"',
     "the rules training_3.1.0 have no file closed_resnet_adam.yaml: they do not know this benchmark, division or optimizer"),
    ("resnet", '"submission_division", "value": "closed"', '"submission_division", "value": "ajar"',
     "submission_division is 'ajar', must be one of 'closed', 'open' (line 4)"),
]


@pytest.mark.parametrize(("benchmark", "before", "after", "expected"), CHANGES)
def test_a_changed_value_fails_in_words(logs, tmp_path, benchmark, before, after, expected):
    log = changed(logs[benchmark], tmp_path, before, after)
    verdict = check_file(log)
    assert expected in verdict.violations
    assert not verdict.passed and len(verdict.violations) >= official_violations(log, verdict.ruleset) > 0
    assert "v['" not in as_text([verdict]) and "current context" not in as_text([verdict])


@pytest.mark.parametrize("benchmark", ["resnet", *(pytest.param(name, marks=pytest.mark.slow) for name in ("bert", "maskrcnn", "transformer"))])
def test_every_deleted_line_fails_where_the_official_checker_fails(logs, tmp_path, benchmark):
    lines = logs[benchmark].read_text().splitlines(True)
    log = tmp_path / "result_0.txt"
    unneeded = []
    for number, line in enumerate(lines):
        log.write_text("".join(lines[:number] + lines[number + 1:]))
        verdict = check_file(log, RULES[benchmark].ruleset)
        count = official_violations(log, verdict.ruleset)
        assert verdict.passed == (count == 0) and len(verdict.violations) >= count
        key = json.loads(line.removeprefix(":::MLLOG "))["key"]
        assert verdict.passed or any(key in violation for violation in verdict.violations), (key, verdict.violations)
        unneeded += [key] if verdict.passed else []
    # The first evaluation, one of two blocks, the seed (the official tools look for it elsewhere), keys of other rulesets.
    others = {"bert": ["opt_epsilon", "submission_org", "submission_platform", "submission_status"], "transformer": ["gradient_accumulation_steps"]}.get(benchmark, [])
    blocks = ["block_start", "block_stop", "eval_start", "eval_stop"]
    assert sorted(unneeded) == sorted([*blocks, *blocks, "eval_accuracy", "seed", *others])


def test_a_log_of_a_killed_run(logs, tmp_path):
    text = logs["resnet"].read_text()
    (tmp_path / "result_0.txt").write_text(text[:text.index('"key": "eval_stop"') - 40])
    violations = check_file(tmp_path / "result_0.txt").violations
    assert "run_stop is missing: the log is cut off, or the run was killed or is still running" in violations
    assert any(violation.startswith("line 27 is not whole JSON") for violation in violations)


def test_lines_that_stand_there_twice(logs, tmp_path):
    text = logs["resnet"].read_text()
    line = next(line for line in text.splitlines(True) if '"global_batch_size"' in line)
    (tmp_path / "result_0.txt").write_text(text.replace(line, line + line))
    verdict = check_file(tmp_path / "result_0.txt")
    assert verdict.passed and verdict.warnings == ("global_batch_size stands there 2 times with the same value (needed exactly once)",)
    assert "warning: global_batch_size" in as_text([verdict])
    (tmp_path / "result_0.txt").write_text(text.replace(line, line.replace("4096", "256") + line.replace("4096", "512")))
    assert check_file(tmp_path / "result_0.txt").violations == ("global_batch_size stands there 2 times with different values: 256, 512",)


def test_weights_are_compared_by_name(tmp_path):
    log = write_run(tmp_path / "a.txt", "resnet")
    assert check_file(log, "2.1.0").passed
    log = changed(log, tmp_path, '"tensor": "fc1_bias"', '"tensor": "fc2_bias"')
    assert check_file(log, "2.1.0").violations == (
        "weights_initialization does not name the 161 tensors of the rules, each once (1 missing: 'fc1_bias'; 1 not expected: 'fc2_bias')",)


@pytest.mark.parametrize(("division", "minutes", "said"), [("closed", 31, "0:31:00 (h:mm:ss) after init_start, must be less than 30 minutes"),
                                                           ("closed", 29.9, None), ("open", 239, None),
                                                           ("open", 241, "4:01:00 (h:mm:ss) after init_start, must be less than 240 minutes")])
def test_the_limit_of_initialization(tmp_path, division, minutes, said):
    log = write_run(tmp_path / "a.txt", "resnet", division=division, ruleset_lines=False)
    log = changed(log, tmp_path, '"time_ms": 1700000000001,', f'"time_ms": {1700000060019 - round(minutes * 60_000)},')
    violations = check_file(log).violations
    assert violations == ((f"init_stop comes {said} (line 22)",) if said else ())


def test_division_after_init_stop(logs, tmp_path):
    lines = logs["resnet"].read_text().splitlines(True)
    division = next(line for line in lines if '"submission_division"' in line)
    (tmp_path / "result_0.txt").write_text("".join(line for line in lines if line != division) + division)
    assert any("init_stop stands before submission_division" in text for text in check_file(tmp_path / "result_0.txt").violations)


def test_lines_out_of_order(logs, tmp_path):
    lines = logs["resnet"].read_text().splitlines(True)
    (tmp_path / "result_0.txt").write_text("".join(reversed(lines)))
    text = as_text([check_file(tmp_path / "result_0.txt")])
    for said in ("init_stop stands before init_start", "init_stop stands after run_start", "run_start stands before init_stop",
                 "run_stop stands before run_start", "block_start stands before run_start"):
        assert said in text


def test_times_that_cannot_be_true(logs, tmp_path):
    """The official checker reads no other times than those of initialization."""
    stop = json.loads(logs["resnet"].read_text().splitlines()[-1].removeprefix(":::MLLOG "))["time_ms"]
    log = changed(logs["resnet"], tmp_path, f'"time_ms": {stop},', f'"time_ms": {stop - 600_000},')
    assert official_violations(log, "4.0.0") == 0
    assert check_file(log).violations == ("eval_accuracy has a time that is not between those of run_start and run_stop (line 31)",)
    log = changed(logs["resnet"], tmp_path, f'"time_ms": {stop},', '"time_ms": 1700000000000,')
    assert check_file(log).violations == ("run_stop is 60.02 seconds earlier than run_start",)


def test_the_sum_of_several_files(logs, tmp_path):
    good, bad = check_file(logs["resnet"]), check_file(without(logs["resnet"], tmp_path, "run_stop"))
    text = as_text([good, bad], ["result_1.txt logs no seed"], ["two runs at once"])
    assert text.splitlines()[0].startswith("PASS ") and text.endswith("1 of 2 files keep the rules, but not as a set")
    assert "FAIL across the files:\n  result_1.txt logs no seed\n  warning: two runs at once" in text
    assert passed([good], []) and not passed([good, bad], []) and not passed([good], ["x"])
    assert Path(bad.path).name == "result_0.txt"
