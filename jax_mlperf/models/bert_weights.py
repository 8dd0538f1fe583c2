"""BERT weights from and to the names of TF1 and of PyTorch."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from jax_mlperf.errors import UserError
from jax_mlperf.models.bert_names import Tensor, tensors
from jax_mlperf.types import PyTree

Naming = Literal["tf1", "torch"]

_SHOWN = 5  # names in a message
_OLD_NORMS = (("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias"))  # PyTorch's names until 2019
_TIED = {"cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
         "cls.predictions.decoder.bias": "cls.predictions.bias"}
_POSITION_IDS = "bert.embeddings.position_ids"
_LAYER = re.compile(r"bert[/.]encoder[/.]layer[_.](\d+)[/.]")


def from_state_dict(arrays: Mapping[str, np.ndarray], params: PyTree, source: str) -> PyTree:
    """The parameters of a `Bert` with the values of a TF1 checkpoint or of a state dict of Hugging Face's BertForPreTraining.

    Only what the model needs is taken out of `arrays`: not optimizer slots ("<variable>/LAMB"), step counters, position ids, nor
    the tied copies of the decoder, which must be equal to what they are tied to.

    Args:
      arrays: name -> array, in either naming; PyTorch's LayerNorm may have gamma and beta. May read when asked.
      params: nested dict of the model's arrays or of their shapes.
      source: what messages call it: a path.

    Returns:
      nested dict of float32 numpy arrays, views of `arrays` where these are float32.

    Raises:
      UserError: the number of layers or of words differs, variables are missing (they are listed), have other shapes or
        values that are not finite, or belong to no part of the model.
    """
    wanted = tensors(len(params["layers"]))
    naming: Naming = "tf1" if any(name.startswith(("bert/", "cls/")) for name in arrays) else "torch"
    keys = {_usual(name): name for name in arrays}
    names = [_name(tensor, naming) for tensor in wanted]
    _check_layers(keys, len(params["layers"]), source)
    _check_names(keys, names, source)
    found = [arrays[keys[name]] for name in names]
    _check_shapes(wanted, names, found, params, source)
    _check_tied(keys, arrays, source)
    values = [np.asarray(array).astype(np.float32, copy=False) for array in found]
    if spoilt := [name for name, value in zip(names, values, strict=True) if not np.isfinite(value).all()]:
        raise UserError(f"{source} holds NaN or infinity in {len(spoilt)} of the {len(names)} variables of this BERT: "
                        f"{_listed(spoilt)}; give weights that were saved before training went astray")
    return nested((tensor.path, value.T if naming == "torch" and tensor.transposed else value)
                  for tensor, value in zip(wanted, values, strict=True))


def to_state_dict(params: PyTree, naming: Naming) -> dict[str, np.ndarray]:
    """The inverse of `from_state_dict`: float32 numpy arrays by name, in the order of the checkpoint, without tied copies.

    Hugging Face's own .safetensors files lack these too: its loader ties them.
    """
    state = {}
    for tensor in tensors(len(params["layers"])):
        array = np.asarray(_at(params, tensor.path), np.float32)
        state[_name(tensor, naming)] = array.T if naming == "torch" and tensor.transposed else array
    return state


def nested(leaves: Iterable[tuple[tuple[Any, ...], Any]]) -> PyTree:
    """The nested dict of (path, leaf) pairs."""
    tree: PyTree = {}
    for path, leaf in leaves:
        node = tree
        for key in path[:-1]:
            node = node.setdefault(key, {})
        node[path[-1]] = leaf
    return tree


def _name(tensor: Tensor, naming: Naming) -> str:
    return tensor.tf1 if naming == "tf1" else tensor.torch


def _usual(name: str) -> str:
    for old, new in _OLD_NORMS:
        name = name.replace(old, new)
    return name


def _check_layers(names: Iterable[str], expected: int, source: str) -> None:
    layers = 1 + max((int(match[1]) for match in map(_LAYER.match, names) if match), default=-1)
    if layers not in (0, expected):
        raise UserError(f"{source} has {layers} encoder layers, this model has {expected} (config.model.num_layers): give the "
                        "weights of a model of the same size")


def _check_names(names: Iterable[str], wanted: Sequence[str], source: str) -> None:
    present = set(names)
    if missing := [name for name in wanted if name not in present]:
        raise UserError(f"{source} lacks {len(missing)} of the {len(wanted)} variables of this BERT: {_listed(missing)}")
    # A slot of an optimizer stands below its variable; what lies outside of the model (step counters, other heads) is no part.
    strange = [name for name in present.difference(wanted, _TIED, [_POSITION_IDS])
               if name.startswith(("bert/", "bert.", "cls/", "cls.")) and name.rpartition("/")[0] not in wanted]
    if strange:
        raise UserError(f"{source} has arrays that belong to no part of this BERT ({len(strange)}): {_listed(sorted(strange))}; "
                        "give the weights of the same model")


def _check_shapes(wanted: Sequence[Tensor], names: Sequence[str], arrays: Sequence[np.ndarray], params: PyTree,
                  source: str) -> None:
    wrong = []
    for tensor, name, array in zip(wanted, names, arrays, strict=True):
        expected = _at(params, tensor.path).shape
        if tensor.path == ("embeddings", "word") and array.ndim == 2 and array.shape[0] != expected[0]:
            raise UserError(f"{source} has a vocabulary of {array.shape[0]} entries, this model one of {expected[0]}: give "
                            "weights that were trained with the same vocabulary")
        theirs = expected[::-1] if tensor.transposed and name == tensor.torch else expected
        if array.shape != theirs:
            wrong.append(f"{name} {list(array.shape)}, needed {list(theirs)}")
    if wrong:
        raise UserError(f"{source} has other shapes in {len(wrong)} of the {len(names)} variables of this BERT: {_listed(wrong)}")


def _check_tied(keys: Mapping[str, str], arrays: Mapping[str, np.ndarray], source: str) -> None:
    for copy, original in _TIED.items():
        if copy in keys and not np.array_equal(arrays[keys[copy]], arrays[keys[original]]):
            raise UserError(f"{source}: {copy} differs from {original}; in this BERT they are one array")


def _listed(items: Sequence[str]) -> str:
    more = f", and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more


def _at(tree: PyTree, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree
