"""Names of BERT's arrays against the facts of the checkpoint."""

import math
from itertools import islice

import jax
import jax.numpy as jnp
from bert_parameters import LARGE, TINY, shapes
from flax import nnx
from generated_logs import tensors as checker_tensors

from jax_mlperf.models.bert import Bert
from jax_mlperf.models.bert_names import mlperf_names, tensors


def at(tree, path):
    for key in path:
        tree = tree[key]
    return tree


def test_the_398_variables_and_which_of_them_decay():
    params, wanted = shapes(**LARGE), tensors(24)
    sizes = [at(params, tensor.path).shape for tensor in wanted]
    assert len({tensor.path for tensor in wanted}) == len({tensor.torch for tensor in wanted}) == len(wanted) == 398
    assert sum(map(math.prod, sizes)) == 336_226_108
    decayed = [math.prod(shape) for shape in sizes if len(shape) > 1]
    assert (len(decayed), sum(decayed)) == (150, 335_869_952)
    assert (398 - len(decayed), 336_226_108 - sum(decayed)) == (248, 356_156)
    # the reference's exclusion list is a pattern of names: the same arrays
    by_name = [tensor.tf1 for tensor in wanted if "LayerNorm" in tensor.tf1 or "bias" in tensor.tf1]
    assert by_name == [tensor.tf1 for tensor, shape in zip(wanted, sizes, strict=True) if len(shape) == 1]


def test_mlperf_names_are_those_that_the_checker_wants():
    names = mlperf_names(shapes(**LARGE))
    assert len(names) == 398 and set(names) == set(checker_tensors("bert"))


def test_order_and_names_of_the_checkpoint():
    wanted = tensors(2)
    assert len(wanted) == 46
    assert [tensor.tf1 for tensor in islice(wanted, 7)] == [
        "bert/embeddings/word_embeddings", "bert/embeddings/position_embeddings", "bert/embeddings/token_type_embeddings",
        "bert/embeddings/LayerNorm/gamma", "bert/embeddings/LayerNorm/beta",
        "bert/encoder/layer_0/attention/self/query/kernel", "bert/encoder/layer_0/attention/self/query/bias"]
    assert [tensor.tf1.removeprefix("bert/encoder/layer_1/") for tensor in wanted[21:37]] == [
        f"{layer}/{variable}" for layer, variables in (
            ("attention/self/query", "kernel bias"), ("attention/self/key", "kernel bias"), ("attention/self/value", "kernel bias"),
            ("attention/output/dense", "kernel bias"), ("attention/output/LayerNorm", "gamma beta"),
            ("intermediate/dense", "kernel bias"), ("output/dense", "kernel bias"), ("output/LayerNorm", "gamma beta"))
        for variable in variables.split()]
    assert [tensor.tf1 for tensor in wanted[37:]] == [
        "bert/pooler/dense/kernel", "bert/pooler/dense/bias", "cls/predictions/output_bias",
        "cls/predictions/transform/dense/kernel", "cls/predictions/transform/dense/bias",
        "cls/predictions/transform/LayerNorm/gamma", "cls/predictions/transform/LayerNorm/beta",
        "cls/seq_relationship/output_weights", "cls/seq_relationship/output_bias"]


def test_every_array_of_the_model_has_a_name():
    model = nnx.eval_shape(lambda: Bert(
        vocab_size=11, hidden_size=8, num_layers=2, num_heads=2, intermediate_size=16, max_positions=6, type_vocab_size=2,
        hidden_dropout_rate=0.1, attention_dropout_rate=0.1, initializer_range=0.02, dtype=jnp.float32, rngs=nnx.Rngs(params=0)))
    params = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    named = [at(params, tensor.path) for tensor in tensors(2)]
    assert len(jax.tree.leaves(params)) == len(named) == 46
    assert sum(math.prod(leaf.shape) for leaf in named) == sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)) == 1557
    assert jax.tree.map(lambda leaf: leaf.shape, params) == jax.tree.map(lambda leaf: leaf.shape, shapes(**TINY))


def test_names_of_pytorch():
    torch = {tensor.tf1: tensor for tensor in tensors(2)}
    query = torch["bert/encoder/layer_1/attention/self/query/kernel"]
    assert query.torch == "bert.encoder.layer.1.attention.self.query.weight" and query.transposed
    head = torch["cls/seq_relationship/output_weights"]
    assert head.torch == "cls.seq_relationship.weight" and not head.transposed
    assert torch["bert/embeddings/LayerNorm/gamma"].torch == "bert.embeddings.LayerNorm.weight"
    assert torch["cls/predictions/output_bias"].torch == "cls.predictions.bias"
