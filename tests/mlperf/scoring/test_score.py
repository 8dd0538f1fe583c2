"""Scores against the rules' worked examples, published results and cases made by hand."""

import dataclasses
import random
from pathlib import Path
from typing import Any

import pytest
from generated_logs import write_result_set, write_run
from logged_runs import logged_run, logged_set

from jax_mlperf.mlperf.reading.result_set import ResultSet, read_result_sets
from jax_mlperf.mlperf.reading.run_log import RunLog
from jax_mlperf.mlperf.scoring.convergence import olympic_mean
from jax_mlperf.mlperf.scoring.lp2bm import lp2bm_scores
from jax_mlperf.mlperf.scoring.score import Score, score


def _set(runs: list[RunLog]) -> ResultSet:
    return ResultSet(Path("results/system/resnet"), runs)


def _read(path: Path) -> Score:
    return score(read_result_sets([path])[0])


# The olympic mean ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values, missed, drop, mean", [
    ([10, 11, 12, 13, 20], 0, 1, 12.0), ([10, 11, 12, 13], 1, 1, 12.0), ([20, 21, 22, 23, 24, 25, 26, 27, 28, 40], 0, 1, 24.5),
    ([10, 11, 12], 2, 1, None), ([10, 11], 0, 1, None), ([10], 1, 1, None), ([10, 12], 1, 1, 12.0), ([], 0, 1, None),
    ([*range(40)], 0, 4, 19.5), ([*range(36)], 4, 4, 19.5), ([*range(35)], 5, 4, None)])
def test_olympic_mean(values: list[float], missed: int, drop: int, mean: float | None) -> None:
    assert olympic_mean(values, missed, drop) == mean
    assert olympic_mean(values[::-1], missed, drop) == mean


@pytest.mark.slow  # importing the official summarizer takes seconds
def test_olympic_mean_is_that_of_the_official_summarizer() -> None:
    from mlperf_logging.result_summarizer import result_summarizer

    numbers = random.Random(2)
    for _ in range(200):
        drop = numbers.choice([1, 1, 4])
        missed = numbers.randint(0, drop)
        values = [numbers.uniform(1, 60) for _ in range(numbers.randint(drop + 1, 45))]
        expected = result_summarizer._compute_olympic_average(list(values), missed, drop)
        assert olympic_mean(values, missed, drop) == (None if expected is None else pytest.approx(expected, rel=1e-12))


def test_score_of_the_rules_examples() -> None:
    result = score(logged_set([10, 11, 12, 13, 20]))
    assert (result.olympic_minutes, result.runs, result.converged, result.missing_runs, result.provisional) == (12.0, 5, 5, 0, False)
    one_missed = score(logged_set([10, 11, None, 12, 13]))
    assert (one_missed.olympic_minutes, one_missed.converged, one_missed.provisional) == (12.0, 4, False)
    assert one_missed.minutes == (10.0, 11.0, None, 12.0, 13.0)
    assert one_missed.notes == ("result_2.txt: counts as not converged: its status is aborted, although an evaluation reached the target.",)


def test_two_runs_that_did_not_converge_leave_no_score() -> None:
    result = score(logged_set([10, None, 12, None, 13]))
    assert (result.olympic_minutes, result.scaled_minutes, result.provisional) == (None, None, False)
    assert "No valid score: 2 of 5 runs did not converge, and at most 1 may." in result.notes


def test_unet3d_drops_four_at_either_end() -> None:
    assert score(logged_set([*range(1, 41)], "unet3d")).olympic_minutes == 20.5
    assert score(logged_set([*range(1, 37), None, None, None, None], "unet3d")).olympic_minutes == 20.5
    assert score(logged_set([*range(1, 36), None, None, None, None, None], "unet3d")).olympic_minutes is None


# Too few and too many runs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("minutes, olympic, missing, note", [
    ([10], None, 4, "Provisional: 4 more runs are needed. The rule asks for 5, and an olympic mean takes 3 at least."),
    ([10, 11, 13, 14], 12.0, 1, "Provisional: 1 more run is needed. The rule asks for 5."),
    ([10, 11, None], 11.0, 2, "Provisional: 2 more runs are needed. The rule asks for 5.")])
def test_too_few_runs(minutes: list[float | None], olympic: float | None, missing: int, note: str) -> None:
    result = score(logged_set(minutes))
    assert (result.olympic_minutes, result.missing_runs, result.provisional, result.notes[0]) == (olympic, missing, True, note)


