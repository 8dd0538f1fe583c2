"""Reading optimised HLO: hand-written lines in the forms XLA prints, and real compiled programs."""

import jax
import jax.numpy as jnp
import pytest

from jax_mlperf.plan import hlo
from jax_mlperf.plan.products import products
from jax_mlperf.plan.roofline import kernels
from jax_mlperf.plan.targets import TARGETS

TEXT = (
    """HloModule jit_f, is_scheduled=true, replica_count=1, num_partitions=8

%fused (p.0: bf16[4,8], p.1: bf16[8,16]) -> (bf16[4,16], f32[2]) {
  %p.0 = bf16[4,8]{1,0:T(8,128)(2,1)} parameter(0)
  %p.1 = bf16[8,16]{1,0} parameter(1)
  %dot.1 = bf16[4,16]{1,0} dot(%p.0, %p.1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  %c.1 = f32[2]{0} constant({1, 2})
  ROOT %tuple.9 = (bf16[4,16]{1,0}, /*index=1*/f32[2]{0}) tuple(%dot.1, %c.1)
}

ENTRY %main (a: bf16[4,8], b: bf16[8,16]) -> (bf16[4,16], f32[2]) {
  %a = bf16[4,8]{1,0} parameter(0), metadata={op_name="a"}
  %b = bf16[8,16]{1,0} parameter(1)
  ROOT %fusion = (bf16[4,16]{1,0:T(8,128)(2,1)S(1)}, f32[2]{0}) fusion(%a, /*index=1*/%b), kind=kCustom, """
    """calls=%fused, metadata={op_name="jit(f)/dot_general"}
}
"""
)


def test_parse():
    module = hlo.parse(TEXT)
    assert (module.entry, module.partitions) == ("main", 8)
    fusion = module.computations["main"]["fusion"]
    assert fusion.opcode == "fusion" and fusion.root
    assert fusion.operands == ("a", "b")
    assert fusion.arrays == (hlo.Array("bf16", (4, 16)), hlo.Array("f32", (2,)))
    assert fusion.bytes == 4 * 16 * 2 + 2 * 4
    assert fusion.op_name == "jit(f)/dot_general"
    assert module.computations["fused"]["p.1"].literal == "1"


def test_product_inside_a_fusion():
    (found,) = products(hlo.parse(TEXT))
    assert (found.kind, found.dtype, found.out_dtype, found.library) == ("gemm", "bf16", "bf16", "xla")
    assert (found.flops, found.count) == (2 * 4 * 8 * 16, 1)


def test_kernel_bound_is_the_larger_of_bytes_and_flops():
    (kernel,) = kernels(hlo.parse(TEXT), TARGETS["h200"])
    assert kernel.bytes == 4 * 8 * 2 + 8 * 16 * 2 + 4 * 16 * 2 + 2 * 4
    assert kernel.flops == 1024
    assert kernel.seconds == max(kernel.bytes / 4.8e12, 1024 / 989.5e12)


@pytest.mark.parametrize(
    "dtype, shape, size",
    [("pred", (3,), 3), ("s4", (8,), 4), ("bf16", (), 2), ("f8e4m3fn", (5,), 5), ("c64", (2,), 16)],
)
def test_array_bytes(dtype, shape, size):
    assert hlo.Array(dtype, shape).bytes == size


CUBLAS = (
    """HloModule jit_f
ENTRY %main (a: f32[3,4,8], b: f32[3,8,16]) -> (f32[3,4,16], s8[4194304]) {
  %a = f32[3,4,8]{2,1,0} parameter(0)
  %b = f32[3,8,16]{2,1,0} parameter(1)
  ROOT %gemm = (f32[3,4,16]{2,1,0}, s8[4194304]{0}) custom-call(%a, %b), """
    """custom_call_target="__cublas$gemm", backend_config={"gemm_backend_config":{"dot_dimension_numbers":"""
    """{"lhs_contracting_dimensions":["2"],"rhs_contracting_dimensions":["1"],"lhs_batch_dimensions":["0"]}}}
}
"""
)


