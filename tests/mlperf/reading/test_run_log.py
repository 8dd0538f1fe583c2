"""What a result file tells about its run."""

import json
import os

import pytest
from generated_logs import START_MS, write_run

from jax_mlperf.mlperf.reading.run_log import read_run


def line(time_ms, key, value=None, **metadata):
    return ":::MLLOG " + json.dumps({"time_ms": time_ms, "key": key, "value": value, "metadata": metadata}) + "\n"


def test_a_whole_run(tmp_path):
    run = read_run(write_run(tmp_path / "result_0.txt", "resnet", minutes=30, epoch=41, seed=12))
    assert (run.benchmark, run.number("global_batch_size"), run.seeds, run.tensors) == ("resnet", 4096, [12], 161)
    assert (run.minutes, run.status, run.problems) == (30, "success", [])
    assert run.init_minutes == pytest.approx(60.018 / 60)
    assert [(entry.epoch, entry.value) for entry in run.evaluations] == [(20, 0.37955), (41, 0.7591)]
    assert run.evaluations[-1].time_ms == START_MS + 60_020 + 30 * 60_000 - 300
    assert run.evaluations[-1].stop_ms - run.evaluations[-1].start_ms == 600
    assert run.facts["lars_opt_momentum"] == 0.9 and run.text("submission_org") == "org" and run.number("submission_org") is None


def test_quality_by_name(tmp_path):
    run = read_run(write_run(tmp_path / "result_0.txt", "maskrcnn", epoch=13))
    assert run.evaluations[-1].value == {"BBOX": 0.3781, "SEGM": 0.3402}


@pytest.mark.parametrize(("keep", "problem"), [
    ("run_start", "has no run_stop: cut off, killed, or still running"), ("init_start", "has no run_start: cut off, or stopped before training began")])
def test_a_log_that_ends_early(tmp_path, keep, problem):
    path = write_run(tmp_path / "result_0.txt", "bert", ruleset_lines=False)
    lines = path.read_text().splitlines(True)
    last = next(number for number, text in enumerate(lines) if f'"{keep}"' in text)
    path.write_text("".join(lines[:last + 1]))
    run = read_run(path)
    assert run.minutes is None and run.status is None and run.problems == [problem]


def test_a_log_cut_in_the_middle_of_a_line(tmp_path):
    path = write_run(tmp_path / "result_0.txt", "bert", ruleset_lines=False)
    path.write_bytes(path.read_bytes()[:-30])
    first, second = read_run(path).problems
    assert first.startswith("a line is not whole JSON: {") and second.startswith("has no run_stop")


def test_lines_of_several_ranks(tmp_path):
    """The clock runs from the first run_start to the first run_stop; what other ranks say after it changes nothing."""
    path = tmp_path / "result_0.txt"
    path.write_text("".join(f"{rank}: {line(1000 + rank, 'init_start')}" for rank in range(8)) + line(2000, "run_start")
                    + line(2001, "run_start") + line(62_000, "eval_accuracy", 0.5, epoch_num=1)
                    + line(62_000, "run_stop", status="success") + line(62_005, "eval_accuracy", 0.9, epoch_num=1)
                    + line(63_000, "run_stop", status="aborted"))
    run = read_run(path)
    assert (run.init_start_ms, run.minutes, run.status, [entry.value for entry in run.evaluations]) == (1000, 1.0, "success", [0.5])
    assert run.problems == ["run_start stands there more than once; the first one counts", "run_stop stands there more than once; the first one counts"]


