"""Checkpoints of one run through Orbax: atomic, asynchronous, restored onto any number of devices."""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from jax_mlperf.benchmark import TrainState


@dataclasses.dataclass
class RunRecord:
    """What a checkpoint keeps beside the train state, so that a resumed run goes on as if nothing had happened.

    Attributes:
      seed: the run's logged seed.
      log_bytes: length of the result file when the checkpoint was made.
      run_start_ms: time of the first run_start, which a resumed run keeps: the clock may not be paused.
      active_seconds: training time so far without the time between interruption and resumption.
      quality: evaluations so far, (step, metrics).
      phase_seconds: training time so far by phase (phases.py).
    """

    seed: int
    log_bytes: int = 0
    run_start_ms: int = 0
    active_seconds: float = 0.0
    quality: list[tuple[int, dict[str, float]]] = dataclasses.field(default_factory=list)
    phase_seconds: dict[str, float] = dataclasses.field(default_factory=dict)


class Checkpoints:
    """The checkpoints in one folder, named by step."""

    def __init__(self, folder: Path, *, keep: int, read_only: bool = False) -> None:
        """Opens the folder; `read_only` leaves alone what another process is writing there."""
        logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax tells every save and restore at INFO and WARNING
        # Splitting replicated arrays over the processes would compile a slice for each, on the clock.
        ocp.type_handlers.register_type_handler(
            jax.Array, ocp.type_handlers.ArrayHandler(use_replica_parallel=False), override=True)
        options = (ocp.CheckpointManagerOptions(read_only=True) if read_only else
                   ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True, create=True))
        self._manager = ocp.CheckpointManager(folder.absolute(), options=options)

    def latest_step(self) -> int | None:
        """The newest complete checkpoint's step, if there is one."""
        return self._manager.latest_step()

    def save(self, step: int, state: TrainState, record: RunRecord) -> None:
        """Starts to write; returns when the state is copied to the host. A step that is there already is left alone."""
        items = {"state": ocp.args.StandardSave(_to_dict(state)), "record": ocp.args.JsonSave(dataclasses.asdict(record))}
        if state.experience:
            items["experience"] = ocp.args.StandardSave(state.experience)
        self._manager.save(step, args=ocp.args.Composite(**items))

    def restore(self, step: int, target: TrainState) -> tuple[TrainState, RunRecord]:
        """The state, laid out as `target` says (shapes, dtypes, shardings; perhaps without experience), and the record."""
        items = {"state": ocp.args.StandardRestore(_to_dict(target)), "record": ocp.args.JsonRestore()}
        if target.experience:
            items["experience"] = ocp.args.StandardRestore(target.experience)
        restored = self._manager.restore(step, args=ocp.args.Composite(**items))
        record = RunRecord(**restored.record)
        record.quality = [(evaluated_at, metrics) for evaluated_at, metrics in record.quality]
        return TrainState(**restored.state, experience=restored.experience if target.experience else {}), record

    def wait(self) -> None:
        """Waits until what was saved is on disk."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits, and releases the manager."""
        self._manager.close()


def restore_newest(folder: Path, target: TrainState) -> TrainState | None:
    """The state of the newest complete checkpoint in a folder, as `Checkpoints.restore`, or None; the folder is only read."""
    checkpoints = Checkpoints(folder, keep=1, read_only=True)
    try:
        newest = checkpoints.latest_step()
        return None if newest is None else checkpoints.restore(newest, target)[0]
    finally:
        checkpoints.close()


def _to_dict(state: TrainState) -> dict[str, Any]:
    return {field.name: getattr(state, field.name) for field in dataclasses.fields(state) if field.name != "experience"}
