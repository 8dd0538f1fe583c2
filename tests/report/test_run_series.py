"""What charts draw of a log: times, throughputs and phases worked by hand."""

import json
from pathlib import Path

import pytest
from generated_logs import START_MS, write_run

from jax_mlperf.mlperf.reading.run_log import RunLog, read_run
from jax_mlperf.report.sections.run_series import phases, quality_points, reached_at, throughput


def log_line(time_ms: int, key: str, value: object = None, **metadata: object) -> str:
    return ":::MLLOG " + json.dumps({"time_ms": time_ms, "key": key, "value": value, "metadata": metadata}) + "\n"


def run_of(path: Path, *lines: str) -> RunLog:
    path.write_text("".join(lines))
    return read_run(path)


def test_quality_over_minutes_since_run_start(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "result_0.txt", "resnet", minutes=30, epoch=41))
    # generated_logs.py: evaluations 300 ms before half and the whole of the run.
    assert quality_points(run, "") == [pytest.approx((15 - 0.005, 0.7591 / 2)), pytest.approx((30 - 0.005, 0.7591))]
    assert reached_at(run) == pytest.approx(30 - 0.005)


def test_each_metric_has_its_points_and_the_target_wants_both(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "result_0.txt", "maskrcnn", quality={"BBOX": 0.38, "SEGM": 0.30}))
    assert [value for _, value in quality_points(run, "SEGM")] == [0.15, 0.30]
    assert quality_points(run, "") == [] and reached_at(run) is None


def test_points_without_a_time_or_beyond_reason_are_not_drawn(tmp_path: Path) -> None:
    lines = [log_line(1000, "eval_accuracy", 0.1), log_line(61_000, "run_start"), log_line(60_000, "eval_accuracy", 0.2),
             log_line(121_000, "eval_accuracy", 0.3), log_line(10 ** 17, "eval_accuracy", 0.4), log_line(181_000, "eval_accuracy", 1e200)]
    assert quality_points(run_of(tmp_path / "a.txt", *lines), "") == [(1.0, 0.3)]
    assert quality_points(run_of(tmp_path / "b.txt", lines[0]), "") == []


def test_throughput_between_evaluations_leaves_evaluation_out(tmp_path: Path) -> None:
    lines = [log_line(0, "submission_benchmark", "cifar10"), log_line(0, "train_samples", 50_000), log_line(0, "run_start")]
    for epoch, begin, end in ((1, 50_000, 60_000), (2, 110_000, 130_000), (4, 180_000, 190_000)):
        lines += [log_line(begin, "eval_start", None, epoch_num=epoch), log_line(end, "eval_accuracy", 0.5, epoch_num=epoch),
                  log_line(end, "eval_stop", None, epoch_num=epoch)]
    found = throughput(run_of(tmp_path / "a.txt", *lines))
    # 50,000 samples in 50 s, in 110 - 60 s, and two epochs in 180 - 130 s.
    assert found.source == "evaluations"
    assert [rate for _, rate in found.points] == pytest.approx([1000, 1000, 2000])
    assert [minutes for minutes, _ in found.points] == pytest.approx([50 / 60, 110 / 60, 3])


def test_evaluations_without_training_before_them_take_no_time_of_it(tmp_path: Path) -> None:
    lines = [log_line(0, "submission_benchmark", "cifar10"), log_line(0, "train_samples", 50_000), log_line(0, "run_start")]
    for epoch, begin, end in ((0, 0, 10_000), (1, 60_000, 70_000), (1, 70_000, 80_000), (2, 130_000, 140_000)):
        lines += [log_line(begin, "eval_start", None, epoch_num=epoch), log_line(end, "eval_accuracy", 0.5, epoch_num=epoch),
                  log_line(end, "eval_stop", None, epoch_num=epoch)]
    assert [rate for _, rate in throughput(run_of(tmp_path / "a.txt", *lines)).points] == pytest.approx([1000, 1000])


