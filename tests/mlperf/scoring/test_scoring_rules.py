"""Targets, and which runs converged."""

import json

import pytest
from generated_logs import write_run

from jax_mlperf.mlperf.reading.run_log import read_run
from jax_mlperf.mlperf.scoring.scoring_rules import RULES, converged, rule_of, ruleset_of


def test_numbers_of_runs_are_the_official_ones():
    from mlperf_logging.benchmark_meta import get_result_file_counts
    official = get_result_file_counts("training")
    names = [name for name, rule in RULES.items() if rule.official and name != "ncf"]
    assert {name: RULES[name].runs for name in names} == {name: official[name] for name in names}


@pytest.mark.parametrize(("benchmark", "quality", "expected"), [
    ("resnet", 0.759, True), ("resnet", 0.7589, False), ("bert", 0.72, True), ("bert", 0.7199, False),
    ("maskrcnn", {"BBOX": 0.377, "SEGM": 0.339}, True), ("maskrcnn", {"BBOX": 0.376, "SEGM": 0.4}, False),
    ("maskrcnn", {"BBOX": 0.4}, False), ("maskrcnn", 0.9, False), ("transformer", 0.25, True), ("transformer", 0.2499, False)])
def test_the_target_decides_and_not_the_status_alone(tmp_path, benchmark, quality, expected):
    assert converged(read_run(write_run(tmp_path / "result_0.txt", benchmark, quality=quality, ruleset_lines=False))) is expected


@pytest.mark.parametrize("status", ["aborted", None])
def test_a_run_without_success_did_not_converge(tmp_path, status):
    assert not converged(read_run(write_run(tmp_path / "result_0.txt", "resnet", status=status, ruleset_lines=False)))


@pytest.mark.parametrize(("batch", "target"), [(448, 0.712), (8192, 0.706)])
def test_bert_of_round_0_7(tmp_path, batch, target):
    path = write_run(tmp_path / "result_0.txt", "bert", global_batch_size=batch, ruleset_lines=False)
    assert ruleset_of(read_run(path)) == "5.0.0"
    path.write_text("".join(text for text in path.read_text().splitlines(True) if "gradient_accumulation" not in text))
    run = read_run(path)
    assert ruleset_of(run) == "0.7.0" and rule_of(run).targets == {"": target}


@pytest.mark.parametrize(("benchmark", "division", "quality", "expected"), [
    ("cifar10", "open", 0.94, True), ("cifar10", "closed", 0.9399, False), ("resnet", "open", 0.94, True),
    ("resnet", "closed", 0.76, True), ("deepspeech2", "closed", 0.94, True)])
def test_a_logged_target_counts_outside_the_official_closed_division(tmp_path, benchmark, division, quality, expected):
    path = write_run(tmp_path / "result_0.txt", "resnet", quality=quality, division=division, ruleset_lines=False)
    own = {"targets": {"": 0.94}, "higher_is_better": True, "strict": False}
    text = path.read_text().replace('"submission_benchmark", "value": "resnet"', f'"submission_benchmark", "value": "{benchmark}"')
    path.write_text(f':::MLLOG {{"time_ms": 1, "key": "quality_target", "value": {json.dumps(own)}}}\n{text}')
    assert converged(read_run(path)) is expected


@pytest.mark.parametrize(("division", "target", "runs", "wanted", "ruleset"), [
    ("closed", 0.4, 20, 0.4, ""), ("closed", 0.5, 10, 0.5, "2.1.0"), ("closed", None, 10, 0.5, "2.1.0"),
    ("open", 0.4, 10, 0.4, "2.1.0"), ("open", 0.9, 10, 0.9, "2.1.0")])
def test_minigo_has_two_definitions(tmp_path, division, target, runs, wanted, ruleset):
    path = write_run(tmp_path / "result_0.txt", "minigo", division=division, quality=0.45, ruleset_lines=False)
    if target is not None:
        value = {"targets": {"": target}, "higher_is_better": True, "strict": False}
        path.write_text(f':::MLLOG {{"time_ms": 1, "key": "quality_target", "value": {json.dumps(value)}}}\n{path.read_text()}')
    run = read_run(path)
    assert not run.problems, "the games of each iteration are no fact that changes"
    rule = rule_of(run)
    assert (rule.runs, rule.targets, ruleset_of(run)) == (runs, {"": wanted}, ruleset)
    assert converged(run) is (wanted == 0.4)


def test_a_strict_target(tmp_path):
    for quality, expected in ((0.906, False), (0.9061, True)):
        assert RULES["sentiment"].reached(quality) is expected
    assert RULES["deepspeech2"].reached(0.23) and not RULES["deepspeech2"].reached(0.231)


def test_unknown_benchmarks_go_by_their_status(tmp_path):
    path = write_run(tmp_path / "result_0.txt", "resnet", quality=0.1, ruleset_lines=False)
    path.write_text(path.read_text().replace('"value": "resnet"', '"value": "gpt3"'))
    assert converged(read_run(path)) and ruleset_of(read_run(path)) == ""


@pytest.mark.parametrize("value", ['{"targets": {"": "x"}}', '{"targets": 1}', "0.5", "null"])
def test_a_damaged_target_of_its_own_changes_nothing(tmp_path, value):
    path = write_run(tmp_path / "result_0.txt", "resnet", division="open", quality=0.75, ruleset_lines=False)
    path.write_text(f':::MLLOG {{"time_ms": 1, "key": "quality_target", "value": {value}}}\n{path.read_text()}')
    assert rule_of(read_run(path)).targets == {"": 0.759}
