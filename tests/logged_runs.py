"""Runs as read from logs, made in memory: for tests of what is computed from them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax_mlperf.mlperf.reading.result_set import ResultSet
from jax_mlperf.mlperf.reading.run_log import Evaluation, RunLog

_BATCH_AND_QUALITY: dict[str, tuple[int, Any]] = {
    "resnet": (3264, 0.7591), "bert": (448, 0.7203), "maskrcnn": (96, {"BBOX": 0.3781, "SEGM": 0.3402}),
    "transformer": (2048, 0.2512), "ncf": (2048, 0.6351), "unet3d": (56, 0.909)}


def logged_run(number: int = 0, benchmark: str = "resnet", *, minutes: float | None = 10.0, epoch: float | None = 36,
               status: str | None = "success", quality: Any = None, start_ms: int | None = None, **facts: Any) -> RunLog:
    """A run of the closed division with one evaluation; minutes None: it was killed. A fact that is None is left out."""
    batch, good = _BATCH_AND_QUALITY[benchmark]
    start = 1_700_000_000_000 + 3_600_000 * number if start_ms is None else start_ms
    told = {"submission_benchmark": benchmark, "submission_division": "closed", "submission_org": "org",
            "submission_platform": "1xH200", "global_batch_size": batch, "gradient_accumulation_steps": 1,
            "train_samples": {"maskrcnn": 117_266}.get(benchmark, 1_281_167)} | facts
    run = RunLog(Path(f"result_{number}.txt"), {key: value for key, value in told.items() if value is not None},
                 run_start_ms=start, lines=20, evaluations=[Evaluation(start + 1, epoch, good if quality is None else quality)])
    if minutes is None:
        run.problems.append("has no run_stop: cut off, killed, or still running")
    else:
        run.run_stop_ms, run.status = start + round(minutes * 60_000), status
    return run


def logged_set(minutes: Sequence[float | None], benchmark: str = "resnet", *, name: str = "system/resnet", **facts: Any) -> ResultSet:
    """A folder of runs made one after the other, of so many minutes; None is a run that ended without the target."""
    runs = [logged_run(number, benchmark, minutes=60.0 if length is None else length,
                       status="aborted" if length is None else "success", **facts) for number, length in enumerate(minutes)]
    return ResultSet(Path("results") / name, runs)
