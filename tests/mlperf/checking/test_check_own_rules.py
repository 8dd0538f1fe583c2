"""Our rule files, for benchmarks that no official ruleset knows: on the lines that the benchmarks write."""

import functools
import json
from pathlib import Path

import pytest
from official_checker import official_violations

from jax_mlperf import benchmarks
from jax_mlperf.benchmark import Topology
from jax_mlperf.config import load_config
from jax_mlperf.mlperf.checking.check import as_text, check_file
from jax_mlperf.mlperf.checking.checker_rulesets import OWN_FOLDER, own_benchmarks
from jax_mlperf.mlperf.scoring.scoring_rules import RULES
from jax_mlperf.run_facts import common_entries

GOOD = {"ncf": 0.636, "sentiment": 0.9061, "cifar10": 0.801, "deepspeech2": 0.229}
TARGETS = {"ncf": 0.635, "sentiment": 90.6 / 100, "cifar10": 0.8, "deepspeech2": 0.23}


@functools.cache
def facts(benchmark):
    """The lines before init_stop as the benchmark writes them."""
    if benchmark == "deepspeech2":
        return {"global_batch_size": 16, "train_samples": 281_241, "eval_samples": 5567, "gradient_accumulation_steps": 1}
    made = benchmarks.create(load_config(benchmark), Topology(1), Path("absent"))
    assert made.name == benchmark
    return {entry.key: entry.value for entry in common_entries(made) + made.hyperparameters()}


def own_lines(benchmark, division="closed", quality=None, target=None, **changed):
    """The lines of a log with two evaluations; `changed` facts, None leaves one out."""
    lower = benchmark == "deepspeech2"
    quality = GOOD[benchmark] if quality is None else quality
    values = {"submission_benchmark": benchmark, "submission_division": division, "submission_org": "jax_mlperf",
              "submission_platform": "1xcpu", "submission_status": "research", "seed": 7, **facts(benchmark),
              "quality_target": {"targets": {"": TARGETS[benchmark] if target is None else target}, "higher_is_better": not lower,
                                 "strict": benchmark == "sentiment"}, **changed}
    lines = [("cache_clear", True, {}), ("init_start", None, {}), *((key, value, {}) for key, value in values.items() if value is not None),
             ("init_stop", None, {}), ("run_start", None, {})]
    for epoch, value in ((1, 1.3 if lower else quality / 2), (2, quality)):
        lines += [("block_start", None, {"first_epoch_num": epoch, "epoch_count": 1}), ("eval_start", None, {"epoch_num": epoch}),
                  ("eval_accuracy", value, {"epoch_num": epoch}), ("eval_stop", None, {"epoch_num": epoch}),
                  ("block_stop", None, {"first_epoch_num": epoch})]
    lines += [("run_stop", None, {"status": "success"}), ("compilations_in_timed_region", 0, {"programs": []})]
    return [json.dumps({"namespace": "", "time_ms": 1_700_000_000_000 + 1000 * number, "key": key, "value": value,
                        "metadata": {"file": "trainer.py", "lineno": number, **metadata}})
            for number, (key, value, metadata) in enumerate(lines)]


def write(tmp_path, lines):
    path = tmp_path / "result_0.txt"
    path.write_text("".join(f":::MLLOG {line}\n" for line in lines))
    return path


def test_there_are_rules_for_every_benchmark_without_a_ruleset():
    assert set(own_benchmarks()) == {name for name, rule in RULES.items() if not rule.ruleset} | {"minigo"}


@pytest.mark.parametrize(("benchmark", "division"), [
    ("ncf", "closed"), ("sentiment", "closed"), ("cifar10", "closed"), ("deepspeech2", "closed"), ("ncf", "open"),
    *(pytest.param(name, "open", marks=pytest.mark.slow) for name in ("sentiment", "cifar10", "deepspeech2"))])
def test_what_the_benchmarks_write_passes_and_every_line_is_needed(tmp_path, benchmark, division):
    lines = own_lines(benchmark, division)
    log = write(tmp_path, lines)
    verdict = check_file(log)
    assert verdict.passed, verdict.violations
    assert verdict.ruleset == "own" and f"{benchmark}, {division} division, our own rules" in as_text([verdict])
    assert official_violations(log, "6.1.0", str(OWN_FOLDER / "common.yaml")) == 0, "the official command accepts the files too"
    passing = []
    for number, line in enumerate(lines):
        if not check_file(write(tmp_path, lines[:number] + lines[number + 1:])).passed:
            continue
        passing.append(json.loads(line)["key"])
    needless = ["compilations_in_timed_region"]
    if division == "open" and benchmark != "deepspeech2":
        needless += [key for key in facts(benchmark) if key not in ("global_batch_size", "train_samples", "eval_samples",
                                                                   "gradient_accumulation_steps")]
    assert sorted(passing) == sorted(needless)


FREE = {"global_batch_size", "gradient_accumulation_steps", "opt_base_learning_rate", "opt_adam_beta_1", "opt_adam_beta_2",
        "opt_adam_epsilon"}


