"""Small benchmarks whose data stay on the devices, with their programs, on some of the virtual devices."""

import jax
from compiled import key_data

from jax_mlperf import benchmarks
from jax_mlperf.benchmark import Topology
from jax_mlperf.config import load_config
from jax_mlperf.parallel.mesh import make_mesh
from jax_mlperf.prefetch import to_devices
from jax_mlperf.programs import compile_programs


class Resident:
    """A benchmark with its programs and its data on so many devices."""

    def __init__(self, reference, data_dir, *overrides, devices=1, fsdp=1):
        self.mesh = make_mesh(devices // fsdp, fsdp, jax.devices()[:devices])
        self.benchmark = benchmarks.create(load_config(reference, overrides), Topology(devices, mesh=self.mesh), data_dir)
        self.programs = compile_programs(self.benchmark, self.mesh)
        self.data = self.programs.place_data(self.benchmark.host_data())

    def start(self):
        """The state before the first step, the same for all topologies."""
        return self.programs.init(key_data(self.benchmark, self.mesh))

    def step(self, state, batch):
        """One update; `state` is used up."""
        (program,) = self.programs.train.values()
        return program(state, to_devices(self.mesh, batch), self.data)

    def after_steps(self, count, first=0):
        """Losses, and the state on the host, after so many steps."""
        state, losses = self.start(), []
        for _, batch in zip(range(count), self.benchmark.train_batches(5, first), strict=False):
            state, metrics = self.step(state, batch)
            losses.append(float(metrics["loss"]))
        return losses, jax.device_get(state)

    def outputs(self, state):
        """What each evaluation batch gives, on the host."""
        return jax.device_get([self.programs.evaluate(state, to_devices(self.mesh, batch), self.data)
                               for batch in self.benchmark.eval_batches()])

    def evaluate(self, state):
        """The metrics of an evaluation."""
        return self.benchmark.score(self.outputs(state))
