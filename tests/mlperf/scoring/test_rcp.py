"""The RCP test against the worked numbers of the rules and against the official checker."""

import functools
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import generated_logs
import pytest
from logged_runs import logged_run

from jax_mlperf.mlperf.reading.result_set import read_result_sets
from jax_mlperf.mlperf.reading.run_log import RunLog
from jax_mlperf.mlperf.scoring.rcp import Verdict, reference, verdict
from jax_mlperf.mlperf.scoring.reference_points import ReferencePoint, minimum, pruned, reference_point, reference_table
from jax_mlperf.mlperf.scoring.scoring_rules import RULES

SUBMITTED = {"resnet": "4.0.0", "bert": "5.0.0", "maskrcnn": "3.1.0"}


# Numbers of the rules -----------------------------------------------------------------------------------------------

EXAMPLE = [16, 14, 16, 17, 16, 16, 15, 16, 15, 16]


@pytest.mark.parametrize("epochs, mean, stdev, least", [
    (EXAMPLE, 15.75, 0.781, 14.781), ([20, 21, 21, 20, 22, 22, 21, 21, 20, 20], 20.75, 0.748, 19.821)])
def test_point_and_minimum_of_the_rules_examples(epochs: list[int], mean: float, stdev: float, least: float) -> None:
    point = reference_point(512, epochs)
    assert (point.mean, point.stdev, point.runs) == (mean, pytest.approx(stdev, abs=5e-4), 8)
    assert minimum(point, 5) == pytest.approx(least, abs=5e-4)


def test_minimum_with_the_standard_deviation_of_the_rules_text() -> None:
    assert minimum(ReferencePoint(512, 15.75, 0.4330127, 8), 5) == pytest.approx(15.213, abs=5e-4)


def test_minimum_is_the_mean_without_spread_and_never_negative() -> None:
    assert minimum(ReferencePoint(8, 14.0, 0.0, 8), 5) == 14.0
    assert minimum(ReferencePoint(8, 14.0, 100.0, 8), 5) == 0.0


@pytest.mark.parametrize("benchmark, kept", [
    ("resnet", {1632: (35.0, 33.802), 3264: (35.154, 34.310), 32768: (56.0, 55.445), 49152: (68.0, 67.215), 67840: (85.846, 85.183)}),
    ("bert", {448: (2414421, 2274732), 4608: (2798080, 2702871), 6144: (3319125, 3212483), 6912: (3601920, 3513378),
              12288: (4465067, 4400682), 13056: (4645333, 4515190), 16384: (5505422, 5400269)}),
    ("maskrcnn", {8: (12.75, 12.181), 128: (14.0, 14.0), 272: (17.125, 16.457)})])
def test_pruned_points_are_those_of_the_rules(benchmark: str, kept: dict[int, tuple[float, float]]) -> None:
    table = reference_table(benchmark)
    assert table is not None
    points = {point.batch_size: (point.mean, minimum(point, RULES[benchmark].runs)) for point in pruned(table.points)}
    tolerance = 0.6 if benchmark == "bert" else 6e-4
    assert points == {batch: pytest.approx(values, abs=tolerance) for batch, values in kept.items()}


def test_pruned_batch_size_is_judged_by_interpolation() -> None:
    table = reference_table("resnet")
    assert table is not None
    kind, point = reference(table, 4096, 5)
    assert point is not None
    assert (kind, point.mean, minimum(point, 5)) == ("interpolated", pytest.approx(35.742, abs=5e-4), pytest.approx(34.867, abs=5e-4))


@pytest.mark.parametrize("benchmark", SUBMITTED)
def test_our_points_are_the_official_ones_in_every_ruleset_named(benchmark: str) -> None:
    table = reference_table(benchmark)
    assert table is not None
    assert SUBMITTED[benchmark] in table.rulesets
    for ruleset in table.rulesets:
        official = json.loads(_official_file(ruleset, benchmark).read_text(encoding="utf-8"))
        points = [reference_point(entry["BS"], entry["Epochs to converge"]) for entry in official.values()]
        assert list(table.points) == sorted(points, key=lambda point: point.batch_size)


# Against the official checker ---------------------------------------------------------------------------------------


