"""What a benchmark is: the seam between the trainer and everything that differs from benchmark to benchmark.

The trainer knows nothing but this file. A benchmark gives it pure functions to compile (`init`, `train_step`,
`eval_step`), the shapes to compile them for, host batches, and the numbers that the MLPerf log wants.
"""

import abc
import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import PartitionSpec
from ml_collections import ConfigDict

from jax_mlperf.config import config_reference
from jax_mlperf.quality import Quality
from jax_mlperf.types import PyTree

# Far below one step, far above the rounding of a product of epochs and steps an epoch.
_SLACK = 1e-6


def _whole(steps: float) -> int:
    """Rounded up to whole steps."""
    return math.ceil(steps - _SLACK)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that training changes and a checkpoint keeps.

    Attributes:
      step: int32 [], number of updates made.
      params: nested dict of float32 arrays.
      model_state: nested dict of arrays that are not trained (batch statistics); empty for most models.
      opt_state: the optimizer's state.
      rng: uint32 key data of the run; the key of a step is this one folded with `step`.
      experience: nested dict of arrays: what the run itself has made to learn from (games, a replay window) and whatever else
        goes on beside the network that is trained; empty where the data come from outside.
    """

    step: jax.Array
    params: PyTree
    model_state: PyTree
    opt_state: PyTree
    rng: jax.Array
    experience: PyTree = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Topology:
    """The devices and processes that a benchmark is built for; they need not be there (describe, plan).

    `mesh` is there when something is going to be compiled: for parts of a program that ask for per-device semantics.
    """

    devices: int
    process_index: int = 0
    process_count: int = 1
    mesh: jax.sharding.Mesh | None = None

    @property
    def platform(self) -> str:
        """Of the mesh's devices ("cpu", "gpu", ...), which `plan` compiles for, or of this process's own."""
        return self.mesh.devices.flat[0].platform if self.mesh else jax.default_backend()


class DataFile(NamedTuple):
    """A file or folder that a benchmark reads.

    Attributes:
      remedy: what to do where it is missing, for the message; "" where `data prepare` makes it.
    """

    path: Path
    present: bool
    remedy: str = ""


class LogEntry(NamedTuple):
    """One hyperparameter line of the MLPerf log."""

    key: str
    value: Any
    metadata: dict[str, Any] | None = None


class Benchmark(abc.ABC):
    """One benchmark, built from its config for a topology; construction reads dataset metadata at most.

    Attributes that subclasses set in `__init__`:
      name: the MLPerf name of the benchmark.
      quality: metrics and targets.
      global_batch_size: samples in one training step over all devices, as the rules of the benchmark count them.
      train_samples, eval_samples: samples in one epoch, and in one evaluation.
      steps_per_epoch: training steps in one pass over the data; a fraction where a batch may hold the end of one epoch and
        the beginning of the next.
      batch_specs: the global shapes that `train_batches` yields, one pytree of ShapeDtypeStruct for each of them.
      eval_batch_spec: the one global shape that `eval_batches` yields.
      accumulation_steps: microbatches whose gradients one training step adds up.
      host_data_spec: the shapes of `host_data`; an empty tuple where nothing stays on the devices.
      model_state_spec: how `TrainState.model_state` lies on the mesh: replicated, or split over its first axis like a batch
        (statistics that each worker keeps for itself).
      experience_spec: the same for `TrainState.experience`; one spec may stand for a whole subtree of it.
    """

    name: str
    quality: Quality
    global_batch_size: int
    train_samples: int
    eval_samples: int
    steps_per_epoch: float
    batch_specs: tuple[PyTree, ...]
    eval_batch_spec: PyTree
    accumulation_steps: int = 1
    host_data_spec: PyTree = ()
    model_state_spec: PartitionSpec = PartitionSpec()
    experience_spec: PyTree = PartitionSpec()

    def __init__(self, config: ConfigDict, topology: Topology, data_dir: Path) -> None:
        self.config = config
        self.topology = topology
        self.data_dir = data_dir

    @abc.abstractmethod
    def init(self, key_data: jax.Array) -> TrainState:
        """The state before the first step. Pure; `key_data` is the uint32 data of a key of `config.rng_impl`."""

    def starting_point(self, state: TrainState) -> TrainState:
        """The initial state, with what is read from files in place of what `init` made; laid out on the devices like it."""
        return state

    @abc.abstractmethod
    def train_step(self, state: TrainState, batch: PyTree, data: PyTree) -> tuple[TrainState, dict[str, jax.Array]]:
        """One step: an update, or what else the shape of the batch stands for (a move of self-play). Pure; `data` is what
        `device_data` made; metrics are equal scalars on all devices, `loss` among those of an update.
        """

    @abc.abstractmethod
    def eval_step(self, state: TrainState, batch: PyTree, data: PyTree) -> PyTree:
        """What `score` needs of one evaluation batch. Pure; the trainer replicates the result on every process."""

    @abc.abstractmethod
    def train_batches(self, seed: int, step: int) -> Iterator[PyTree]:
        """This process's rows of the global batches of `step`, `step + 1`, ...; a pure function of (seed, step)."""

    @abc.abstractmethod
    def eval_batches(self) -> Iterator[PyTree]:
        """This process's rows of the evaluation batches; as many on every process."""

    @abc.abstractmethod
    def score(self, outputs: list[PyTree]) -> dict[str, float]:
        """The quality metrics from the outputs of all evaluation batches, padding left out."""

    @abc.abstractmethod
    def logged_quality(self, metrics: Mapping[str, float]) -> Any:
        """The value of the `eval_accuracy` line (a fraction, or what the benchmark's rules ask for)."""

    def evaluation_entries(self, metrics: Mapping[str, float]) -> list[LogEntry]:
        """Further lines of an evaluation; the trainer adds their epoch_num."""
        return []

    @abc.abstractmethod
    def hyperparameters(self) -> list[LogEntry]:
        """The benchmark's own lines of the MLPerf log, in their order."""

    @abc.abstractmethod
    def learning_rate(self, step: int) -> float:
        """The learning rate of the update that follows `step` updates, as the schedules of the references count."""

    @abc.abstractmethod
    def forward_flops(self, spec: PyTree) -> int:
        """Model FLOPs (2 per multiply-add, matrix products and convolutions) of the forward pass of one batch."""

    def train_flops_per_step(self) -> float:
        """Model FLOPs of a training step over all devices, the mean over an epoch: backward passes cost two forward ones."""
        return 3 * sum(self.forward_flops(spec) for spec in self.batch_specs) / len(self.batch_specs)

    def samples_in(self, spec: PyTree) -> int:
        """Samples in one batch of that shape: its rows."""
        return next(leaf.shape[0] for leaf in jax.tree.leaves(spec) if leaf.ndim)

    @abc.abstractmethod
    def data_files(self) -> list[DataFile]:
        """The prepared files that training and evaluation read, and which of them are there."""

    def host_data(self) -> PyTree:
        """Arrays that go to every device once, after run_start, and stay there: a data set that fits. As `host_data_spec`."""
        return ()

    def device_data(self, host: PyTree) -> PyTree:
        """What the steps get as `data`, made of `host_data` on the devices. Pure."""
        return host

    def after_evaluation(self, state: TrainState, metrics: Mapping[str, float]) -> TrainState:
        """The state that training goes on with: where a schedule hangs on the quality, with new scalars in `opt_state`."""
        return state

    def closing_entries(self) -> list[LogEntry]:
        """Lines that stand after run_stop: what was seen on the way."""
        return []

    def source_files(self) -> list[DataFile]:
        """The original files that the prepared ones are made of."""
        return []

    def data_fingerprint(self) -> str:
        """What identifies the prepared data; the processes of a job must agree on it."""
        return ""

    def warm_up_input(self) -> None:  # noqa: B027  most benchmarks have nothing to load
        """Loads and compiles what the input pipeline needs before the clock starts, without touching the data."""

    def forget_data(self) -> None:  # noqa: B027  most benchmarks keep nothing
        """Drops what an earlier run left in memory: every run reads its data after its own run_start."""

    def eval_every_steps(self) -> float:
        """Steps between two evaluations: an epoch, unless the benchmark's rules say otherwise."""
        return self.steps_per_epoch

    def first_eval_step(self) -> float:
        """Steps before the first evaluation."""
        return self.eval_every_steps()

    def next_eval_step(self, step: int) -> int:
        """The first evaluation point after `step`: the points are rounded up to whole steps."""
        first, every = self.first_eval_step(), self.eval_every_steps()
        point = max(0, math.floor((step - first) / every))
        while _whole(first + point * every) <= step:
            point += 1
        return _whole(first + point * every)

    def max_steps(self) -> int:
        """Steps after which training gives up: the first evaluation point at or behind `config.max_epochs`."""
        return self.next_eval_step(max(0, _whole(self.config.max_epochs * self.steps_per_epoch) - 1))

    def epoch_num(self, step: int) -> int | float:
        """The epoch number that the log gives for `step` updates: whole at the step that ends an epoch."""
        epoch = math.floor(step / self.steps_per_epoch + _SLACK)
        return epoch if _whole(epoch * self.steps_per_epoch) == step else round(step / self.steps_per_epoch, 3)

    def elapsed(self, step: int) -> str:
        """How far `step` updates are, in words."""
        return f"epoch {self.epoch_num(step):g}"

    def prepare_command(self) -> str:
        """The command that makes the missing data files."""
        return f"python -m jax_mlperf data prepare {config_reference(self.config)} --data_dir={self.data_dir}"
