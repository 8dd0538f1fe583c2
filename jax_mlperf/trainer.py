"""The one training loop: compile, train to the target or through the time budget, evaluate, log, checkpoint.

It knows no benchmark by name: everything it needs of one is in benchmark.py.
"""

import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jax_mlperf.all_reduce import all_reduce_seconds
from jax_mlperf.benchmark import Benchmark, TrainState
from jax_mlperf.checkpoint import Checkpoints, RunRecord
from jax_mlperf.flops import peak_flops
from jax_mlperf.mlperf.log import MLPerfLog, now_ms
from jax_mlperf.mlperf.system.environment import clear_file_caches, environment
from jax_mlperf.ops.hash_rng import key_implementation
from jax_mlperf.parallel import cluster
from jax_mlperf.parallel.mesh import replicated
from jax_mlperf.phases import PhaseClock
from jax_mlperf.prefetch import Prefetcher, grouped, to_devices
from jax_mlperf.programs import CompileCounter, Programs, check_shapes, compile_programs, dispatch_size, signature
from jax_mlperf.progress import Progress, Scalars
from jax_mlperf.run_facts import common_entries, described_devices, fresh_seed, platform_name, quality_target
from jax_mlperf.types import PyTree
from jax_mlperf.workdir import RunResult, Workdir

# Dispatches that the host may run ahead of the devices: enough to hide its work, few enough to stop soon.
RUN_AHEAD = 4


class NonFiniteLoss(Exception):
    """The loss or the gradient norm is not a finite number."""


def train(benchmark: Benchmark, mesh: Mesh, workdir: Path, *, resume: bool = True,
          clock: Callable[[], float] = time.monotonic) -> list[RunResult]:
    """Makes `config.runs` runs, one after the other, each with its own seed and log; complete ones are not repeated.

    Returns:
      The results so far; the last one is incomplete when a SIGTERM stopped it, and the rest is left for the resumption.
    Raises:
      UserError: the work folder cannot be used, or the batch does not divide over the devices.
    """
    config = benchmark.config
    check_shapes(benchmark, mesh)
    folder = Workdir(workdir)
    primary = cluster.is_primary()
    if primary:
        folder.claim(config, resume=resume, write=True)
        folder.record_environment(environment(workdir, described_devices(mesh)))
    cluster.barrier("workdir")
    if not primary:
        folder.claim(config, resume=True, write=False)
    trainer = Trainer(benchmark, mesh, folder, clock)
    results: list[RunResult] = []
    with cluster.Preemption() as preemption:
        for index in range(config.runs):
            done = folder.finished(index)
            if done and primary:
                print(f"run {index} in {workdir} is complete already; another --workdir trains anew", file=sys.stderr)
            result = done or trainer.run(index, preemption)
            results.append(result)
            if not result.complete:
                break
    return results


class Trainer:
    """Runs of one benchmark on one mesh; the programs are compiled once, in the first run."""

    def __init__(self, benchmark: Benchmark, mesh: Mesh, workdir: Workdir, clock: Callable[[], float]) -> None:
        self.benchmark = benchmark
        self.mesh = mesh
        self.workdir = workdir
        self.clock = clock
        self.counter = CompileCounter()

    @functools.cached_property
    def programs(self) -> Programs:
        """The compiled programs."""
        return compile_programs(self.benchmark, self.mesh)

    def run(self, index: int, preemption: cluster.Preemption) -> RunResult:
        """Makes one run, or goes on with it from its newest checkpoint."""
        self.benchmark.forget_data()
        checkpoints = Checkpoints(self.workdir.run_folder(index) / "checkpoints",
                                  keep=self.benchmark.config.checkpoints_kept)
        primary = cluster.is_primary()
        scalars = Scalars(self.workdir.run_folder(index) / "tensorboard") if primary else None
        try:
            run = Run(self, index, checkpoints, self._progress(scalars), preemption)
            result = run.execute()
        finally:
            checkpoints.close()
            if scalars:
                scalars.close()
        if result.complete and primary:
            result = self.workdir.finish(index, result)
        cluster.barrier(f"run {index} complete")
        return result

    @functools.cached_property
    def all_reduce_seconds(self) -> float:
        """Of the gradients, alone; measured once for all runs."""
        return all_reduce_seconds(self.mesh, self.programs.state_target.params)

    @functools.cached_property
    def _flops_per_step(self) -> float:
        """Traced once for all runs."""
        return self.benchmark.train_flops_per_step()

    def _progress(self, scalars: Scalars | None) -> Progress:
        benchmark = self.benchmark
        peak = peak_flops(self.mesh.devices.flat[0])
        return Progress(
            max_steps=benchmark.max_steps(), samples_per_step=benchmark.train_samples / benchmark.steps_per_epoch,
            train_flops_per_step=self._flops_per_step, peak_flops=peak and peak * self.mesh.size, scalars=scalars,
            stream=sys.stderr if cluster.is_primary() else None, plain_seconds=benchmark.config.plain_log_seconds,
            clock=self.clock)


