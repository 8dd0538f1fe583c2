"""Translating text with the newest checkpoint of a run."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from jax_mlperf.benchmark import Topology, TrainState
from jax_mlperf.benchmarks.transformer import TransformerBenchmark
from jax_mlperf.checkpoint import restore_newest
from jax_mlperf.data.subtokenizer import EOS_ID
from jax_mlperf.errors import UserError
from jax_mlperf.parallel.mesh import make_mesh
from jax_mlperf.programs import state_target
from jax_mlperf.workdir import Workdir

# Source lengths are padded to a multiple of this, so that few programs are compiled.
LENGTH_STEP = 32


def translate_lines(config: ConfigDict, data_dir: Path, workdir: Path, run: int, lines: Sequence[str]) -> Iterator[str]:
    """Yields the translation of each line, in order; an empty line stays empty.

    Raises:
      UserError: not a translation config, or no checkpoint or prepared vocabulary where it should be.
    """
    if config.benchmark != "transformer":
        raise UserError(f"translate needs a transformer config, not one of {config.benchmark}")
    benchmark = TransformerBenchmark(config, Topology(1), data_dir)
    if benchmark.data is None:
        raise UserError(f"the prepared data with the vocabulary are missing; make them with: {benchmark.prepare_command()}")
    folder = Workdir(workdir)
    if not folder.run_folder(run).is_dir():
        raise UserError(f"workdir {workdir} has no run {run}; train first with run.py, or give --workdir and --run")
    folder.check_owner(config, sections=("model", "data", "optimizer"))
    params = benchmark.eval_params(_newest_state(benchmark, folder, run))
    step = jax.jit(benchmark.translate_step)
    encoded = [benchmark.data.subtokenizer.encode(line.strip(), add_eos=True) for line in lines]
    size = min(benchmark.config.evaluation.batch_size, len(lines))
    for start in range(0, len(lines), size):
        batch = encoded[start:start + size]
        longest = max(map(len, batch))
        inputs = np.zeros((size, -(-longest // LENGTH_STEP) * LENGTH_STEP), np.int32)
        for row, ids in enumerate(batch):
            inputs[row, :len(ids)] = ids
        inputs[len(batch):, 0] = EOS_ID
        for line, ids in zip(lines[start:start + size], np.asarray(step(params, inputs)), strict=False):
            yield benchmark.data.subtokenizer.decode(ids.tolist()) if line.strip() else ""


def _newest_state(benchmark: TransformerBenchmark, folder: Workdir, run: int) -> TrainState:
    target = state_target(benchmark, make_mesh(1, 1, jax.devices()[:1]))
    state = restore_newest(folder.run_folder(run) / "checkpoints", target)
    if state is None:
        raise UserError(f"run {run} in {folder.path} has no checkpoint yet; train until its first evaluation")
    return state
