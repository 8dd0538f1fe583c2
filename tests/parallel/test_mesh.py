"""The mesh, and where batches and states lie on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from jax_mlperf.errors import UserError
from jax_mlperf.parallel.mesh import batch_shardings, check_batch_divides, make_mesh, replicated, state_shardings


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


@pytest.mark.parametrize(("data", "fsdp", "sizes"), [(-1, 1, (8, 1)), (-1, 8, (1, 8)), (2, -1, (2, 4)), (4, 2, (4, 2))])
def test_the_devices_are_laid_out_in_their_order(data, fsdp, sizes):
    mesh = make_mesh(data, fsdp)
    assert mesh.axis_names == ("data", "fsdp") and mesh.devices.shape == sizes
    assert list(mesh.devices.flat) == jax.devices()


def test_some_of_the_devices():
    assert list(make_mesh(-1, 1, jax.devices()[2:5]).devices.flat) == jax.devices()[2:5]


@pytest.mark.parametrize(("data", "fsdp"), [(-1, 3), (3, -1), (4, 1), (8, 2), (-1, -1), (0, -1), (-1, 0), (-2, -4), (16, -1)])
def test_sizes_that_do_not_fit_are_one_clear_line(data, fsdp):
    with pytest.raises(UserError) as caught:
        make_mesh(data, fsdp)
    assert str(caught.value) == (f"config.mesh (data={data}, fsdp={fsdp}) does not fit 8 devices: data * fsdp must be 8; "
                                 "set one of them to -1 for all that remain")


@pytest.mark.parametrize(("rows", "parts", "nearest"), [(20, 8, "16 or 24"), (3, 8, "8"), (1, 2, "2"), (17, 16, "16 or 32")])
def test_batches_that_do_not_divide_name_the_sizes_that_would(rows, parts, nearest):
    with pytest.raises(UserError) as caught:
        check_batch_divides(rows, parts, "a global batch of")
    assert str(caught.value) == f"a global batch of {rows} does not divide over {parts} devices; {nearest} would"


def test_batches_that_divide_pass():
    assert check_batch_divides(24, 8, "a global batch of") is None


def test_batch_axes_are_split_over_both_mesh_axes_and_scalars_copied():
    batch = {"x": shape(16, 3), "flag": shape()}
    plain = batch_shardings(make_mesh(2, 4), batch)
    assert plain["x"].spec == PartitionSpec(("data", "fsdp")) and plain["flag"].spec == PartitionSpec()
    assert plain["x"].shard_shape((16, 3)) == (2, 3)
    stacked = batch_shardings(make_mesh(2, 4), batch, leading=1)
    assert stacked["x"].shard_shape((5, 16, 3)) == (5, 2, 3) and stacked["flag"].shard_shape((5,)) == (5,)


@pytest.mark.parametrize(("sizes", "shard"), [
    ((64, 128), (64, 16)),        # the largest axis
    ((512, 128), (64, 128)),
    ((64, 129), (8, 129)),        # the largest one does not divide: the next
    ((64, 64), (8, 64)),          # the first of equals
    ((4, 3, 512), (4, 3, 64)),
    ((63, 129), (63, 129)),       # none divides
    ((4095,), (4095,)),
    ((4088,), (4088,)),           # divides, but is below 4096 elements
    ((4096,), (512,)),
    ((), ()),
])
def test_large_arrays_are_split_along_their_largest_axis_that_divides(sizes, shard):
    mesh = make_mesh(1, 8)
    assert state_shardings(mesh, {"a": shape(*sizes)})["a"].shard_shape(sizes) == shard


def test_states_are_copied_along_the_data_axis():
    mesh = make_mesh(4, 2)
    sharding = state_shardings(mesh, shape(64, 128))
    assert sharding.spec == PartitionSpec(None, "fsdp")
    placed = jax.device_put(np.arange(64 * 128.0, dtype=np.float32).reshape(64, 128), sharding)
    columns = {shard.device: shard.index[1] for shard in placed.addressable_shards}
    for row in mesh.devices:
        assert [columns[device] for device in row] == [slice(0, 64), slice(64, 128)]
    assert state_shardings(make_mesh(8, 1), shape(64, 128)) == replicated(make_mesh(8, 1))