def _official_file(ruleset: str, benchmark: str) -> Path:
    from mlperf_logging import rcp_checker

    return Path(rcp_checker.__file__).parent / f"training_{ruleset}" / f"rcps_{benchmark}.json"


Official = Callable[[Path, str], tuple[bool, str, float]]


@functools.cache
def _checker(benchmark: str) -> Any:
    from mlperf_logging.rcp_checker import rcp_checker

    return rcp_checker.RCP_Checker("training", SUBMITTED[benchmark], benchmark, False)


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Official:
    """The official check of a folder; the checker's tables are made once, and it needs no tensor lines."""
    from mlperf_logging.rcp_checker import rcp_checker

    for benchmark in SUBMITTED:
        _checker(benchmark)
    monkeypatch.setattr(rcp_checker, "RCP_Checker", lambda usage, ruleset, benchmark, *_: _checker(benchmark))
    monkeypatch.setattr(generated_logs, "tensors", lambda benchmark: [])
    return lambda folder, benchmark: rcp_checker.check_directory(
        str(folder), "training", SUBMITTED[benchmark], False, False, rcp_pass="pruned_rcps", set_scaling=True)


@pytest.mark.parametrize("ruleset, benchmark", [("4.0.0", "resnet"), ("5.1.0", "bert"), ("2.1.0", "maskrcnn"),
                                                ("5.1.0", "retinanet"), ("1.1.0", "ssd")])
def test_pruning_and_minima_of_official_tables(ruleset: str, benchmark: str) -> None:
    from mlperf_logging.rcp_checker import rcp_checker

    checker = rcp_checker.RCP_Checker("training", ruleset, benchmark, False)
    points = [reference_point(entry["BS"], entry["Epochs to converge"]) for entry in checker.rcp_data.values()]
    ours = {point.batch_size: (point.mean, point.stdev, minimum(point, checker.submission_runs)) for point in pruned(points)}
    # The checker bisects to 0.0001.
    assert ours == {entry["BS"]: (pytest.approx(entry["RCP Mean"], rel=1e-12), pytest.approx(entry["RCP Stdev"], rel=1e-12, abs=1e-15),
                                  pytest.approx(entry["Min Epochs"], abs=1e-4)) for entry in checker.pruned_rcp_data.values()}


GENERATED: dict[str, tuple[str, int, list[float], int, str, bool, bool]] = {
    # benchmark, batch size, epochs of the converged runs, runs that did not converge, how it is judged, passed, scaled
    "resnet_passing": ("resnet", 3264, [36, 36, 35, 37, 36], 0, "found", True, False),
    "resnet_scaled": ("resnet", 3264, [35, 35, 35, 34, 35], 0, "found", True, True),
    "resnet_failing": ("resnet", 3264, [34, 34, 34, 34, 34], 0, "found", False, False),
    "resnet_interpolated": ("resnet", 4096, [36, 36, 36, 36, 36], 0, "interpolated", True, False),
    "resnet_interpolated_scaled": ("resnet", 4096, [35, 35, 35, 35, 35], 0, "interpolated", True, True),
    "resnet_above": ("resnet", 70_000, [90, 90, 90, 90, 90], 0, "missing", False, False),
    "resnet_below": ("resnet", 1024, [36, 36, 36, 36, 36], 0, "below", True, False),
    "resnet_below_scaled": ("resnet", 1024, [34, 34, 34, 34, 34], 0, "below", True, True),
    "resnet_below_failing": ("resnet", 1024, [33, 33, 33, 33, 33], 0, "below", False, False),
    "resnet_one_not_converged": ("resnet", 3264, [34, 36, 35, 34], 1, "found", True, True),
    "resnet_two_not_converged": ("resnet", 3264, [36, 36, 36], 2, "", False, False),
    "bert_passing": ("bert", 448, [2_600_000] * 10, 0, "found", True, False),
    "bert_scaled": ("bert", 448, [2_300_000, 2_400_000] * 5, 0, "found", True, True),
    "bert_failing": ("bert", 448, [2_200_000] * 10, 0, "found", False, False),
    "bert_interpolated_scaled": ("bert", 768, [2_350_080] * 10, 0, "interpolated", True, True),
    "bert_below": ("bert", 256, [2_500_096] * 10, 0, "below", True, False),
    "bert_above": ("bert", 20_480, [9_000_000] * 10, 0, "missing", False, False),
    "bert_one_not_converged": ("bert", 448, [2_300_000] * 4 + [2_400_000] * 5, 1, "found", True, True),
    "maskrcnn_passing": ("maskrcnn", 128, [14, 14, 14, 14, 14], 0, "found", True, False),
    "maskrcnn_failing": ("maskrcnn", 128, [14, 13, 14, 13, 14], 0, "found", False, False),
    "maskrcnn_interpolated": ("maskrcnn", 96, [14, 14, 14, 14, 19], 0, "interpolated", True, False),
    "maskrcnn_scaled": ("maskrcnn", 272, [17, 17, 17, 17, 17], 0, "found", True, True),
    "maskrcnn_two_not_converged": ("maskrcnn", 128, [14, 14, 14], 2, "", False, False),
}


