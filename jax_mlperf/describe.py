"""`describe`: what a config will do before it does it, from shapes alone: no accelerator, no data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from jax_mlperf import benchmarks
from jax_mlperf.benchmark import Topology
from jax_mlperf.mlperf.rules import check_division, violations
from jax_mlperf.ops.hash_rng import key_data_shape

EVAL_POINTS_SHOWN = 8


def describe(config: ConfigDict, data_dir: Path, *, devices: int = 1, steps: Sequence[int] = (1,)) -> dict[str, Any]:
    """Facts about a config as plain values, ready for JSON.

    Args:
      config: the config.
      data_dir: where its data would lie.
      devices: number of devices to plan for.
      steps: step counters (updates made before, as the reference counts) whose learning rate is wanted; the first update has 0.
    Raises:
      UserError: the benchmark refuses the config.
    """
    check_division(config)
    benchmark = benchmarks.create(config, Topology(devices), data_dir)
    state = jax.eval_shape(benchmark.init, key_data_shape(config.rng_impl))
    spec = benchmark.batch_specs[-1]
    points = [benchmark.next_eval_step(0)]
    while len(points) < EVAL_POINTS_SHOWN and points[-1] < benchmark.max_steps():
        points.append(benchmark.next_eval_step(points[-1]))
    return {
        "benchmark": benchmark.name,
        "variant": config.variant,
        "division": config.division,
        "closed_division_violations": violations(config) if config.division == "closed" else [],
        "quality_target": dict(benchmark.quality.targets),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(state.params)),
        "parameter_tensors": len(jax.tree.leaves(state.params)),
        "forward_flops_per_sample": benchmark.forward_flops(spec) // benchmark.samples_in(spec),
        "global_batch_size": benchmark.global_batch_size,
        "batch_shapes": [{name: list(leaf.shape) for name, leaf in shape.items()} for shape in benchmark.batch_specs],
        "devices": devices,
        "gradient_accumulation_steps": benchmark.accumulation_steps,
        "train_samples": benchmark.train_samples,
        "eval_samples": benchmark.eval_samples,
        "steps_per_epoch": benchmark.steps_per_epoch,
        "max_steps": benchmark.max_steps(),
        "evaluation_steps": points,
        "learning_rate": {str(step): benchmark.learning_rate(step) for step in steps},
        "hyperparameters": {entry.key: entry.value for entry in benchmark.hyperparameters() if entry.value is not None},
        "data_files": {str(file.path): "present" if file.present else "missing" for file in benchmark.data_files()},
        "source_files": {str(file.path): "present" if file.present else "missing" for file in benchmark.source_files()},
        "prepare_command": benchmark.prepare_command(),
    }


def as_text(facts: dict[str, Any]) -> str:
    """The facts for a person, one a line."""
    lines = []
    for key, value in facts.items():
        label = key.replace("_", " ")
        if key == "batch_shapes":
            value = f"{len(value)}, the last " + ", ".join(f"{name} {shape or 'scalar'}" for name, shape in value[-1].items())
        elif key == "evaluation_steps":
            value = ", ".join(f"{step:,}" for step in value) + (", ..." if len(value) == EVAL_POINTS_SHOWN else "")
        elif isinstance(value, dict):
            value = "".join(f"\n    {name}: {_number(item)}" for name, item in value.items()) or "none"
        elif isinstance(value, list):
            value = "".join(f"\n    {item}" for item in value) or "none"
        lines.append(f"{label}: {_number(value)}")
    return "\n".join(lines)


def _number(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:.7g}" if isinstance(value, float) else str(value)