def test_cublas_call():
    (found,) = products(hlo.parse(CUBLAS))
    assert (found.library, found.dtype, found.flops) == ("cublas", "f32", 2 * 3 * 4 * 8 * 16)


@pytest.mark.parametrize(
    "target, lhs, rhs, out",
    [
        ("__cudnn$convForward", "2,9,9,4", "3,3,4,6", "2,5,5,6"),
        ("__cudnn$convBackwardInput", "2,5,5,6", "3,3,4,6", "2,9,9,4"),
        ("__cudnn$convBackwardFilter", "2,9,9,4", "2,5,5,6", "3,3,4,6"),
    ],
)
def test_cudnn_calls_of_one_convolution_have_its_flops(target, lhs, rhs, out):
    text = (
        f"HloModule jit_f\nENTRY %main (a: f32[1]) -> f32[1] {{\n  %a = bf16[{lhs}]{{3,2,1,0}} parameter(0)\n"
        f"  %b = bf16[{rhs}]{{3,2,1,0}} parameter(1)\n  ROOT %conv = (bf16[{out}]{{3,2,1,0}}, u8[0]{{0}}) "
        "custom-call(%a, %b), window={size=3x3 stride=2x2 pad=1_1x1_1}, dim_labels=b01f_01io->b01f, "
        f'custom_call_target="{target}"\n}}\n'
    )
    (found,) = products(hlo.parse(text))
    assert (found.kind, found.dtype, found.flops) == ("convolution", "bf16", 2 * 2 * 5 * 5 * 6 * 3 * 3 * 4)


@pytest.mark.parametrize(
    "target, products_of_scores", [("__cudnn$fmhaSoftmax", 2), ("__cudnn$fmhaSoftmaxBackward", 4)]
)
def test_cudnn_attention(target, products_of_scores):
    text = (
        "HloModule jit_f\nENTRY %main (q: bf16[2,6,3,8]) -> bf16[2,3,6,8] {\n"
        "  %q = bf16[2,6,3,8]{3,2,1,0} parameter(0)\n"
        "  ROOT %a = (bf16[2,3,6,8]{3,1,2,0}, u8[0]{0}) custom-call(%q, %q, %q), "
        f'custom_call_target="{target}", backend_config={{"cudnn_fmha_backend_config": '
        '{"intermediate_tensor_shape": {"element_type": "BF16", "dimensions": ["2", "3", "6", "6"]}}}\n}\n'
    )
    (found,) = products(hlo.parse(text))
    assert (found.kind, found.library) == ("attention", "cudnn")
    assert found.flops == products_of_scores * 2 * (2 * 3 * 6 * 6) * 8


def test_scan_body_counts_trip_count_times():
    def loop(x, w):
        return jax.lax.scan(lambda carry, _: (jnp.tanh(carry @ w), None), x, length=6)[0]

    square = jax.ShapeDtypeStruct((64, 64), jnp.float32)
    module = hlo.parse(jax.jit(loop).lower(square, square).compile().as_text())
    assert sum(found.flops * found.count for found in products(module)) == 6 * 2 * 64**3
    assert sum(kernel.flops for kernel in kernels(module, TARGETS["h200"])) == 6 * 2 * 64**3


def test_convolution_of_the_cpu_backend():
    def conv(x, w):
        return jax.lax.conv_general_dilated(x, w, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    args = jax.ShapeDtypeStruct((2, 8, 8, 4), jnp.float32), jax.ShapeDtypeStruct((3, 3, 4, 6), jnp.float32)
    (found,) = products(hlo.parse(jax.jit(conv).lower(*args).compile().as_text()))
    assert (found.kind, found.flops) == ("convolution", 2 * 2 * 4 * 4 * 6 * 3 * 3 * 4)


def test_slices_count_what_they_touch():
    def pick(table, row):
        return jax.lax.dynamic_slice_in_dim(table, row, 1) * 2.0

    args = jax.ShapeDtypeStruct((4096, 128), jnp.float32), jax.ShapeDtypeStruct((), jnp.int32)
    module = hlo.parse(jax.jit(pick).lower(*args).compile().as_text())
    assert sum(kernel.bytes for kernel in kernels(module, TARGETS["h200"])) < 4 * 128 * 4