@pytest.mark.parametrize("case", GENERATED)
def test_generated_folder_is_judged_as_the_official_checker_does(case: str, official: Official, tmp_path: Path) -> None:
    benchmark, batch, epochs, missed, kind, passed, scaled = GENERATED[case]
    count = len(epochs) + missed
    generated_logs.write_result_set(tmp_path, benchmark, [10.0] * count, [*epochs, *([99.0] * missed)], global_batch_size=batch,
                     statuses=["success"] * len(epochs) + ["aborted"] * missed)
    ours = verdict(read_result_sets([tmp_path])[0].runs)
    theirs = official(tmp_path, benchmark)
    assert ours is not None
    assert (ours.passed, ours.reference, ours.scaling > 1) == (passed, kind, scaled)
    assert theirs[0] == ours.passed
    if passed:
        assert ours.scaling == pytest.approx(theirs[2], rel=1e-9)
    file = tmp_path / "scaling.json"
    written = json.loads(file.read_text())["scaling_factor"] if file.exists() else 1.0
    assert ours.scaling == pytest.approx(written, rel=1e-9)


def test_random_sets_are_judged_as_the_official_checker_does(official: Official, monkeypatch: pytest.MonkeyPatch,
                                                             tmp_path: Path) -> None:
    from mlperf_logging.rcp_checker import rcp_checker

    numbers = random.Random(5)
    outcomes = set()
    for case in range(240):
        benchmark = list(SUBMITTED)[case % 3]
        table = reference_table(benchmark)
        assert table is not None
        largest = int(table.points[-1].batch_size)
        known = numbers.choice([int(point.batch_size) for point in table.points])
        batch = numbers.choice([known, known, numbers.randint(4, largest), numbers.randint(4, largest + largest // 10)])
        centre = numbers.uniform(0.94, 1.06) * float(reference(table, min(batch, largest), 5)[1].mean)  # type: ignore[union-attr]
        epochs = [round(centre * numbers.gauss(1, 0.01), 3) for _ in range(RULES[benchmark].runs)]
        ours = verdict([logged_run(index, benchmark, epoch=epoch, global_batch_size=batch) for index, epoch in enumerate(epochs)])
        told = (batch, epochs, benchmark)
        monkeypatch.setattr(rcp_checker, "get_submission_epochs", lambda *_, told=told: told)
        passed, _, scaling = official(tmp_path, benchmark)
        assert ours is not None
        assert (ours.passed, ours.scaling) == (passed, pytest.approx(scaling if passed else 1.0, rel=1e-9)), (benchmark, batch)
        outcomes.add((ours.reference, ours.passed, ours.scaling > 1))
    assert {("found", True, False), ("found", True, True), ("found", False, False), ("interpolated", True, True),
            ("interpolated", False, False), ("missing", False, False)} <= outcomes


@pytest.mark.parametrize("folder", [pytest.param("v2.0/nvidia-dgxa100/maskrcnn", marks=pytest.mark.slow),  # a second in the official checker
                                    "v4.0/nvidia-8xH200/resnet", "v5.0/dell-8xH200/bert"])
def test_published_logs_are_judged_as_the_official_checker_does(folder: str, shared_data: Path, official: Official,
                                                                tmp_path: Path) -> None:
    for file in (shared_data / "mlperf_logs" / folder).iterdir():  # the checker writes beside them
        (tmp_path / file.name).symlink_to(file)
    ours = _judged(read_result_sets([tmp_path])[0].runs)
    passed, message, scaling = official(tmp_path, Path(folder).name)
    assert (ours.passed, ours.scaling) == (passed, pytest.approx(scaling, rel=1e-9))
    assert (ours.reference, message) == ("interpolated", "RCP Interpolation")


# What users see -----------------------------------------------------------------------------------------------------


def _judged(runs: Sequence[RunLog]) -> Verdict:
    result = verdict(runs)
    assert result is not None
    return result


def test_scaled_verdict_tells_the_factor_and_both_means() -> None:
    result = _judged([logged_run(index, "bert", epoch=2_350_000) for index in range(10)])
    assert result.scaling == pytest.approx(1.0274133, abs=5e-8)
    assert result.message == ("passed, but the score is multiplied by 1.0274 for being faster than the reference: 2,350,000 samples; "
                              "the reference takes 2,414,421, and 2,274,732 is the least that passes")


@pytest.mark.parametrize("facts, epochs, words", [
    ({}, [33] * 5, "failed: faster than the reference allows: 33 epochs; the reference takes 35.154, and 34.31 is the least"),
    ({"global_batch_size": 100}, [36] * 5, "of the smallest batch size, 1632"),
    ({"global_batch_size": 4096}, [36] * 5, "the reference takes 35.742, interpolated, and 34.867"),
    ({"global_batch_size": 70_000}, [99] * 5, "failed: batch size 70000 is above all reference points (the largest is 67840); the rules"),
    ({"global_batch_size": None}, [36] * 5, "failed: not every run has the same global_batch_size"),
    ({}, [36, 36], "not judged: its mean takes three runs"),
    ({}, [36, 36, 36, 36, None], "failed: the epoch_num of not every eval_accuracy is a number of epochs")])
def test_message(facts: dict[str, Any], epochs: list[float | None], words: str) -> None:
    result = _judged([logged_run(index, epoch=epoch, **facts) for index, epoch in enumerate(epochs)])
    assert words in result.message
    assert result.message.startswith({True: "passed", False: "failed", None: "not judged"}[result.passed])


def test_runs_of_different_batch_sizes_fail() -> None:
    runs = [logged_run(index, global_batch_size=3264 + index // 4) for index in range(5)]
    assert (_judged(runs).passed, _judged(runs).message) == (False, "failed: not every run has the same global_batch_size")


def test_bert_logs_that_count_steps_fail() -> None:
    assert _judged([logged_run(index, "bert", epoch=372, global_batch_size=8192) for index in range(10)]).passed is False


def test_a_success_without_the_target_is_no_converged_run() -> None:
    runs = [logged_run(index, epoch=36, quality=0.70 if index < 2 else None) for index in range(5)]
    assert _judged(runs).message == "failed: 2 runs did not converge, and one may"


@pytest.mark.parametrize("benchmark, facts", [
    ("ncf", {}), ("resnet", {"submission_division": "open"}), ("resnet", {"gradient_accumulation_steps": None})])
def test_no_verdict_without_reference_points(benchmark: str, facts: dict[str, Any]) -> None:
    assert verdict([logged_run(index, benchmark, **facts) for index in range(5)]) is None


@pytest.mark.parametrize("facts", [{"gradient_accumulation_steps": None}, {"submission_division": None}])
def test_a_line_that_one_run_lacks_does_not_spare_the_set_its_verdict(facts: dict[str, Any]) -> None:
    runs = [logged_run(index, epoch=30, **(facts if index == 0 else {})) for index in range(5)]
    assert _judged(runs).passed is False


def test_transformer_points_are_unofficial() -> None:
    result = _judged([logged_run(index, "transformer", epoch=4 + (index < 3)) for index in range(10)])
    assert (result.passed, result.official, result.reference_mean, result.mean) == (True, False, 4.5, 4.25)
    assert "an official score would be multiplied by 1.0588" in result.message
    assert "unofficial" in result.message
    tokens = _judged([logged_run(index, "transformer", epoch=3, global_batch_size=65_536) for index in range(10)])
    assert (tokens.passed, tokens.message) == (None, "not judged: batch size 65536 is above all reference points (the largest is 2048)")