def test_evaluations_that_overlap_and_end_before_their_accuracy(tmp_path):
    path = tmp_path / "result_0.txt"
    path.write_text(line(0, "run_start") + line(100, "eval_start", epoch_num=1) + line(200, "eval_start", epoch_num=2)
                    + line(300, "eval_accuracy", 0.1, epoch_num=1) + line(350, "eval_stop", epoch_num=1)
                    + line(400, "eval_stop", epoch_num=2) + line(401, "eval_accuracy", 0.2, samples_count=2))
    spans = [(entry.epoch, entry.start_ms, entry.stop_ms) for entry in read_run(path).evaluations]
    assert spans == [(1, 100, 350), (2, 200, 400)]


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"0.5"', "true", "{}", '{"BBOX": "x"}', "[0.5]", "1" + "0" * 400])
def test_a_quality_that_is_no_number(tmp_path, value):
    path = tmp_path / "result_0.txt"
    path.write_text(line(0, "run_start") + f':::MLLOG {{"time_ms": 1, "key": "eval_accuracy", "value": {value}, "metadata": {{}}}}\n')
    run = read_run(path)
    assert run.evaluations == [] and run.problems[0].startswith("eval_accuracy is no finite number")


def test_facts_that_contradict_each_other(tmp_path):
    path = tmp_path / "result_0.txt"
    path.write_text(line(0, "global_batch_size", 256) + line(1, "global_batch_size", 512) + line(2, "seed", 1) + line(3, "seed", 2))
    run = read_run(path)
    assert run.facts["global_batch_size"] == 256 and run.seeds == [1, 2]
    assert "global_batch_size stands there with different values; the first one counts" in run.problems


def test_reported_throughput_is_thinned(tmp_path):
    path = tmp_path / "result_0.txt"
    path.write_text("".join(line(step, "tracked_stats", {"throughput": float(step), "loss": 1}) for step in range(10_000)) + line(10_000, "throughput", 5.5))
    reported = read_run(path).throughputs
    assert 1000 < len(reported) <= 2048 and all(time_ms == value for time_ms, value in reported[:-1])


@pytest.mark.parametrize(("content", "problem"), [
    (b"", "has no :::MLLOG lines"), (b"\xff\xfe\x00" * 100, "has no :::MLLOG lines"),
    (b":::MLL 1556733699.510 run_stop: {}", "has lines of MLPerf 0.5 or 0.6 only, which are not read here")])
def test_files_that_are_no_logs(tmp_path, content, problem):
    (tmp_path / "result_0.txt").write_bytes(content)
    assert read_run(tmp_path / "result_0.txt").problems == [problem]


def test_huge_keys_and_evaluations_are_not_kept(tmp_path):
    many = {f"metric {index}": 0.5 for index in range(10_000)}
    (tmp_path / "result_0.txt").write_text(line(1, "k" * 100_000, 7) + line(2, "eval_accuracy", many) + line(3, "seed", 5))
    run = read_run(tmp_path / "result_0.txt")
    assert run.facts == {"seed": 5} and not run.evaluations and run.problems[0].startswith("eval_accuracy is no finite number")


def test_a_file_that_cannot_be_read(tmp_path):
    assert read_run(tmp_path / "absent.txt").problems == ["cannot be read: No such file or directory"]
    assert read_run(tmp_path).problems == ["cannot be read: Is a directory"]
    os.mkfifo(tmp_path / "pipe")  # nobody writes into it
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name in ("pipe", "endless"):
        assert read_run(tmp_path / name).problems == ["cannot be read: it is a pipe or a device, not a file"]


@pytest.mark.parametrize(("folder", "runs", "minutes"), [
    ("v0.7/google-tpu-v3-8192-JAX/bert", 10, 0.400), ("v0.7/google-tpu-v3-8192-JAX/resnet", 5, 0.472),
    ("v0.7/google-tpu-v3-8192-JAX/transformer", 10, 0.258), ("v2.0/nvidia-dgxa100/maskrcnn", 5, 43.71),
    ("v4.0/nvidia-8xH200/resnet", 5, 12.03), ("v5.0/dell-8xH200/bert", 10, 4.96)])
def test_published_logs(shared_data, folder, runs, minutes):
    logs = [read_run(path) for path in sorted((shared_data / "mlperf_logs" / folder).glob("result_*.txt"))]
    lengths = sorted(log.minutes for log in logs)
    assert len(logs) == runs and not any(log.problems for log in logs)
    assert sum(lengths[1:-1]) / (runs - 2) == pytest.approx(minutes, abs=0.006 if minutes > 1 else 0.0005)
