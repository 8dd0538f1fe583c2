"""What a run tells of itself, in its log and in its work folder, beside what it trains."""

import os
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jax_mlperf.benchmark import Benchmark, LogEntry
from jax_mlperf.parallel import cluster


def common_entries(benchmark: Benchmark) -> list[LogEntry]:
    """The log lines that every benchmark has before init_stop."""
    return [LogEntry("global_batch_size", benchmark.global_batch_size),
            LogEntry("train_samples", benchmark.train_samples),
            LogEntry("eval_samples", benchmark.eval_samples),
            LogEntry("gradient_accumulation_steps", benchmark.accumulation_steps)]


def quality_target(benchmark: Benchmark) -> dict[str, Any]:
    """The targets in the unit of the eval_accuracy line; the name is "" where that line's value is one number."""
    targets = benchmark.logged_quality(benchmark.quality.targets)
    return {"targets": targets if isinstance(targets, dict) else {"": targets},
            "higher_is_better": benchmark.quality.higher_is_better, "strict": benchmark.quality.strict}


def fresh_seed(configured: int, run: int) -> int:
    """The seed of a run: the configured one plus the run's number, else 31 bits from the operating system."""
    if configured >= 0:
        return configured + run
    return int(cluster.from_primary(np.asarray(int.from_bytes(os.urandom(4)) >> 1, np.int32)))


def platform_name(mesh: Mesh) -> str:
    """What `submission_platform` says when the config does not: number and kind of the devices."""
    return f"{mesh.size}x{mesh.devices.flat[0].device_kind}"


def described_devices(mesh: Mesh) -> list[dict[str, Any]]:
    """The mesh's devices as the description of the system wants them; the memory only of those of this process."""
    described = []
    for device in mesh.devices.flat:
        entry: dict[str, Any] = {"kind": device.device_kind, "platform": device.platform, "process": device.process_index}
        memory = device.memory_stats() if device.process_index == jax.process_index() else None
        described.append(entry | ({"memory_bytes": memory["bytes_limit"]} if memory and "bytes_limit" in memory else {}))
    return described
