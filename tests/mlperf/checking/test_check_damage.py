"""`check` on files that are damaged, no logs, or full of other output."""

import os
import random
import tracemalloc

import pytest
from changed_logs import changed, without
from generated_logs import write_run
from official_checker import official_violations

from jax_mlperf.mlperf.checking.check import as_text, check_file

LINE = '{"time_ms": 1, "key": "seed", "value": 1, "metadata": {}}'
DAMAGE = [
    ('{"time_ms": 1, "key": "seed", "metadata": {}}', "line 1 has no 'value'"),
    ('{"time_ms": 1, "key": "seed", "value": 1}', "line 1 has no 'metadata'"),
    ('{"key": "seed", "value": 1, "metadata": {}}', "line 1 has no 'time_ms'"),
    ('{"time_ms": "noon", "key": "seed", "value": 1, "metadata": {}}', "line 1 has a time_ms that is no number"),
    ('{"time_ms": null, "key": "seed", "value": 1, "metadata": {}}', "line 1 has a time_ms that is no number"),
    ('{"time_ms": NaN, "key": "seed", "value": 1, "metadata": {}}', "line 1 has a time_ms that is no finite number"),
    (f'{{"time_ms": 1{"0" * 400}, "key": "seed", "value": 1, "metadata": {{}}}}', "line 1 has a time_ms that is no number"),
    (LINE + " and more", "line 1 has text after its JSON"),
    (LINE[:-1], "line 1 is not whole JSON"), ("", "line 1 is not whole JSON"),
    ("[1]", "line 1 is not a JSON object"), ("[" * 100_000, "line 1 is nested too deeply"),
    ("x" * (2 << 20), "line 1 is longer than 1048576 bytes"),
    ('{"time_ms": 1, "key": ["seed"], "value": 1, "metadata": {}}', None), ('{"time_ms": 1, "key": "seed", "value": 1, "metadata": null}', None),
]


@pytest.mark.parametrize(("content", "said"), DAMAGE)
def test_damaged_lines_are_told_and_the_rest_is_still_checked(logs, tmp_path, content, said):
    (tmp_path / "result_0.txt").write_text(f":::MLLOG {content}\n{logs['transformer'].read_text()}")
    violations = check_file(tmp_path / "result_0.txt").violations
    assert len(violations) == (said is not None) and all(violation.startswith(said) for violation in violations)


@pytest.mark.parametrize(("before", "after", "said"), [
    ('"value": 0.7591', '"value": "good"', "eval_accuracy: the rules cannot be applied to the value 'good': '>=' not supported between"),
    ('"value": 0.7591', '"value": null', "eval_accuracy: the rules cannot be applied to the value None: "),
    ('"submission_division", "value": "closed"', '"submission_division", "value": {"a": 1}', "submission_division is {'a': 1}, must be one of"),
    ('"submission_benchmark", "value": "resnet"', '"submission_benchmark", "value": 5', "submission_benchmark is '5', which no ruleset knows"),
    ('"submission_benchmark", "value": "resnet"', '"submission_benchmark", "value": "chess"', "submission_benchmark is 'chess', which no ruleset knows"),
    ('"metadata": {"file": "run.py", "lineno": 34, "status": "success"}', '"metadata": null', "run_stop has metadata that are no object but None"),
])
def test_values_that_the_checker_cannot_bear(logs, tmp_path, before, after, said):
    verdict = check_file(changed(logs["resnet"], tmp_path, before, after))
    assert any(violation.startswith(said) for violation in verdict.violations), verdict.violations


def test_nothing_hides_behind_a_value_that_crashes_the_checker(logs, tmp_path):
    log = changed(logs["maskrcnn"], tmp_path, '{"BBOX": 0.3781, "SEGM": 0.3402}', "0.3781")
    log = without(log, tmp_path, "seed", "train_samples", "opt_base_learning_rate")
    violations = check_file(log).violations
    assert violations[0].startswith("eval_accuracy: the rules cannot be applied to the value 0.3781: ")
    assert {f"{key} is missing (needed exactly once)" for key in ("train_samples", "opt_base_learning_rate")} < set(violations)


def test_rule_files_are_not_taken_from_where_a_log_says(tmp_path):
    """Rule files are code; a log must not be able to name one outside of the rules."""
    (tmp_path / "evil_common.yaml").write_text(f"- BEGIN:\n    CODE: open({str(tmp_path / 'proof')!r}, 'w').close()\n")
    log = write_run(tmp_path / "a.txt", "resnet", division=f"../../../../../../../../../../../../..{tmp_path}/evil")
    assert not check_file(log, "4.0.0").passed and not (tmp_path / "proof").exists()


