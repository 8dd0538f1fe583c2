"""What batch norm moves on a GPU that is not there: no mask and nothing in float32 of an activation's size is stored."""

import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "perf"))

import resnet50
import resnet50_plan

from jax_mlperf.plan import find_target, hlo
from jax_mlperf.plan.products import products

HAS_CUDA_COMPILER = importlib.util.find_spec("jax_plugins") and importlib.util.find_spec("jax_plugins.xla_cuda12")


@pytest.mark.slow
@pytest.mark.aot
@pytest.mark.skipif(not HAS_CUDA_COMPILER, reason="needs the packages of the extra 'plan'")
def test_activations_are_stored_in_bfloat16_only():
    size = resnet50.Size((2,), 64, 1000, image=224, rows=256)
    text = resnet50_plan.compiled_text(size, find_target("h200"), "conv7")
    module = hlo.parse(text)
    assert {product.dtype for product in products(module) if product.kind == "convolution"} == {"bf16"}
    stored = {(array.dtype, array.shape) for execution in hlo.executions(module) if execution.caller is None
              for array in execution.instruction.arrays if array.bytes > 40e6}
    # The images themselves excepted, one byte an element is what the max-pool keeps: which pixel of a window it took.
    assert {shape for dtype, shape in stored if dtype != "bf16"} == {(256, 56, 56, 64)}
