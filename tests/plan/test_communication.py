"""Collectives of sharded programs, compiled for eight virtual CPU devices."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jax_mlperf.plan import hlo
from jax_mlperf.plan.communication import Collective, collectives, seconds


@pytest.fixture(scope="module")
def mesh():
    return jax.make_mesh((2, 4), ("data", "fsdp"), axis_types=(AxisType.Auto, AxisType.Auto))


def compiled(mesh, fn, out, *args):
    """`args`: (shape, partition spec) each."""
    structs = [jax.ShapeDtypeStruct(s, jnp.float32, sharding=NamedSharding(mesh, p)) for s, p in args]
    return jax.jit(fn, out_shardings=NamedSharding(mesh, out)).lower(*structs).compile()


def loss(w, x):
    return jnp.mean(jnp.tanh(x @ w) ** 2)


def test_data_parallel_gradient_is_one_all_reduce(mesh):
    batch = P(("data", "fsdp"))
    found = collectives(compiled(mesh, jax.grad(loss), P(), ((64, 32), P()), ((16, 64), batch)))
    assert [(c.kind, c.dtype, c.bytes, c.count) for c in found] == [("all-reduce", "f32", 64 * 32 * 4, 1)]
    assert found[0].group == tuple(range(8))
    assert found[0].axes(mesh) == ("data", "fsdp")


def test_sharded_parameter_is_gathered_over_its_axis(mesh):
    found = collectives(compiled(mesh, lambda w: w * 2, P(), ((64, 32), P("fsdp"))))
    (gather,) = found
    assert (gather.kind, gather.bytes, gather.group) == ("all-gather", 64 * 32 * 4, (0, 1, 2, 3))
    assert gather.axes(mesh) == ("fsdp",)


def test_reduce_scatter(mesh):
    def scatter(x):
        return jax.lax.psum_scatter(x, "fsdp", tiled=True)

    mapped = jax.shard_map(scatter, mesh=mesh, in_specs=P(None, "data"), out_specs=P("fsdp", "data"))
    (found,) = collectives(compiled(mesh, mapped, P("fsdp", "data"), ((64, 32), P(None, "data"))))
    assert (found.kind, found.bytes, found.axes(mesh)) == ("reduce-scatter", 64 * 16 * 4, ("fsdp",))


def test_collective_in_a_loop_counts_every_trip(mesh):
    def loop(x):
        def body(carry, _):
            return carry + jax.lax.psum(carry, "data") * 0.1, None

        return jax.lax.scan(body, x, length=5)[0]

    mapped = jax.shard_map(loop, mesh=mesh, in_specs=P("data"), out_specs=P("data"), check_vma=False)
    (found,) = collectives(compiled(mesh, mapped, P("data"), ((64, 32), P("data"))))
    assert (found.kind, found.count, found.axes(mesh)) == ("all-reduce", 5, ("data",))


def test_elementwise_program_has_none(mesh):
    assert collectives(compiled(mesh, jnp.tanh, P("data"), ((64, 32), P("data")))) == []


@pytest.mark.parametrize(
    "groups, group",
    [
        ("{{0,2},{1,3}}", (0, 2)),
        ("[4,2]<=[8]", (0, 1)),
        ("[4,2]<=[2,4]T(1,0)", (0, 4)),
        ("mesh['axis_0'=8] {'axis_0'}", tuple(range(8))),
        ("mesh['axis_0'=2,'axis_1'=4] {'axis_0'}", (0, 4)),
        ("mesh['axis_0'=4,'axis_1'=1,'axis_2'=2], device_ids=([2,4]T(1,0)) {'axis_0'}", (0, 1, 2, 3)),
        ("mesh['axis_0'=8] {'axis_0':(2)4}", (0, 1, 2, 3)),
        ("{}", tuple(range(8))),
    ],
)
def test_every_form_of_replica_groups(groups, group):
    text = (
        "HloModule jit_f, num_partitions=8\nENTRY %main (a: f32[4]) -> f32[4] {\n"
        "  %a = f32[4]{0} parameter(0)\n"
        f"  ROOT %ar = f32[4]{{0}} all-reduce(%a), channel_id=1, replica_groups={groups}, to_apply=%add\n}}\n"
    )
    (found,) = collectives(hlo.parse(text))
    assert found.group == group


GPU = (
    """HloModule jit_f, num_partitions=8
ENTRY %main (a: bf16[2,4], b: f32[4]) -> bf16[16,4] {
  %a = bf16[2,4]{1,0} parameter(0)
  %b = f32[4]{0} parameter(1)
  %ag = ((bf16[2,4]{1,0}, f32[4]{0}), (bf16[16,4]{1,0}, f32[32]{0})) all-gather-start(%a, %b), """
    """channel_id=1, replica_groups=[1,8]<=[8], backend_config={"collective_backend_config":{"is_sync":false}}
  %agd = (bf16[16,4]{1,0}, f32[32]{0}) all-gather-done(%ag)
  %ar = f32[4]{0} all-reduce-start(%b), channel_id=2, replica_groups={}, """
    """backend_config={"collective_backend_config":{"is_sync":true}}
  %ard = f32[4]{0} all-reduce-done(%ar)
  ROOT %g = bf16[16,4]{1,0} get-tuple-element(%agd), index=0
}
"""
)


def test_started_collectives_of_a_gpu():
    gather, reduce = collectives(hlo.parse(GPU))
    assert (gather.kind, gather.tensors, gather.bytes, gather.asynchronous) == (
        "all-gather",
        2,
        16 * 4 * 2 + 32 * 4,
        True,
    )
    assert (reduce.kind, reduce.bytes, reduce.asynchronous) == ("all-reduce", 16, False)


def test_seconds_inside_and_between_hosts():
    def make(kind, size):
        return Collective(kind, "f32", 800, 1, tuple(range(size)), False, 3, "")

    assert seconds(make("all-gather", 8), 8, link=100, network=10) == pytest.approx(3 * 800 * 7 / 8 / 100)
    inside, between = 800 * 7 / 8 / 100, 100 * 3 / 4 / 10
    assert seconds(make("all-reduce", 32), 8, 100, 10) == pytest.approx(3 * 2 * (inside + between))