@pytest.mark.parametrize("benchmark", sorted(GOOD))
def test_every_fixed_value_is_checked(tmp_path, benchmark):
    fixed = {key: value for key, value in facts(benchmark).items()
             if key not in (FREE if benchmark in ("ncf", "deepspeech2") else ("gradient_accumulation_steps",))}
    for key, value in fixed.items():
        other = (not value if isinstance(value, bool) else value * 3 + 2 if isinstance(value, int | float)
                 else value[:-1] if isinstance(value, list) else value + "x")
        violations = check_file(write(tmp_path, own_lines(benchmark, **{key: other}))).violations
        assert any(violation.startswith(f"{key} is ") for violation in violations), (key, other, violations)
    for key in FREE & set(facts(benchmark)):
        assert not check_file(write(tmp_path, own_lines(benchmark, **{key: -1}))).passed, key


@pytest.mark.parametrize(("benchmark", "misses", "said"), [
    ("ncf", 0.6349, "no evaluation reached 0.635 (best 0.6349, epoch 2)"),
    ("sentiment", 0.906, "no evaluation reached more than 0.906 (best 0.906, epoch 2)"),
    ("cifar10", 0.7999, "no evaluation reached 0.8 (best 0.7999, epoch 2)"),
    ("deepspeech2", 0.231, "no evaluation reached 0.23 (best 0.231, epoch 2)"),
])
def test_targets(tmp_path, benchmark, misses, said):
    assert check_file(write(tmp_path, own_lines(benchmark, quality=misses))).violations == (f"eval_accuracy: {said}",)
    assert check_file(write(tmp_path, own_lines(benchmark, quality=misses, division="open"))).passed
    assert not check_file(write(tmp_path, own_lines(benchmark, target=0.5))).passed, "another target is not the closed division's"


def test_cifar10_has_a_light_target(tmp_path):
    assert check_file(write(tmp_path, own_lines("cifar10", quality=0.7, target=0.7))).passed
    assert not check_file(write(tmp_path, own_lines("cifar10", quality=0.69, target=0.7))).passed


def test_the_batch_of_cifar10_follows_from_its_workers(tmp_path):
    assert check_file(write(tmp_path, own_lines("cifar10", workers=4, global_batch_size=512))).passed
    assert check_file(write(tmp_path, own_lines("cifar10", workers=4, global_batch_size=256))).violations == (
        "a rule on the whole log does not hold: workers is None or global_batch_size == 128 * workers (global_batch_size is 256, workers is 4)",)


@pytest.mark.parametrize("benchmark", ["ncf", "sentiment", "cifar10"])
def test_an_evaluation_left_out_is_found(tmp_path, benchmark):
    lines = own_lines(benchmark)
    first = next(number for number, line in enumerate(lines) if '"block_start"' in line)
    violations = check_file(write(tmp_path, lines[:first] + lines[first + 5:])).violations
    assert len(violations) == 1 and "epoch_num == evaluated_epochs + 1 where evaluated_epochs is 0, epoch_num is 2" in violations[0]


@pytest.mark.parametrize(("minutes", "division", "passes"), [(29, "closed", True), (31, "closed", False), (31, "open", True), (241, "open", False)])
def test_initialization_has_a_limit(tmp_path, minutes, division, passes):
    lines = own_lines("ncf", division)
    at = next(number for number, line in enumerate(lines) if '"init_stop"' in line)
    moved = []
    for number, line in enumerate(lines):
        content = json.loads(line)
        content["time_ms"] += (number >= at) * (minutes - 1) * 60_000
        moved.append(json.dumps(content))
    verdict = check_file(write(tmp_path, moved))
    assert verdict.passed is passes
    assert passes or f"must be less than {30 if division == 'closed' else 240} minutes" in verdict.violations[0]


@pytest.mark.parametrize(("before", "after", "said"), [
    ('"submission_status", "value": "research"', '"submission_status", "value": "home"', "submission_status is 'home', must be one of"),
    ('"seed", "value": 7', '"seed", "value": "7"', "seed is '7'; the rule is type(value) is int"),
    ('"status": "success"', '"status": "fine"', "run_stop breaks the rule status in ['success', 'aborted'] where status is 'fine'"),
    ('"key": "eval_stop"', '"key": "eval_end"', "eval_stop is missing (needed at least once)"),
    ('"key": "eval_stop"', '"key": "eval_end"', "eval_start stands inside an evaluation whose eval_stop is missing"),
    ('"key": "block_stop"', '"key": "block_end"', "block_start stands inside a block whose block_stop is missing"),
    ('"submission_benchmark", "value": "ncf"', '"submission_benchmark", "value": "nfc"', "submission_benchmark is 'nfc', which no ruleset knows"),
    ('"submission_division", "value": "closed"', '"submission_division", "value": "../x"', "submission_division is '../x', must be one of"),
    ('"targets": {', '"aims": {', "quality_target is "),
])
def test_words(tmp_path, before, after, said):
    log = write(tmp_path, own_lines("ncf"))
    text = log.read_text()
    assert before in text
    log.write_text(text.replace(before, after))
    assert any(violation.startswith(said) for violation in check_file(log).violations), check_file(log).violations
