"""The arrays of a `Bert` in the order of the MLPerf checkpoint, with TensorFlow's and PyTorch's names for them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from jax_mlperf.types import PyTree


class Tensor(NamedTuple):
    """One parameter array.

    Attributes:
      path: keys that lead to it in the nested dicts of parameters.
      tf1: its name in the TF1 checkpoint, which is MLPerf's in the weights_initialization lines.
      torch: its name in the state dict of Hugging Face's BertForPreTraining.
      transposed: PyTorch stores it with its two axes exchanged.
    """

    path: tuple[Any, ...]
    tf1: str
    torch: str
    transposed: bool = False


# Our name, and the one that both of theirs have, of the layers of an encoder layer; models/bert.py.
_ENCODER_LAYER = (("query", "attention/self/query"), ("key", "attention/self/key"), ("value", "attention/self/value"),
                  ("attention_output", "attention/output/dense"), ("attention_norm", "attention/output/LayerNorm"),
                  ("intermediate", "intermediate/dense"), ("output", "output/dense"), ("output_norm", "output/LayerNorm"))


def tensors(num_layers: int) -> tuple[Tensor, ...]:
    """All arrays of a `Bert` with so many encoder layers, in the order of the checkpoint: 398 for 24 layers.

    Names: modeling.py of `mlcommons/training:retired_benchmarks/bert`, and modeling_bert.py of `huggingface/transformers`.
    """
    return tuple(_tensors(num_layers))


def mlperf_names(params: PyTree) -> list[str]:
    """MLPerf's name of every parameter array: the tensors of the weights_initialization lines.

    Args:
      params: nested dict of a `Bert`'s parameters (arrays or shapes).
    """
    return [tensor.tf1 for tensor in tensors(len(params["layers"]))]


def _tensors(num_layers: int) -> Iterator[Tensor]:
    for ours, theirs in (("word", "word"), ("position", "position"), ("token_type", "token_type")):
        yield Tensor(("embeddings", ours), f"bert/embeddings/{theirs}_embeddings", f"bert.embeddings.{theirs}_embeddings.weight")
    yield from _norm(("embeddings", "norm"), "bert/embeddings/LayerNorm")
    for number in range(num_layers):
        for ours, theirs in _ENCODER_LAYER:
            make = _norm if ours.endswith("norm") else _dense
            yield from make(("layers", number, ours), f"bert/encoder/layer_{number}/{theirs}")
    yield from _dense(("pooler",), "bert/pooler/dense")
    yield Tensor(("masked_lm_bias",), "cls/predictions/output_bias", "cls.predictions.bias")
    yield from _dense(("transform",), "cls/predictions/transform/dense")
    yield from _norm(("transform_norm",), "cls/predictions/transform/LayerNorm")
    # Stored [2, H] by all of them: TF1 multiplies by its transpose.
    yield Tensor(("next_sentence", "kernel"), "cls/seq_relationship/output_weights", "cls.seq_relationship.weight")
    yield Tensor(("next_sentence", "bias"), "cls/seq_relationship/output_bias", "cls.seq_relationship.bias")


def _dense(path: tuple[Any, ...], name: str) -> Iterator[Tensor]:
    """Kernel [in, out], which PyTorch stores [out, in], and bias."""
    yield Tensor((*path, "kernel"), f"{name}/kernel", f"{_torch(name)}.weight", transposed=True)
    yield Tensor((*path, "bias"), f"{name}/bias", f"{_torch(name)}.bias")


def _norm(path: tuple[Any, ...], name: str) -> Iterator[Tensor]:
    yield Tensor((*path, "scale"), f"{name}/gamma", f"{_torch(name)}.weight")
    yield Tensor((*path, "bias"), f"{name}/beta", f"{_torch(name)}.bias")


def _torch(name: str) -> str:
    return name.replace("/", ".").replace("layer_", "layer.")
