"""The layers of a `ResNet` in network order, with MLPerf's and torchvision's names for them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from jax_mlperf.types import PyTree


class Layer(NamedTuple):
    """One convolution, batch norm or dense layer.

    Attributes:
      path: keys that lead to it in the nested dicts of parameters and of batch statistics.
      mlperf: its name in the weights_initialization lines, without the variable ("stage1_unit1_conv1").
      torch: its name in torchvision's ResNet, without the variable ("layer1.0.conv1").
      kind: "conv", "bn" or "dense".
    """

    path: tuple[Any, ...]
    mlperf: str
    torch: str
    kind: str


# MLPerf's names of the variables (compliance checker, training_2.0.0/closed_resnet.yaml); torchvision has weight and bias.
_MLPERF_VARIABLES = {"conv": {"kernel": "weight"}, "bn": {"scale": "gamma", "bias": "beta"},
                     "dense": {"kernel": "weight", "bias": "bias"}}
_BLOCK = {"conv1": "conv1", "bn1": "bn1", "conv2": "conv2", "bn2": "bn2", "conv3": "conv3", "bn3": "bn3",
          "conv1sc": "downsample.0", "bnsc": "downsample.1"}


def layers(params: PyTree) -> Iterator[Layer]:
    """The layers of the nested dict of a ResNet's parameters, stem first, projections last in their block."""
    yield Layer(("conv0",), "conv0", "conv1", "conv")
    yield Layer(("bn0",), "bn0", "bn1", "bn")
    for stage, blocks in sorted(params["stages"].items()):
        for unit, block in sorted(blocks.items()):
            for name, torch in _BLOCK.items():
                if name in block:
                    yield Layer(("stages", stage, unit, name), f"stage{stage + 1}_unit{unit + 1}_{name}",
                                f"layer{stage + 1}.{unit}.{torch}", "conv" if name.startswith("conv") else "bn")
    yield Layer(("fc1",), "fc1", "fc", "dense")


def mlperf_names(params: PyTree) -> list[str]:
    """MLPerf's name of every parameter array, in network order: the tensors of the weights_initialization lines.

    Args:
      params: nested dict of a `ResNet`'s parameters (arrays or shapes); 161 arrays for ResNet-50.
    """
    return [f"{layer.mlperf}_{name}" for layer in layers(params) for name in _MLPERF_VARIABLES[layer.kind].values()]
