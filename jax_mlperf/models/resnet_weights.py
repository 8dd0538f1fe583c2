"""ResNet weights from and to the state dict of torchvision's ResNet."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jax_mlperf.errors import UserError
from jax_mlperf.models.resnet_names import Layer, layers
from jax_mlperf.types import PyTree


class _Variable(NamedTuple):
    """One array: its key on their side, where it lies on ours, and the order of our axes in theirs."""

    key: str
    statistic: bool
    path: tuple[Any, ...]
    axes: tuple[int, ...]


_IN_ORDER = (0,)


def _variables(layer: Layer) -> Iterator[_Variable]:
    if layer.kind == "conv":  # [out, in, k, k] -> [k, k, in, out]
        yield _Variable(f"{layer.torch}.weight", False, (*layer.path, "kernel"), (2, 3, 1, 0))
    elif layer.kind == "dense":
        yield _Variable(f"{layer.torch}.weight", False, (*layer.path, "kernel"), (1, 0))
        yield _Variable(f"{layer.torch}.bias", False, (*layer.path, "bias"), _IN_ORDER)
    else:
        yield _Variable(f"{layer.torch}.weight", False, (*layer.path, "scale"), _IN_ORDER)
        yield _Variable(f"{layer.torch}.bias", False, (*layer.path, "bias"), _IN_ORDER)
        yield _Variable(f"{layer.torch}.running_mean", True, (*layer.path, "mean"), _IN_ORDER)
        yield _Variable(f"{layer.torch}.running_var", True, (*layer.path, "var"), _IN_ORDER)


def from_torchvision(state: Mapping[str, np.ndarray], params: PyTree, batch_stats: PyTree) -> tuple[PyTree, PyTree]:
    """The parameters and batch statistics of a `ResNet` with the values of a torchvision state dict.

    torchvision pads 3x3 windows with stride 2 by one on both sides: build the model with padding="symmetric".

    Args:
      state: "conv1.weight", "layer1.0.bn1.running_mean", "fc.bias", ... -> array; "*.num_batches_tracked" is left out.
      params, batch_stats: nested dicts of the model's arrays or of their shapes.

    Returns:
      (params, batch_stats): nested dicts of float32 numpy arrays.

    Raises:
      UserError: an array is missing, has another shape, or belongs to no layer of the model.
    """
    new: tuple[PyTree, PyTree] = ({}, {})
    left = {key for key in state if not key.endswith(".num_batches_tracked")}
    for variable in (variable for layer in layers(params) for variable in _variables(layer)):
        expected = _at((params, batch_stats)[variable.statistic], variable.path).shape
        theirs = tuple(expected[variable.axes.index(axis)] for axis in range(len(expected)))
        if variable.key not in state:
            raise UserError(f"the state dict has no {variable.key!r}: this ResNet needs it with shape {list(theirs)}; "
                            "give the weights of a network of the same depth")
        array = np.asarray(state[variable.key])
        if array.shape != theirs:
            raise UserError(f"{variable.key!r} has shape {list(array.shape)}, this ResNet needs {list(theirs)}: "
                            "the number of classes, the width or the depth differ")
        _put(new[variable.statistic], variable.path, array.astype(np.float32).transpose(variable.axes))
        left.remove(variable.key)
    if left:
        raise UserError(f"{len(left)} arrays of the state dict belong to no layer of this ResNet, {min(left)!r} among them: "
                        "give the weights of a network of the same depth")
    return new


def to_torchvision(params: PyTree, batch_stats: PyTree) -> dict[str, np.ndarray]:
    """The inverse of `from_torchvision`: a state dict of float32 numpy arrays in network order."""
    return {variable.key: np.asarray(_at((params, batch_stats)[variable.statistic], variable.path)).transpose(
                np.argsort(variable.axes))
            for layer in layers(params) for variable in _variables(layer)}


def _at(tree: PyTree, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _put(tree: PyTree, path: tuple[Any, ...], leaf: np.ndarray) -> None:
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = leaf