def test_training_that_goes_on_during_an_evaluation_is_counted(tmp_path: Path) -> None:
    lines = [log_line(0, "submission_benchmark", "cifar10"), log_line(0, "train_samples", 50_000), log_line(0, "run_start"),
             log_line(50_000, "eval_start", None, epoch_num=1), log_line(100_000, "eval_start", None, epoch_num=2),
             log_line(120_000, "eval_accuracy", 0.5, epoch_num=1), log_line(120_000, "eval_stop", None, epoch_num=1),
             log_line(170_000, "eval_accuracy", 0.5, epoch_num=2), log_line(170_000, "eval_stop", None, epoch_num=2)]
    assert [rate for _, rate in throughput(run_of(tmp_path / "a.txt", *lines)).points] == pytest.approx([1000, 1000])


def test_what_the_run_reported_comes_first(tmp_path: Path) -> None:
    lines = [log_line(0, "run_start"), log_line(60_000, "throughput", 640.0), log_line(90_000, "tracked_stats", {"throughput": 650.0}),
             log_line(120_000, "run_stop", status="success"), log_line(130_000, "throughput", 1.0)]
    found = throughput(run_of(tmp_path / "a.txt", *lines))
    assert found.source == "reported" and found.points == [(1.0, 640.0), (1.5, 650.0)]


@pytest.mark.parametrize("epoch, expected", [(2_000_000.0, [1_000_000 / (15 * 60 - 0.8)]), (500.0, [])])
def test_bert_counts_samples_or_nothing(tmp_path: Path, epoch: float, expected: list[float]) -> None:
    run = read_run(write_run(tmp_path / "result_0.txt", "bert", minutes=30, epoch=epoch, global_batch_size=8192))
    assert [rate for _, rate in throughput(run).points][:1] == pytest.approx(expected)


def test_published_bert_logs_that_count_steps_have_no_throughput(shared_data: Path) -> None:
    run = read_run(shared_data / "mlperf_logs" / "v0.7" / "google-tpu-v3-8192-JAX" / "bert" / "result_0.txt")
    assert throughput(run).points == []


def test_our_logs_tell_their_phases(tmp_path: Path) -> None:
    lines = [log_line(0, "init_start"), log_line(5000, "init_stop"), log_line(6000, "run_start"), log_line(26_000, "run_stop", status="success"),
             log_line(26_000, "phase_seconds", {"train": 12.0, "input_wait": 1.5, "checkpoint": 0.5, "evaluate": 6.0, "all_reduce": 2.0})]
    assert phases(run_of(tmp_path / "a.txt", *lines)) == {
        "initialise and compile": 5.0, "train": 12.0, "input wait": 1.5, "checkpoint": 0.5, "evaluate": 6.0}
    resumed = phases(run_of(tmp_path / "b.txt", *lines[:3], log_line(106_000, "run_stop", status="success"), lines[-1]))
    assert resumed["outside of phases"] == pytest.approx(80.0)


def test_other_logs_tell_evaluation_and_the_rest(tmp_path: Path) -> None:
    lines = [log_line(0, "run_start")]
    for epoch, begin, end in ((1, 10_000, 20_000), (2, 15_000, 25_000), (3, 90_000, 130_000)):
        lines += [log_line(begin, "eval_start", None, epoch_num=epoch), log_line(end, "eval_accuracy", 0.5, epoch_num=epoch),
                  log_line(end, "eval_stop", None, epoch_num=epoch)]
    lines.append(log_line(100_000, "run_stop", status="success"))
    # Overlapping evaluations count once, and none beyond run_stop: 10 to 25 s and 90 to 100 s.
    found = phases(run_of(tmp_path / "a.txt", *lines[:7], lines[7], lines[-1]))
    assert found == pytest.approx({"train and other": 85.0, "evaluate": 15.0})


def test_a_killed_run_has_phases_until_its_last_line(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "result_0.txt", "resnet", minutes=10, status=None, start_ms=START_MS))
    assert sum(phases(run).values()) == pytest.approx(60.018 + 600 - 0.1, abs=0.01)
