"""Everything that a run executes on the devices, compiled from shapes alone before the clock starts."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import monitoring
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jax_mlperf.benchmark import Benchmark, TrainState
from jax_mlperf.errors import UserError
from jax_mlperf.ops.hash_rng import key_data_shape
from jax_mlperf.parallel.mesh import batch_shardings, check_batch_divides, replicated, state_shardings
from jax_mlperf.types import PyTree

Compiled = Callable[..., Any]
# With steps of 2 ms a dispatch takes 0.2 s: the host's own work vanishes, and a SIGTERM is soon heard.
STEPS_PER_DISPATCH = 100


@functools.cache
def _compiled() -> list[str]:
    """The names of all functions that XLA compiled in this process since the first call."""
    names: list[str] = []

    def listen(event: str, duration_secs: float, **metadata: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            names.append(str(metadata.get("fun_name", "?")))

    monitoring.register_event_duration_secs_listener(listen)
    return names


class CompileCounter:
    """Counts the programs that XLA compiles in this process (those read from the persistent cache too)."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Counts from here."""
        self._start = len(_compiled())

    @property
    def names(self) -> list[str]:
        """The functions that were compiled since the start: the culprits, when there should be none."""
        return _compiled()[self._start:]


def signature(batch: PyTree) -> str:
    """The names and shapes of a batch's leaves: which compiled program takes it."""
    leaves = jax.tree_util.tree_leaves_with_path(batch)
    return ", ".join(f"{jax.tree_util.keystr(path, simple=True, separator='.')} {'x'.join(map(str, leaf.shape)) or 'scalar'}"
                     for path, leaf in leaves)


def dispatch_size(benchmark: Benchmark, step: int) -> int:
    """Training steps that the dispatch starting at `step` makes: never across an evaluation point."""
    wanted = benchmark.config.steps_per_dispatch or _automatic_dispatch_size()
    return min(wanted, benchmark.next_eval_step(step) - step)


def _automatic_dispatch_size() -> int:
    """One on the CPU, where more bring nothing; many where the host has to keep up with a fast device."""
    return 1 if jax.default_backend() == "cpu" else STEPS_PER_DISPATCH


@dataclasses.dataclass(frozen=True)
class Programs:
    """The compiled programs of a benchmark on a mesh.

    Attributes:
      state_target: shapes, dtypes and shardings of the state: what a checkpoint is restored into.
      init: key data -> TrainState.
      device_data: host data, replicated -> `data` of the steps.
      train: signature of the (stacked) batch -> program (state, batch, data) -> (state, metrics); the state is donated.
      evaluate: (state, batch, data) -> outputs, replicated.
      train_batches, eval_batch, host_data: what the programs take, abstract.
    """

    state_target: TrainState
    init: Compiled
    device_data: Compiled
    train: dict[str, Compiled]
    evaluate: Compiled
    train_batches: list[PyTree]
    eval_batch: PyTree
    host_data: PyTree

    def warm_up(self, key_data: jax.Array) -> None:
        """Executes every program once on zeros, so that no library is loaded or tuned while the clock runs."""
        state = self.init(key_data)
        data = self.device_data(jax.tree.map(_zeros, self.host_data))
        for batch in self.train_batches:
            state, _ = self.train[signature(batch)](state, jax.tree.map(_zeros, batch), data)
        jax.block_until_ready(self.evaluate(state, jax.tree.map(_zeros, self.eval_batch), data))

    def place_data(self, host: PyTree) -> PyTree:
        """The host's data on every device, made into what the steps take."""
        def place(array: np.ndarray, spec: jax.ShapeDtypeStruct) -> jax.Array:
            return jax.make_array_from_callback(spec.shape, spec.sharding, lambda index: array[index])

        return self.device_data(jax.tree.map(place, host, self.host_data))


def check_shapes(benchmark: Benchmark, mesh: Mesh) -> None:
    """Refuses batches that cannot be run on the mesh, before anything is compiled or written.

    Raises:
      UserError: a batch does not divide over the devices and microbatches, or several steps a dispatch are wanted of
        batches of several shapes.
    """
    if len(benchmark.batch_specs) > 1 and benchmark.config.steps_per_dispatch != 1:
        raise UserError(f"steps_per_dispatch {benchmark.config.steps_per_dispatch} needs batches of one shape; "
                        f"this config has {len(benchmark.batch_specs)} shapes: set --config.steps_per_dispatch=1")
    for spec in benchmark.batch_specs:
        for leaf in jax.tree.leaves(spec):
            if leaf.ndim:
                check_batch_divides(leaf.shape[0], mesh.size, "a global batch of")
    for leaf in jax.tree.leaves(benchmark.eval_batch_spec):
        if leaf.ndim:
            check_batch_divides(leaf.shape[0], mesh.size, "an evaluation batch (config.evaluation.batch_size) of")