class Run:
    """One run from init_start to run_stop."""

    def __init__(self, trainer: Trainer, index: int, checkpoints: Checkpoints, progress: Progress,
                 preemption: cluster.Preemption) -> None:
        self.trainer = trainer
        self.benchmark = trainer.benchmark
        self.config = trainer.benchmark.config
        self.index = index
        self.checkpoints = checkpoints
        self.progress = progress
        self.preemption = preemption
        self.clock = trainer.clock
        self.log: MLPerfLog
        self.record: RunRecord
        self.state: TrainState
        self.data: PyTree = ()
        self.phases = PhaseClock(self.clock)
        self.all_reduce_seconds = 0.0
        self.step = 0
        self._pending: list[tuple[int, Any]] = []
        self._block_start_step = 0
        self._session_start = 0.0

    def execute(self) -> RunResult:
        """Initialises or resumes, trains, and says how it ended."""
        newest = self.checkpoints.latest_step()
        if newest is None:
            self.record = RunRecord(seed=fresh_seed(self.config.seed, self.index))
        else:
            self._restore(newest)
        self.log = MLPerfLog(self.trainer.workdir.log_file(self.index), enabled=cluster.is_primary(),
                             before_echo=self.progress.clear, keep_bytes=self.record.log_bytes)
        if self.config.time_budget_minutes:
            self.progress.seconds_left = self._budget_left
        try:
            if newest is None:
                self._initialise()
            if self.config.time_budget_minutes:
                cluster.from_primary(np.asarray(False))  # the processes' agreement, compiled before it counts
            self.trainer.counter.restart()
            self._session_start = self.clock()
            self.phases.restart(self.record.phase_seconds)
            return self._train()
        except NonFiniteLoss as error:
            last = self.checkpoints.latest_step()
            kept = f"the checkpoint of step {last} is kept" if last is not None else "no checkpoint had been made yet"
            return self._stop(False, f"{error}; {kept}")
        finally:
            self.log.close()

    # Before the clock starts ------------------------------------------------------------------------------------

    def _initialise(self) -> None:
        self.log.event("cache_clear", self._clear_caches())
        self.log.start("init_start")
        submission = self.config.submission
        self.log.event("submission_benchmark", self.benchmark.name)
        self.log.event("submission_division", self.config.division)
        self.log.event("submission_org", submission.org)
        self.log.event("submission_platform", submission.platform or platform_name(self.trainer.mesh))
        self.log.event("submission_status", submission.status)
        self.log.event("seed", self.record.seed)
        self.log.event("quality_target", quality_target(self.benchmark))
        self.log.entries(common_entries(self.benchmark) + self.benchmark.hyperparameters())
        key_data = self._key_data()
        self.trainer.programs.warm_up(key_data)
        self.all_reduce_seconds = self.trainer.all_reduce_seconds
        self.benchmark.warm_up_input()
        self.state = self.benchmark.starting_point(self.trainer.programs.init(key_data))
        jax.block_until_ready(self.state)
        cluster.barrier("init_stop")
        self.log.end("init_stop")
        self.record.run_start_ms = now_ms()
        self.log.start("run_start")
        cluster.barrier("run_start")  # no process opens the data before that line is written
        self._log_block_start()

    def _clear_caches(self) -> bool:
        """What the closed division asks for before a run; an open-division run leaves the machine alone."""
        if self.config.division != "closed":
            return False
        cleared = clear_file_caches()
        if not cleared:
            self.progress.message("the file system's caches could not be cleared (only root may): clear them before a submission")
        return cleared

    def _key_data(self) -> jax.Array:
        key = jax.random.key(self.record.seed, impl=key_implementation(self.config.rng_impl))
        return jax.device_put(np.asarray(jax.random.key_data(key)), replicated(self.trainer.mesh))

    def _restore(self, step: int) -> None:
        self.all_reduce_seconds = self.trainer.all_reduce_seconds
        self.benchmark.warm_up_input()
        self.state, self.record = self.checkpoints.restore(step, self.trainer.programs.state_target)
        self.step = step
        self._block_start_step = self.record.quality[-1][0] if self.record.quality else 0
        self.progress.message(f"resuming run {self.index} at step {step}")

    # On the clock -----------------------------------------------------------------------------------------------

    def _train(self) -> RunResult:
        self.data = self.trainer.programs.place_data(self.benchmark.host_data())
        self.phases.lap("input_wait")
        if self.step and self._is_eval_point():  # saved before its evaluation
            result = self._evaluate_and_decide(0)
            if result:
                return result
        groups = grouped(self.benchmark.train_batches(self.record.seed, self.step), self.step,
                         lambda step: dispatch_size(self.benchmark, step))
        batches = Prefetcher(self.trainer.mesh, groups, self.config.prefetch_batches)
        self.progress.restart(self.step)
        try:
            for batch, size in batches:
                self.phases.lap("input_wait")
                self._dispatch(batch, size)
                result = self._after_dispatch(size)
                if result:
                    return result
                self.phases.lap("train")
        finally:
            batches.close()
        raise AssertionError("train_batches ended")

    def _dispatch(self, batch: PyTree, size: int) -> None:
        program = self.trainer.programs.train[signature(batch)]
        self.state, metrics = program(self.state, batch, self.data)
        self.step += size
        self._pending.append((self.step, metrics))
        if len(self._pending) > RUN_AHEAD:
            jax.block_until_ready(self._pending[-RUN_AHEAD][1])

    def _after_dispatch(self, size: int) -> RunResult | None:
        if crossed(self.step, size, self.config.log_every_steps):
            self._report()
        if self._is_eval_point():
            self._save()
            result = self._evaluate_and_decide(size)
            if result:
                return result
        else:
            if crossed(self.step, size, self.config.checkpoint_every_steps):
                self._save()
            if self._budget_is_spent(size):
                self._report()
                return self._finish_budget(self._evaluate())
        if self.preemption.at(self.step):
            self._save()
            self.checkpoints.wait()
            return self._result(False, complete=False, reason="stopped by SIGTERM; the same command resumes it")
        return None

    def _is_eval_point(self) -> bool:
        return self.benchmark.next_eval_step(self.step - 1) == self.step

    def _report(self) -> None:
        """Fetches the metrics of all steps since the last report, checks them and shows the newest."""
        if not self._pending:
            return
        fetched = jax.device_get([metrics for _, metrics in self._pending])
        ends = [step for step, _ in self._pending]
        self._pending.clear()
        for end, metrics in zip(ends, fetched, strict=True):
            check_finite(end, metrics)
        last = {name: float(np.ravel(value)[-1]) for name, value in fetched[-1].items()}
        self.progress.update(self.step, last)

    def _save(self) -> None:
        self._report()
        self.phases.lap("train")
        self.record.phase_seconds = dict(self.phases.seconds)
        self.record.active_seconds += self._session_seconds(restart=True)
        self.record.log_bytes = self.log.length()
        self.checkpoints.save(self.step, self.state, self.record)
        self.phases.lap("checkpoint")

    def _session_seconds(self, restart: bool = False) -> float:
        now = self.clock()
        seconds = now - self._session_start
        if restart:
            self._session_start = now
        return seconds

    def _budget_is_spent(self, size: int) -> bool:
        # Several processes agree through a collective, so they ask only now and then.
        asks = jax.process_count() == 1 or crossed(self.step, size, self.config.log_every_steps)
        if not self.config.time_budget_minutes or not asks:
            return False
        return bool(cluster.from_primary(np.asarray(self._budget_left() <= 0)))

    def _budget_left(self) -> float:
        return self.config.time_budget_minutes * 60 - self.record.active_seconds - self._session_seconds()

    def _finish_budget(self, metrics: dict[str, float]) -> RunResult:
        reached = self.benchmark.quality.reached(metrics)
        return self._stop(reached, f"the time budget of {self.config.time_budget_minutes:g} minutes is used up",
                          as_asked=True)

    # Evaluation and the end -------------------------------------------------------------------------------------

    def _evaluate_and_decide(self, size: int) -> RunResult | None:
        """Evaluates after a dispatch of `size` steps; the result when the run ends here."""
        metrics = self._evaluate()
        if self.config.time_budget_minutes:
            if self._budget_is_spent(size):
                return self._finish_budget(metrics)
        elif self.benchmark.quality.reached(metrics):
            return self._stop(True, "the target was reached", as_asked=True)
        elif self.step >= self.benchmark.max_steps():
            return self._stop(False, f"the target was not reached by {self.benchmark.elapsed(self.step)}")
        self.state = self.benchmark.after_evaluation(self.state, metrics)
        self._log_block_stop()
        self._log_block_start()
        self.progress.restart(self.step)
        return None

    def _evaluate(self) -> dict[str, float]:
        benchmark = self.benchmark
        self.phases.lap("train")
        epoch = benchmark.epoch_num(self.step)
        self.log.start("eval_start", epoch_num=epoch)
        program = self.trainer.programs.evaluate
        outputs = [program(self.state, to_devices(self.trainer.mesh, batch), self.data) for batch in benchmark.eval_batches()]
        metrics = benchmark.score(jax.device_get(outputs))
        self.log.event("eval_accuracy", benchmark.logged_quality(metrics), epoch_num=epoch)
        for entry in benchmark.evaluation_entries(metrics):
            self.log.event(entry.key, entry.value, **(entry.metadata or {}), epoch_num=epoch)
        self.log.end("eval_stop", epoch_num=epoch)
        self.record.quality.append((self.step, metrics))
        self.progress.quality(self.step, benchmark.elapsed(self.step), metrics)
        self.phases.lap("evaluate")
        return metrics

    def _block_epochs(self, start_step: int) -> tuple[int | float, float]:
        first = self.benchmark.epoch_num(start_step)
        last = self.benchmark.epoch_num(self.benchmark.next_eval_step(start_step))
        return first + 1, round(last - first, 3)

    def _log_block_start(self) -> None:
        self._block_start_step = self.step
        first, count = self._block_epochs(self.step)
        self.log.start("block_start", first_epoch_num=first, epoch_count=count)

    def _log_block_stop(self) -> None:
        self.log.end("block_stop", first_epoch_num=self._block_epochs(self._block_start_step)[0])

    def _stop(self, reached: bool, reason: str, as_asked: bool = False) -> RunResult:
        self._log_block_stop()
        stopped_ms = now_ms()
        self.log.end("run_stop", status="success" if reached else "aborted")
        compiled = self.trainer.counter.names
        self.log.event("compilations_in_timed_region", len(compiled), programs=compiled)
        self.log.event("phase_seconds", self._phase_seconds())
        self.log.entries(self.benchmark.closing_entries())
        self.checkpoints.wait()
        return self._result(reached, complete=True, reason=reason, as_asked=as_asked, stopped_ms=stopped_ms)

    def _phase_seconds(self) -> dict[str, float]:
        """Wall-clock seconds by phase; of those in training, as many as the all-reduces would take if nothing hid them."""
        seconds = {**self.phases.seconds, "all_reduce": self.step * self.all_reduce_seconds}
        return {name: round(value, 3) for name, value in seconds.items()}

    def _result(self, reached: bool, *, complete: bool, reason: str, as_asked: bool = False,
                stopped_ms: int = 0) -> RunResult:
        minutes = ((stopped_ms or now_ms()) - self.record.run_start_ms) / 60_000
        quality = self.record.quality[-1][1] if self.record.quality else {}
        return RunResult(reached=reached, complete=complete, as_asked=as_asked, step=self.step,
                         epoch=self.benchmark.epoch_num(self.step), minutes=minutes, quality=quality,
                         seed=self.record.seed, reason=reason, phase_seconds=self._phase_seconds())


def crossed(step: int, size: int, every: int) -> bool:
    """Whether a multiple of `every` lies in the last `size` steps up to `step`; never for `every` = 0."""
    return every > 0 and step // every > (step - size) // every


def check_finite(end: int, metrics: dict[str, np.ndarray]) -> None:
    """Raises NonFiniteLoss with the first bad step, for the metrics of the steps up to `end`."""
    for name in sorted(metrics, key=lambda name: name != "loss"):
        values = np.ravel(metrics[name])
        finite = np.isfinite(values)
        if not finite.all():
            first = int(np.argmin(finite))
            kind = "not a number" if np.isnan(values[first]) else "infinite"
            raise NonFiniteLoss(f"{name} became {kind} at step {end - values.size + 1 + first}")
