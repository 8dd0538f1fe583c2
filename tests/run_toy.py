"""Runs the toy benchmark in a process of its own: python run_toy.py WORKDIR [--KEY=VALUE ...] (config or cluster values)."""

import ast
import os
import sys
from pathlib import Path

import jax
import numpy as np
from toy_benchmark import ToyBenchmark, toy_config

from jax_mlperf.benchmark import Topology
from jax_mlperf.parallel import cluster
from jax_mlperf.parallel.mesh import make_mesh
from jax_mlperf.trainer import train


class FaultyBenchmark(ToyBenchmark):
    """Raises, or waits, before a given step."""

    fail_at = -1
    slow_seconds = 0.0

    def train_batches(self, seed, step):
        import time
        for batch in super().train_batches(seed, step):
            if step == self.fail_at:
                raise RuntimeError("the disk is gone")
            time.sleep(self.slow_seconds)
            yield batch
            step += 1


def main() -> None:
    workdir, *arguments = sys.argv[1:]
    values = {}
    for argument in arguments:
        key, _, text = argument.removeprefix("--").partition("=")
        values[key] = text if key == "coordinator" else ast.literal_eval(text)
    cluster.initialize(values.pop("coordinator", ""), values.pop("processes", 0), values.pop("process", -1))
    FaultyBenchmark.fail_at = values.pop("fail_at", -1)
    FaultyBenchmark.slow_seconds = values.pop("slow_seconds", 0.0)
    mesh = make_mesh(-1, values.pop("fsdp", 1))
    topology = Topology(mesh.size, jax.process_index(), jax.process_count(), mesh)
    results = train(FaultyBenchmark(toy_config(**values), topology), mesh, Path(workdir))
    if cluster.is_primary():
        print("RESULT", results[-1].step, results[-1].complete, results[-1].reached, *results[-1].quality.values())
    cluster.exit_now(0)


if __name__ == "__main__":
    np.seterr(all="ignore")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main()