def test_a_single_run_tells_its_epochs_and_throughput() -> None:
    result = score(logged_set([10], epoch=36))
    assert (result.minutes, result.epochs_to_converge) == ((10.0,), 36)
    assert result.samples_per_second == pytest.approx(36 * 1_281_167 / 600)


def test_window_of_more_runs_is_the_median_one() -> None:
    # Means of the three windows: (11 + 12 + 13) / 3, (12 + 13 + 14) / 3, (13 + 14 + 16) / 3.
    result = score(logged_set([10, 11, 12, 13, 20, 14, 16]))
    assert result.olympic_minutes == pytest.approx(13.0)
    assert result.counted == tuple(f"result_{number}.txt" for number in range(1, 6))
    assert "result_1.txt to result_5.txt" in result.notes[0]
    assert result.provisional is False


def test_windows_follow_the_launch_times_and_not_the_file_numbers() -> None:
    runs = [logged_run(number, minutes=length, start_ms=1_700_000_000_000 - number)
            for number, length in enumerate([16, 14, 20, 13, 12, 11, 10])]
    assert score(_set(runs)).counted == tuple(f"result_{number}.txt" for number in (5, 4, 3, 2, 1))


def test_of_two_windows_the_slower_counts_and_an_invalid_one_is_infinitely_slow() -> None:
    assert score(logged_set([10, 11, 12, 13, 20, 9])).olympic_minutes == 12.0  # 12 and 12: 11, 12, 13 in both
    assert score(logged_set([10, 11, 12, 13, 20, 21])).olympic_minutes == 15.0
    one_each = score(logged_set([None, 11, 12, 13, 20, None]))
    assert one_each.olympic_minutes == 15.0  # (12 + 13 + 20) / 3 in both windows
    worse = score(logged_set([10, None, 12, 13, 20, None]))
    assert (worse.olympic_minutes, worse.runs, worse.converged) == (None, 6, 4)
    assert "No valid score: 2 of 5 runs did not converge, and at most 1 may." in worse.notes


