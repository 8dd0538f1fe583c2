"""Closed-division result files as the rules want them, line by line: for tests of what reads logs."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

START_MS = 1_700_000_000_000

_RESNET_UNITS = (3, 4, 6, 3)
_HYPERPARAMETERS: dict[str, dict[str, Any]] = {
    "resnet": {"opt_name": "lars", "lars_opt_base_learning_rate": 9.5, "lars_opt_end_learning_rate": 0.0001,
               "lars_opt_learning_rate_decay_poly_power": 2, "lars_opt_learning_rate_decay_steps": 12819, "lars_epsilon": 0.0,
               "lars_opt_learning_rate_warmup_epochs": 2, "lars_opt_momentum": 0.9, "lars_opt_weight_decay": 5e-05},
    "bert": {"opt_base_learning_rate": 0.0004, "opt_epsilon": 1e-06, "opt_lamb_epsilon": 1e-06,
             "opt_learning_rate_training_steps": 7000, "opt_learning_rate_warmup_steps": 0, "num_warmup_steps": 0,
             "start_warmup_step": 0, "opt_lamb_beta_1": 0.9, "opt_lamb_beta_2": 0.999, "opt_lamb_weight_decay_rate": 0.01},
    "maskrcnn": {"opt_base_learning_rate": 0.12, "opt_learning_rate_warmup_steps": 625,
                 "opt_learning_rate_warmup_factor": 0.0001, "num_image_candidates": 6000, "opt_learning_rate_decay_factor": 0.1,
                 "opt_learning_rate_decay_steps": [12000, 16000], "min_image_size": 800, "max_image_size": 1333},
    "transformer": {"opt_name": "adam", "opt_base_learning_rate": 2.0, "opt_learning_rate_warmup_steps": 664,
                    "opt_adam_beta_1": 0.9, "opt_adam_beta_2": 0.98, "opt_adam_epsilon": 1e-09},
    "minigo": {"train_batch_size": 4096, "lr_rates": "0.16,0.016,0.0016", "lr_boundaries": "50000,100000",
               "min_selfplay_games_per_generation": 8192},
}
# global batch size, train_samples, eval_samples, a quality that reaches the target
_COMMON: dict[str, tuple[int, int, int, Any]] = {
    "resnet": (4096, 1281167, 50000, 0.7591), "bert": (448, 156725653, 10000, 0.7203),
    "maskrcnn": (96, 117266, 5000, {"BBOX": 0.3781, "SEGM": 0.3402}), "transformer": (2048, 566340, 3003, 0.2512),
    "minigo": (4096, 2_500_000, 100, 0.51)}


def tensors(benchmark: str) -> list[str]:
    """The names of the weights_initialization lines."""
    if benchmark == "resnet":
        return ["conv0_weight", "bn0_gamma", "bn0_beta", "fc1_weight", "fc1_bias", *_resnet_units()]
    if benchmark == "bert":
        return list(_bert_tensors())
    if benchmark == "maskrcnn":
        return [*(f"FPN_{kind}_block{i}" for kind in ("inner", "layer") for i in range(1, 5)),
                *(f"RPNHead_{name}" for name in ("conv", "cls", "bbox")),
                *(f"ROI_BOX_FEATURE_EXTRACTOR_{name}" for name in ("fc6", "fc7")),
                *(f"ROI_BOX_PREDICTOR_{name}" for name in ("cls", "bbox")),
                *(f"ROI_MASK_FEATURE_EXTRACTOR_fcn{i}" for i in range(1, 5)),
                *(f"ROI_MASK_PREDICTOR_{name}" for name in ("fcn5", "fcn_logits"))]
    return []


def _resnet_units() -> Iterator[str]:
    for stage, units in enumerate(_RESNET_UNITS, 1):
        for unit in range(1, units + 1):
            names = [f"conv{i}_weight" for i in (1, 2, 3)] + [f"bn{i}_{kind}" for i in (1, 2, 3) for kind in ("gamma", "beta")]
            names += ["conv1sc_weight", "bnsc_gamma", "bnsc_beta"] if unit == 1 else []
            yield from (f"stage{stage}_unit{unit}_{name}" for name in names)


def _bert_tensors() -> Iterator[str]:
    embeddings = ("word_embeddings", "position_embeddings", "token_type_embeddings", "LayerNorm/gamma", "LayerNorm/beta")
    yield from (f"bert/embeddings/{name}" for name in embeddings)
    dense = ("attention/self/query", "attention/self/key", "attention/self/value", "attention/output/dense", "intermediate/dense",
             "output/dense")
    for layer in range(24):
        yield from (f"bert/encoder/layer_{layer}/{name}/{kind}" for name in dense for kind in ("kernel", "bias"))
        yield from (f"bert/encoder/layer_{layer}/{name}/LayerNorm/{kind}" for name in ("attention/output", "output")
                    for kind in ("gamma", "beta"))
    yield from (f"bert/pooler/dense/{kind}" for kind in ("kernel", "bias"))
    yield from (f"cls/predictions/{name}" for name in ("output_bias", "transform/dense/kernel", "transform/dense/bias",
                                                       "transform/LayerNorm/gamma", "transform/LayerNorm/beta"))
    yield from (f"cls/seq_relationship/{name}" for name in ("output_weights", "output_bias"))


def write_run(path: Path, benchmark: str, *, minutes: float = 30.0, epoch: float = 41, seed: int = 1,
              global_batch_size: int | None = None, status: str | None = "success", quality: Any = None,
              division: str = "closed", start_ms: int = START_MS, ruleset_lines: bool = True) -> Path:
    """One result file.

    Args:
      path: the file.
      benchmark: resnet, bert, maskrcnn or transformer.
      minutes: run_start to run_stop.
      epoch: epoch_num of the deciding evaluation (samples for bert); one evaluation lies before it, at half of the way.
      seed, global_batch_size, division: as logged.
      status: of run_stop; None leaves the line out, like a run that was killed.
      quality: of the last evaluation; default: reaches the target.
      start_ms: time of the first line.
      ruleset_lines: with the weights_initialization lines of rulesets 1.1.0 to 2.1.0.
    """
    batch, train_samples, eval_samples, good = _COMMON[benchmark]
    batch = global_batch_size or batch
    quality = good if quality is None else quality
    halfway = {name: value / 2 for name, value in quality.items()} if isinstance(quality, dict) else quality / 2
    middle = int(epoch // 2) if epoch >= 2 else epoch / 2
    run_ms = start_ms + 60_020
    stop_ms = run_ms + round(minutes * 60_000)
    lines: list[tuple[int, str, Any, dict[str, Any]]] = []

    def add(time_ms: int, key: str, value: Any = None, **metadata: Any) -> None:
        lines.append((time_ms, key, value, metadata))

    facts = {"submission_benchmark": benchmark, "submission_division": division, "submission_org": "org",
             "submission_platform": "1xH200", "submission_status": "onprem", "seed": seed, "global_batch_size": batch,
             "train_samples": train_samples, "eval_samples": eval_samples, "gradient_accumulation_steps": 1,
             **_HYPERPARAMETERS[benchmark]}
    add(start_ms, "cache_clear", True)
    add(start_ms + 1, "init_start")
    for number, (key, value) in enumerate(facts.items(), 2):
        add(start_ms + number, key, value)
    if benchmark == "transformer":
        add(start_ms + 50, "max_sequence_length", 256, method="discard")
    for name in tensors(benchmark) if ruleset_lines else ():
        add(start_ms + 60, "weights_initialization", None, tensor=name)
    add(run_ms - 1, "init_stop")
    add(run_ms, "run_start")
    for share, at, value, first in ((0.5, middle, halfway, 0), (1.0, epoch, quality, middle)):
        time_ms = run_ms + round(share * (stop_ms - run_ms))
        add(time_ms - 900, "block_start", None, first_epoch_num=first + 1, epoch_count=max(1, round(at - first)))
        add(time_ms - 800, "eval_start", None, epoch_num=at)
        if benchmark == "minigo":
            add(time_ms - 850, "actual_selfplay_games_per_generation", 8200 + round(at), epoch_num=at)
        add(time_ms - 300, "eval_accuracy", value, epoch_num=at)
        add(time_ms - 200, "eval_stop", None, epoch_num=at)
        add(time_ms - 100, "block_stop", None, first_epoch_num=first + 1)
    if status is not None:
        add(stop_ms, "run_stop", None, status=status)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(_line(number, *line) for number, line in enumerate(lines, 1)), encoding="utf-8")
    return path


def _line(number: int, time_ms: int, key: str, value: Any, metadata: dict[str, Any]) -> str:
    kind = "INTERVAL_START" if key.endswith("_start") else "INTERVAL_END" if key.endswith("_stop") else "POINT_IN_TIME"
    lineno = 99 if key == "weights_initialization" else number
    return ":::MLLOG " + json.dumps({"namespace": "", "time_ms": time_ms, "event_type": kind, "key": key, "value": value,
                                     "metadata": {"file": "run.py", "lineno": lineno, **metadata}}) + "\n"


def write_result_set(folder: Path, benchmark: str, minutes: Sequence[float], epochs: Sequence[float], *,
                     global_batch_size: int | None = None, seeds: Sequence[int] | None = None,
                     statuses: Sequence[str | None] | None = None) -> Path:
    """result_0.txt, result_1.txt, ... of runs made one after the other; a status other than success misses the target."""
    start_ms = START_MS
    for index, (length, epoch) in enumerate(zip(minutes, epochs, strict=True)):
        status = statuses[index] if statuses else "success"
        good = _COMMON[benchmark][3]
        missed = {name: value - 0.05 for name, value in good.items()} if isinstance(good, dict) else good - 0.05
        write_run(folder / f"result_{index}.txt", benchmark, minutes=length, epoch=epoch,
                  seed=seeds[index] if seeds else 1000 + index, global_batch_size=global_batch_size, status=status,
                  quality=None if status == "success" else missed, start_ms=start_ms)
        start_ms += round(length * 60_000) + 300_000
    return folder
