"""The matrix products, convolutions and fused attentions of a compiled program, by dtype."""

import dataclasses
import math
import re

from jax_mlperf.plan import hlo

_SCORES = r'"intermediate_tensor_shape":\s*\{.*?"dimensions":\s*\[([\d", ]*)\]'


@dataclasses.dataclass(frozen=True)
class Product:
    """One matrix product, convolution or fused attention.

    Attributes:
      kind: "gemm", "convolution" or "attention".
      dtype: HLO dtype of the wider operand, the one that decides the unit that computes it.
      out_dtype: HLO dtype of the result.
      library: "xla" (a fusion or plain instruction), "cublas" or "cudnn".
      flops: of one execution on one device, 2 per multiply-add.
      count: executions in one call of the program.
      op_name: the JAX operation it came from, where XLA says.
    """

    kind: str
    dtype: str
    out_dtype: str
    library: str
    flops: int
    count: int
    op_name: str


def product(execution: hlo.Execution) -> Product | None:
    """The product that an instruction computes, None for any other instruction."""
    instruction = execution.instruction
    found = _count(execution)
    if found is None:
        return None
    kind, library, flops = found
    widest = max((operand.arrays[0] for operand in hlo.operands(execution)[:2]), key=lambda array: array.bits)
    return Product(
        kind, widest.dtype, instruction.arrays[0].dtype, library, flops, execution.times, instruction.op_name
    )


def products(module: hlo.Module) -> list[Product]:
    """All products, in program order."""
    return [found for execution in hlo.executions(module) if (found := product(execution))]


def _count(execution: hlo.Execution) -> tuple[str, str, int] | None:
    """Kind, library and FLOPs."""
    instruction = execution.instruction
    if instruction.opcode == "dot":
        return "gemm", "xla", _dot(execution, r"lhs_contracting_dims=\{([\d,]*)\}")
    if instruction.opcode == "convolution":
        spatial = re.search(r"dim_labels=[^,]*\d", instruction.attributes)
        return "convolution" if spatial else "gemm", "xla", _convolution(execution)
    target = instruction.target
    if target.startswith("__cublas$"):
        return "gemm", "cublas", _dot(execution, r'"lhs_contracting_dimensions":\s*\[([\d", ]*)\]')
    if target.startswith("__cudnn$conv"):
        return "convolution", "cudnn", _cudnn_convolution(execution)
    if target.startswith("__cudnn$fmha"):
        return "attention", "cudnn", _cudnn_attention(execution)
    return None


def _dot(execution: hlo.Execution, contracting: str) -> int:
    lhs = hlo.operands(execution)[0].arrays[0].shape
    axes = re.findall(r"\d+", hlo.attribute(execution.instruction, contracting))
    out = execution.instruction.arrays[0].shape
    return 2 * math.prod(out) * math.prod(lhs[int(axis)] for axis in axes)


def _taps(instruction: hlo.Instruction, kernel: tuple[int, ...]) -> int:
    """Multiply-adds of one output: kernel elements of one output feature."""
    labels = hlo.attribute(instruction, r"dim_labels=[^_]*_([^-]*)->")
    return math.prod(kernel) // kernel[labels.index("o")]


def _convolution(execution: hlo.Execution) -> int:
    instruction = execution.instruction
    kernel = hlo.operands(execution)[1].arrays[0].shape
    holes = math.prod(int(n) for n in re.findall(r"\d+", hlo.attribute(instruction, r"lhs_dilate=([\dx]+)")))
    return 2 * math.prod(instruction.arrays[0].shape) * _taps(instruction, kernel) // holes


def _cudnn_convolution(execution: hlo.Execution) -> int:
    """cuDNN's labels describe the forward pass, whichever of the three products the call computes."""
    instruction = execution.instruction
    first, second = (operand.arrays[0].shape for operand in hlo.operands(execution)[:2])
    result = instruction.arrays[0].shape
    if "BackwardInput" in instruction.target:  # (output gradient, filter) -> input gradient
        return 2 * math.prod(first) * _taps(instruction, second)
    if "BackwardFilter" in instruction.target:  # (input, output gradient) -> filter gradient
        return 2 * math.prod(second) * _taps(instruction, result)
    return 2 * math.prod(result) * _taps(instruction, second)


def _cudnn_attention(execution: hlo.Execution) -> int:
    """Two products of the [B, N, T, S] scores forward, four backward (recomputation not counted)."""
    text = hlo.attribute(execution.instruction, _SCORES)
    scores = [int(size) for size in re.findall(r"\d+", text)]
    if len(scores) != 4:
        return 0
    query = math.prod(hlo.operands(execution)[0].arrays[0].shape)
    head = query // math.prod(scores[:3])
    matmuls = 4 if "Backward" in execution.instruction.target else 2
    return matmuls * 2 * math.prod(scores) * head