def test_window_rule_by_brute_force() -> None:
    numbers = random.Random(3)
    for _ in range(30):
        minutes = [None if numbers.random() < 0.15 else float(numbers.randint(5, 60)) for _ in range(numbers.randint(5, 12))]
        scores = []
        for window in (minutes[start:start + 5] for start in range(len(minutes) - 4)):
            good = sorted(value if value is not None else float("inf") for value in window)[1:4]
            scores.append(sum(good) / 3)
        expected = sorted(scores)[len(scores) // 2]
        result = score(logged_set(minutes))
        assert result.olympic_minutes == (None if expected == float("inf") else pytest.approx(expected))


def test_ncf_counts_the_first_fifty_that_converge_by_their_starts() -> None:
    minutes = [None if number % 4 == 3 else float(number) for number in range(100)]
    first = [float(number) for number in range(100) if number % 4 != 3][:50]
    result = score(logged_set(minutes, "ncf"))
    assert result.olympic_minutes == pytest.approx(sum(first[1:-1]) / 48)
    assert (result.converged, len(result.counted), result.counted[-1], result.provisional) == (75, 50, "result_65.txt", False)
    few = score(logged_set([*([None] * 51), *([1.0] * 49)], "ncf"))
    assert few.olympic_minutes is None
    assert "No valid score: 49 runs converged, and the rule counts the first 50 that do." in few.notes
    early = score(logged_set([1.0, 2.0, None, 3.0], "ncf"))
    assert (early.olympic_minutes, early.missing_runs, early.provisional) == (2.0, 96, True)


# Damage and mixtures ------------------------------------------------------------------------------------------------


def test_a_killed_run_counts_as_the_slowest_and_keeps_the_score_provisional() -> None:
    runs = [logged_run(number, minutes=length) for number, length in enumerate([10, 11, None, 12, 13])]
    result = score(_set(runs))
    assert (result.olympic_minutes, result.converged, result.provisional) == (12.0, 4, True)
    assert result.notes == ("result_2.txt: counts as not converged: has no run_stop: cut off, killed, or still running. "
                            "The score stays provisional.",)


def test_problems_of_a_run_that_counts_are_told() -> None:
    runs = [logged_run(number) for number in range(5)]
    runs[3].problems.append("2 lines are damaged")
    assert score(_set(runs)).notes == ("result_3.txt: 2 lines are damaged.",)


def test_runs_with_the_same_fate_share_a_note() -> None:
    notes = score(logged_set([10.0, *([None] * 9)], "bert")).notes
    assert notes[-1].startswith("result_1.txt, result_2.txt, result_3.txt, result_4.txt, result_5.txt and 4 more: counts as")


def test_success_without_the_target_does_not_count() -> None:
    result = score(_set([logged_run(number, quality=0.7 if number == 1 else None) for number in range(5)]))
    assert (result.converged, result.olympic_minutes) == (4, 10.0)
    assert result.notes == ("result_1.txt: counts as not converged: its status is success, but no evaluation reached the target, 0.759.",)


@pytest.mark.parametrize("facts, words", [
    ({"submission_benchmark": "bert", "global_batch_size": 3264}, "different benchmarks: resnet (result_0.txt, result_1.txt"),
    ({"submission_division": "open"}, "different divisions: closed"), ({"submission_platform": "8xH200"}, "different platforms: 1xH200"),
    ({"global_batch_size": 4096}, "different batch sizes: 3264")])
def test_mixed_folder_has_no_score(facts: dict[str, Any], words: str) -> None:
    runs = [logged_run(number, **(facts if number == 4 else {})) for number in range(5)]
    result = score(_set(runs))
    assert (result.olympic_minutes, result.rcp, result.epochs_to_converge, result.samples_per_second) == (None, None, None, None)
    assert words in result.notes[0]
    assert result.notes[0].startswith("No common score")


def test_different_targets_have_no_common_score() -> None:
    runs = [logged_run(number, submission_division="open",
                       quality_target={"targets": {"": 0.5 + number // 4 / 10}, "higher_is_better": True, "strict": False})
            for number in range(5)]
    assert "different targets: 0.5 (result_0.txt, result_1.txt, result_2.txt, result_3.txt); 0.6 (result_4.txt)" in score(_set(runs)).notes[0]


def test_organizations_may_differ_in_a_provisional_score() -> None:
    result = score(_set([logged_run(number, submission_org=f"org{number // 4}") for number in range(5)]))
    assert (result.olympic_minutes, result.provisional) == (10.0, True)
    assert "different organizations: org0" in result.notes[0]


def test_a_run_that_tells_nothing_is_no_mixture() -> None:
    runs = [logged_run(number) for number in range(4)] + [RunLog(Path("result_4.txt"), problems=["has no :::MLLOG lines"])]
    result = score(_set(runs))
    assert (result.olympic_minutes, result.provisional) == (10.0, True)
    assert result.notes == ("result_4.txt: counts as not converged: has no :::MLLOG lines. The score stays provisional.",)


def test_folder_without_any_mlperf_line() -> None:
    result = score(_set([RunLog(Path("result_0.txt"), problems=["has no :::MLLOG lines"])]))
    assert (result.benchmark, result.division, result.olympic_minutes, result.converged) == ("unknown", "unknown", None, 0)


def test_runs_with_a_time_budget_have_no_time_to_target() -> None:
    runs = logged_set([120.0, 120.1, 120.2], "transformer", submission_division="open")
    result = score(dataclasses.replace(runs, records={"config": {"config": {"time_budget_minutes": 120.0}}}))
    assert (result.olympic_minutes, result.epochs_to_converge, result.missing_runs, result.provisional) == (None, None, 0, False)
    assert result.samples_per_second is not None
    assert result.notes[0].startswith("No score: the runs trained for a time budget of 120 minutes")


@pytest.mark.parametrize("config", [{"time_budget_minutes": 0.0}, {"time_budget_minutes": "120"}, {}, None, 5])
def test_a_config_without_a_time_budget_changes_no_score(config: Any) -> None:
    assert score(dataclasses.replace(logged_set([10, 11, 12, 13, 20]), records={"config": {"config": config}})).olympic_minutes == 12.0


def test_a_benchmark_without_a_known_rule_is_told() -> None:
    result = score(logged_set([10, 11, 12], submission_benchmark="chess"))
    assert result.notes[0] == "How many runs the rules ask of chess is not known here: 10 are taken."
    assert score(logged_set([10, 11, 12, 13, 20], submission_benchmark="dlrm", quality=0.8026)).missing_runs == 0


def test_pause_of_a_resumed_run_is_told() -> None:
    runs = [logged_run(number, minutes=10, phase_seconds={"train": 500.0 if number else 200.0, "input_wait": 5.0, "checkpoint": 5.0,
                                                          "evaluate": 85.0, "all_reduce": 300.0}) for number in range(5)]
    assert score(_set(runs)).notes == ("result_0.txt: 5.1 of its 10.0 minutes lie outside of training and evaluation: it was stopped "
                                       "and resumed. The clock of the rules does not stop for that.",)


# Epochs, samples, scaling -------------------------------------------------------------------------------------------


def test_epochs_are_the_olympic_mean_with_failed_runs_as_the_slowest() -> None:
    runs = [logged_run(number, epoch=epoch, status="aborted" if number == 4 else "success")
            for number, epoch in enumerate([30, 35, 36, 40, 99])]
    result = score(_set(runs))
    assert (result.epochs_to_converge, result.unit) == (37.0, "epochs")


def test_bert_counts_samples() -> None:
    result = score(logged_set([10.0] * 10, "bert", epoch=2_400_000, train_samples=156_725_653))
    assert (result.epochs_to_converge, result.unit, result.samples_per_second) == (2_400_000, "samples", 4000.0)


def test_bert_log_that_counts_steps_tells_no_samples() -> None:
    result = score(logged_set([10.0] * 10, "bert", epoch=372, global_batch_size=8192))
    assert (result.olympic_minutes, result.epochs_to_converge, result.samples_per_second) == (10.0, None, None)
    assert any("below one batch" in note for note in result.notes)


def test_closed_division_fixes_the_samples_of_an_epoch() -> None:
    result = score(logged_set([10.0] * 5, "maskrcnn", epoch=14, train_samples=40_000))
    assert result.samples_per_second == pytest.approx(14 * 117_266 / 600)
    assert any("train_samples is 40000" in note for note in result.notes)
    assert score(logged_set([10.0] * 5, "maskrcnn", epoch=14, train_samples=600, submission_division="open",
                            )).samples_per_second == pytest.approx(14.0)


def test_scaled_score_is_the_olympic_mean_times_the_rcp_scaling() -> None:
    result = score(logged_set([10, 11, 12, 13, 20], epoch=35))
    assert result.rcp is not None and result.rcp.passed
    assert result.scaled_minutes == pytest.approx(12.0 * (457 / 13) / 35, rel=1e-12)  # 457 / 13: mean of 13 reference runs at 3264
    assert result.olympic_minutes == 12.0
    open_division = score(logged_set([10, 11, 12, 13, 20], epoch=35, submission_division="open"))
    assert (open_division.rcp, open_division.scaled_minutes) == (None, 12.0)


def test_unofficial_reference_points_scale_no_score() -> None:
    result = score(logged_set([10.0] * 10, "transformer", epoch=4.4))
    assert result.rcp is not None and result.rcp.scaling > 1
    assert result.scaled_minutes == 10.0


# Files --------------------------------------------------------------------------------------------------------------


def test_generated_folder_with_a_killed_run(tmp_path: Path) -> None:
    write_result_set(tmp_path, "resnet", [10, 11, 12, 13, 20], [36] * 5, global_batch_size=3264)
    write_run(tmp_path / "result_4.txt", "resnet", status=None, global_batch_size=3264)
    result = _read(tmp_path)
    assert (result.olympic_minutes, result.converged, result.provisional) == (12.0, 4, True)


PUBLISHED = {"v0.7/google-tpu-v3-8192-JAX/bert": 0.400, "v0.7/google-tpu-v3-8192-JAX/resnet": 0.472,
             "v0.7/google-tpu-v3-8192-JAX/transformer": 0.258, "v2.0/nvidia-dgxa100/maskrcnn": 43.71,
             "v4.0/nvidia-8xH200/resnet": 12.03, "v5.0/dell-8xH200/bert": 4.96}


def test_published_results(shared_data: Path) -> None:
    results = {name: _read(shared_data / "mlperf_logs" / name) for name in PUBLISHED}
    digits = {name: 3 if expected < 1 else 2 for name, expected in PUBLISHED.items()}
    assert {name: round(result.olympic_minutes or 0.0, digits[name]) for name, result in results.items()} == PUBLISHED
    assert [result.provisional for result in results.values()] == [False] * 6
    resnet, bert = results["v4.0/nvidia-8xH200/resnet"], results["v5.0/dell-8xH200/bert"]
    (pair,), notes = lp2bm_scores([resnet, bert])
    assert (round(pair.score, 2), pair.provisional, notes) == (2.42, False, [])
    # The points between: 35 + (35.1538 - 35) (3200 - 1632) / 1632 epochs; 448 and 4608 for 768 samples a batch.
    assert resnet.rcp is not None and resnet.rcp.scaling == pytest.approx((35 + 2 / 13 * 1568 / 1632) / 35, rel=1e-9)
    assert bert.scaled_minutes == pytest.approx(5.137, abs=5e-4)
    assert results["v2.0/nvidia-dgxa100/maskrcnn"].samples_per_second == pytest.approx(625.8, abs=0.1)
    assert results["v0.7/google-tpu-v3-8192-JAX/bert"].epochs_to_converge is None