@pytest.mark.parametrize(("content", "said"), [
    (b"", "the file has no :::MLLOG lines"), (b"\xff\xfe\x00garbage\r\n" * 1000, "the file has no :::MLLOG lines"),
    (b":::MLL 1556733699.510 run_stop: {}\n", "the file has lines of MLPerf 0.5 or 0.6 only, which are not read here"),
])
def test_files_without_a_line(tmp_path, content, said):
    (tmp_path / "result_0.txt").write_bytes(content)
    verdict = check_file(tmp_path / "result_0.txt")
    assert verdict.violations == (said,) and "FAIL" in as_text([verdict]), "not that everything else is missing too"


def test_what_is_no_file(tmp_path):
    assert check_file(tmp_path).violations == ("the file is a folder, not a file",)
    assert check_file(tmp_path / "absent").violations == ("the file is not there",)
    os.mkfifo(tmp_path / "result_0.txt")
    assert check_file(tmp_path / "result_0.txt").violations == ("the file is a pipe or a device, not a file",)


def test_text_in_other_encodings(logs, tmp_path):
    text = logs["transformer"].read_text().replace('"org"', '"Müller \x1b[31m"')
    for encoding in ("utf-8", "latin-1"):
        (tmp_path / "result_0.txt").write_bytes(text.replace("\x1b", "\\u001b").encode(encoding))
        verdict = check_file(tmp_path / "result_0.txt")
        assert verdict.passed == (official_violations(tmp_path / "result_0.txt", "0.7.0") == 0) and verdict.passed
    (tmp_path / "result_0.txt").write_text(text.replace('"onprem"', '"\\u001b[31m"'))
    assert "\x1b" not in as_text([check_file(tmp_path / "result_0.txt")]), "nothing that a terminal obeys"


@pytest.mark.parametrize("times", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_random_damage_never_raises_and_is_never_judged_milder(logs, tmp_path, times):
    log = tmp_path / "result_0.txt"
    generator = random.Random(times)
    original = logs["resnet"].read_bytes()
    stricter = 0
    for _ in range(times):
        content = bytearray(original)
        for _ in range(generator.choice((1, 1, 2, 5, 50))):
            at, kind = generator.randrange(len(content)), generator.randrange(4)
            if kind == 0:
                content[at] = generator.randrange(256)
            elif kind == 1:
                del content[at:at + generator.choice((1, 10, 300))]
            elif kind == 2:
                content[at:at] = content[at - 50:at]
            else:
                content[at] ^= 1 << generator.randrange(8)
        log.write_bytes(content)
        verdict = check_file(log, "4.0.0")
        count = official_violations(log, "4.0.0")
        assert len(verdict.violations) >= count
        stricter += verdict.passed != (count == 0)
    assert stricter <= times // 20, "our own findings (times) are few"


def test_other_output_costs_no_memory(logs, tmp_path):
    path = tmp_path / "result_0.txt"
    noise = (b"step 1 loss 2.5\n" * 4096 + b"x" * 70_000) * 7
    with path.open("wb") as file:
        for line in logs["transformer"].read_bytes().splitlines(True):
            file.write(noise + b"\r0: " + line)
    size = path.stat().st_size
    tracemalloc.start()
    try:
        verdict = check_file(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert verdict.passed and size > 20 << 20 and peak < 6 << 20


def test_line_numbers_are_those_of_the_file(logs, tmp_path):
    text = "first\r\nsecond\n" + logs["resnet"].read_text().replace('"lars_epsilon", "value": 0.0', '"lars_epsilon", "value": 1')
    (tmp_path / "result_0.txt").write_text("".join(f"noise {'y' * 3000}\n{line}" for line in text.splitlines(True)))
    number = next(number for number, line in enumerate((tmp_path / "result_0.txt").read_text().split("\n"), 1) if "lars_epsilon" in line)
    assert check_file(tmp_path / "result_0.txt").violations == (f"lars_epsilon is 1, must be 0.0 (line {number})",)


def test_logging_and_the_checkers_queue_stay_as_they_are(logs, tmp_path, capsys, caplog):
    from mlperf_logging.compliance_checker import mlp_compliance

    mlp_compliance.enqueued_configs.append("training_4.0.0/left_over.yaml")
    assert check_file(logs["resnet"]).passed
    check_file(changed(logs["resnet"], tmp_path, '"value": 0.7591', '"value": "good"'))
    assert mlp_compliance.enqueued_configs == [] and not caplog.records and capsys.readouterr() == ("", "")