def state_target(benchmark: Benchmark, mesh: Mesh) -> TrainState:
    """Shapes, dtypes and shardings of the train state on a mesh: what a checkpoint is restored into."""
    shape = jax.eval_shape(benchmark.init, key_data_shape(benchmark.config.rng_impl))
    shardings = dataclasses.replace(state_shardings(mesh, shape),
                                    model_state=_placed(mesh, benchmark.model_state_spec, shape.model_state),
                                    experience=_placed(mesh, benchmark.experience_spec, shape.experience))
    return _with_shardings(shape, shardings)


def _placed(mesh: Mesh, specs: PyTree, shapes: PyTree) -> PyTree:
    """A sharding for every leaf of `shapes`; `specs` has one PartitionSpec for each of its leaves or subtrees."""
    return jax.tree.map(lambda spec, subtree: jax.tree.map(lambda _: NamedSharding(mesh, spec), subtree), specs, shapes,
                        is_leaf=lambda node: isinstance(node, PartitionSpec))


def data_targets(benchmark: Benchmark, mesh: Mesh) -> tuple[PyTree, PyTree]:
    """Shapes, dtypes and shardings of the host's data, and of what the steps get of them: a whole copy on every device."""
    host = _with_shardings(benchmark.host_data_spec, replicated(mesh))
    return host, _with_shardings(jax.eval_shape(benchmark.device_data, host), replicated(mesh))


def train_functions(benchmark: Benchmark, mesh: Mesh) -> dict[str, tuple[Any, tuple]]:
    """The training programs before compilation: signature -> (jitted function, abstract arguments)."""
    state = state_target(benchmark, mesh)
    _, data = data_targets(benchmark, mesh)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    functions = {}
    sizes = _dispatch_sizes(benchmark)
    for spec in benchmark.batch_specs:
        for size in sizes:
            leading = int(size > 1)
            stacked = jax.tree.map(
                lambda leaf, size=size: jax.ShapeDtypeStruct((size, *leaf.shape) if size > 1 else leaf.shape, leaf.dtype),
                spec)
            batch = _with_shardings(stacked, batch_shardings(mesh, spec, leading))
            step = benchmark.train_step if size == 1 else _several(benchmark.train_step)
            function = jax.jit(step, donate_argnums=0, out_shardings=(shardings, replicated(mesh)))
            functions[signature(stacked)] = (function, (state, batch, data))
    return functions


def eval_function(benchmark: Benchmark, mesh: Mesh) -> tuple[Any, tuple]:
    """The evaluation program before compilation: (jitted function, abstract arguments)."""
    spec = benchmark.eval_batch_spec
    batch = _with_shardings(spec, batch_shardings(mesh, spec))
    _, data = data_targets(benchmark, mesh)
    return jax.jit(benchmark.eval_step, out_shardings=replicated(mesh)), (state_target(benchmark, mesh), batch, data)


def compile_programs(benchmark: Benchmark, mesh: Mesh) -> Programs:
    """Compiles initialisation, training and evaluation."""
    train_jobs = train_functions(benchmark, mesh)
    train = {key: function.lower(*arguments).compile() for key, (function, arguments) in train_jobs.items()}
    function, (state, eval_batch, data) = eval_function(benchmark, mesh)
    evaluate = function.lower(state, eval_batch, data).compile()
    key = _with_shardings(key_data_shape(benchmark.config.rng_impl), replicated(mesh))
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    init = jax.jit(benchmark.init, out_shardings=shardings).lower(key).compile()
    host, _ = data_targets(benchmark, mesh)
    device_data = jax.jit(benchmark.device_data, out_shardings=replicated(mesh)).lower(host).compile()
    return Programs(state, init, device_data, train, evaluate,
                    [batch for _, (_, batch, _) in train_jobs.values()], eval_batch, host)


def _zeros(leaf: jax.ShapeDtypeStruct) -> jax.Array:
    return jax.make_array_from_callback(
        leaf.shape, leaf.sharding, lambda index: np.zeros(leaf.sharding.shard_shape(leaf.shape), leaf.dtype))


def _several(train_step: Callable) -> Callable:
    def train_steps(state: TrainState, batches: PyTree, data: PyTree) -> tuple[TrainState, dict[str, jax.Array]]:
        return jax.lax.scan(lambda state, batch: train_step(state, batch, data), state, batches)

    return train_steps


def _dispatch_sizes(benchmark: Benchmark) -> list[int]:
    sizes, step, last = set(), 0, benchmark.max_steps()
    while step < last:
        following = benchmark.next_eval_step(step)
        size = dispatch_size(benchmark, step)
        sizes |= {size, (following - step) % size or size}
        step = following
    return sorted(sizes)


def _with_shardings(shapes: PyTree, shardings: PyTree) -> PyTree:
    if isinstance(shardings, jax.sharding.Sharding):
        shardings = jax.tree.map(lambda _: shardings, shapes)
    return jax.tree.map(lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
                        shapes, shardings)
