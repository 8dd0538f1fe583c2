"""Plans of small programs: on virtual CPU devices, and with compilers of absent machines if installed."""

import importlib.util
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jax_mlperf.errors import UserError
from jax_mlperf.plan import TARGETS, Program, format_plan, plan_step, run_plan, topology_devices, verb

HAS_CUDA_COMPILER = (
    importlib.util.find_spec("jax_plugins") is not None
    and importlib.util.find_spec("jax_plugins.xla_cuda12") is not None
)


def loss(w, x):
    return jnp.mean(jnp.tanh(x @ w.astype(jnp.bfloat16)).astype(jnp.float32) ** 2)


def build(devices):
    """One gradient step of a bf16 product, batch over the devices, the parameter donated."""
    mesh = Mesh(np.array(devices), ("data",))
    whole, split = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
    args = (
        jax.ShapeDtypeStruct((256, 128), jnp.float32, sharding=whole),
        jax.ShapeDtypeStruct((512, 256), jnp.bfloat16, sharding=split),
    )
    step = jax.jit(lambda w, x: w - jax.grad(loss)(w, x), donate_argnums=0, out_shardings=whole)
    return {"train_step": Program(step, args, mesh)}


def test_plan_step():
    program = build(jax.devices()[:8])["train_step"]
    plan = plan_step(*program, TARGETS["h200"])
    assert plan.mesh == {"data": 8}
    assert plan.memory.arguments == 256 * 128 * 4 + 512 // 8 * 256 * 2
    assert plan.memory.outputs == plan.memory.aliased == 256 * 128 * 4
    assert plan.memory.total == plan.memory.arguments + plan.memory.temporaries + plan.memory.code
    assert plan.fits
    assert [(c.kind, axes) for c, axes in plan.collectives] == [("all-reduce", ("data",))]
    assert plan.roofline.flops == 2 * 2 * 64 * 256 * 128  # forward and the gradient of w
    assert plan.roofline.step_seconds == plan.roofline.kernel_seconds + plan.roofline.exposed_seconds
    text = format_plan("train_step", plan)
    assert "NVIDIA H200, mesh data=8" in text and "fits" in text and "all-reduce  data" in text


def test_a_plan_that_does_not_fit():
    def sort(x):
        return jnp.sort(x, axis=1)

    mesh = Mesh(np.array(jax.devices()[:1]), ("data",))
    large = jax.ShapeDtypeStruct((1 << 17, 1 << 17), jnp.float32, sharding=NamedSharding(mesh, P()))
    plan = plan_step(sort, (large,), mesh, TARGETS["v5e"])
    assert not plan.fits and "DOES NOT FIT" in format_plan("sort", plan)


def test_run_plan_as_json(monkeypatch):
    monkeypatch.setattr(verb, "topology_devices", lambda target, topology: jax.devices()[: int(topology)])
    facts = json.loads(run_plan(build, target="h100", topology="4", as_json=True))["train_step"]
    assert facts["mesh"] == {"data": 4}
    assert facts["memory_bytes"]["fits"] is True
    assert [(group["kind"], group["count"], group["bytes"]) for group in facts["collectives"]] in (
        [("all-reduce", 1, 256 * 128 * 2)],  # bf16, as the gradient is computed
        [("all-reduce", 1, 256 * 128 * 4)],  # the CPU backend widens it
    )


def test_mistakes_are_user_errors(monkeypatch):
    with pytest.raises(UserError, match="target 'h900' is unknown: choose one of h200"):
        run_plan(build, target="h900", topology="8")
    with pytest.raises(UserError, match="topology 'many' is not understood"):
        topology_devices(TARGETS["h200"], "many")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[plan\]'"):
        topology_devices(TARGETS["h200"], "8")


@pytest.mark.aot
@pytest.mark.skipif(not HAS_CUDA_COMPILER, reason="needs the packages of the extra 'plan'")
@pytest.mark.parametrize("topology, devices", [("1", 1), ("4x8", 32)])
def test_compiles_for_absent_gpus(topology, devices):
    facts = json.loads(run_plan(build, target="h200", topology=topology, as_json=True))["train_step"]
    assert facts["mesh"] == {"data": devices}
    assert {(group["kind"], group["dtype"]) for group in facts["products"]} == {("gemm", "bf16")}
    kinds = [(group["kind"], group["axes"], group["group_size"]) for group in facts["collectives"]]
    assert kinds == ([] if devices == 1 else [("all-reduce", ["data"], 32)])


@pytest.mark.aot
@pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="needs the package libtpu")
def test_compiles_for_absent_tpus():
    facts = json.loads(run_plan(build, target="v5e", topology="2x4", as_json=True))["train_step"]
    assert facts["mesh"] == {"data": 8}
    assert {group["dtype"] for group in facts["products"]} == {"bf16"}
