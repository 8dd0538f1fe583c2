"""Result folders and a scaling study that reports are made of."""

import json
from pathlib import Path

import pytest
from generated_logs import START_MS, write_result_set, write_run

HOSTILE = "</script><b onclick=\"x\">'&\u202egnp.exe"


def log_line(time_ms: int, key: str, value: object = None, **metadata: object) -> str:
    return ":::MLLOG " + json.dumps({"time_ms": time_ms, "key": key, "value": value, "metadata": metadata}) + "\n"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two ResNet folders, one with a run that missed the target and one that was killed, BERT, and Mask R-CNN."""
    write_result_set(tmp_path / "first" / "resnet", "resnet", [30, 32, 31, 40, 35], [41, 42, 43, 44, 45],
                     statuses=["success", "success", "success", "aborted", None])
    write_result_set(tmp_path / "second" / "resnet", "resnet", [10, 12, 11, 13, 20], [41, 42, 43, 44, 45])
    write_result_set(tmp_path / "second" / "bert", "bert", [5.0 + 0.1 * run for run in range(10)], [2_000_000.0] * 10)
    write_result_set(tmp_path / "second" / "maskrcnn", "maskrcnn", [40, 41, 42, 43, 44], [14.0] * 5)
    for name, rate in (("first", 9.5), ("second", 7.4)):
        folder = tmp_path / name / "resnet"
        (folder / "config.json").write_text(json.dumps({"config": {"optimizer": {"rate": rate}, "same": True}}))
        (folder / "environment.json").write_text(json.dumps({"jax": "0.10", "accelerators": f"8 x {HOSTILE}"}))
    return tmp_path


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study with 1, 2, 4 and 16 workers, not in this order, whose first two runs have logs."""
    folder = tmp_path / "study"
    entries = []
    for workers, train, all_reduce, reached in ((16, 20.0, 10.0, False), (1, 100.0, 0.0, True), (2, 60.0, 10.0, True), (4, 40.0, 15.0, True)):
        entries.append({"workers": workers, "devices": 1, "reached": reached, "epochs": 9, "minutes": train / 50, "train_seconds": train,
                        "all_reduce_seconds": all_reduce, "compute_seconds": train - all_reduce, "input_wait_seconds": 1.0,
                        "evaluate_seconds": 3.0, "checkpoint_seconds": 0.5, "workdir": f"/elsewhere/workers_{workers}"})
        if workers < 4:
            write_run(folder / f"workers_{workers}" / "result_0.txt", "resnet", minutes=train / 50)
    (folder / "scaling.json").write_text(json.dumps(entries))
    return folder


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Logs that are hardly any: hostile, empty, of an unknown benchmark, without epochs, and one of 10,000 evaluations."""
    hostile = write_run(tmp_path / "odd" / HOSTILE.replace("/", "") / "result_0.txt", "transformer", minutes=2, epoch=4)
    text = hostile.read_text().replace('"1xH200"', json.dumps(HOSTILE + "N" * 4000))
    hostile.write_text(text + ":::MLLOG {cut\n" + log_line(START_MS + 90_000, "eval_accuracy", float("nan"), epoch_num=3))
    (tmp_path / "odd" / "empty").mkdir()
    (tmp_path / "odd" / "empty" / "result_0.txt").write_bytes(bytes(range(256)))
    unknown = tmp_path / "odd" / "unknown"
    unknown.mkdir()
    lines = [log_line(START_MS, "submission_benchmark", HOSTILE), log_line(START_MS, "run_start")]
    lines += [log_line(START_MS + 60_000 * (at + 1), "eval_accuracy", value) for at, value in enumerate((0.1, -5e300, 0.3))]
    (unknown / "result_0.txt").write_text("".join([*lines, log_line(START_MS + 240_000, "run_stop", status="success")]))
    long = tmp_path / "odd" / "long"
    long.mkdir()
    lines = [log_line(START_MS, "submission_benchmark", "minigo"), log_line(START_MS, "run_start")]
    lines += [log_line(START_MS + 1000 * at, "eval_accuracy", 0.9 if at == 5000 else 0.2 + at / 100_000, epoch_num=at) for at in range(1, 10_001)]
    (long / "result_0.txt").write_text("".join(lines))
    return tmp_path / "odd"
