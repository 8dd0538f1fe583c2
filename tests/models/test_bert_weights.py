"""BERT weights in both namings: there and back, and what does not fit."""

import numpy as np
import pytest
from bert_parameters import TINY, assert_same, random_params, shapes

from jax_mlperf.errors import UserError
from jax_mlperf.models.bert_weights import from_state_dict, to_state_dict

PARAMS = random_params(TINY)
QUERY, WORDS = "bert.encoder.layer.1.attention.self.query.weight", "bert.embeddings.word_embeddings.weight"


@pytest.mark.parametrize("naming", ["tf1", "torch"])
def test_there_and_back(naming):
    state = to_state_dict(PARAMS, naming)
    assert len(state) == 46
    assert_same(from_state_dict(state, shapes(**TINY), "x"), PARAMS)


def test_pytorch_stores_kernels_transposed_but_not_the_next_sentence_head():
    state = to_state_dict(PARAMS, "torch")
    np.testing.assert_array_equal(state[QUERY], PARAMS["layers"][1]["query"]["kernel"].T)
    assert state["bert.encoder.layer.0.intermediate.dense.weight"].shape == (16, 8)
    np.testing.assert_array_equal(state["cls.seq_relationship.weight"], PARAMS["next_sentence"]["kernel"])
    np.testing.assert_array_equal(to_state_dict(PARAMS, "tf1")["bert/encoder/layer_1/attention/self/query/kernel"], state[QUERY].T)


def test_what_else_stands_in_their_files_is_left_out():
    state = to_state_dict(PARAMS, "torch")
    state |= {"cls.predictions.decoder.weight": state[WORDS], "cls.predictions.decoder.bias": state["cls.predictions.bias"],
              "bert.embeddings.position_ids": np.arange(6)[None]}
    old = {name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): array
           for name, array in state.items()}
    assert "bert.embeddings.LayerNorm.gamma" in old
    assert_same(from_state_dict(old, PARAMS, "x"), PARAMS)
    state = to_state_dict(PARAMS, "tf1")
    state |= {f"{name}/{slot}": 0 * array for name, array in state.items() for slot in ("LAMB", "LAMB_1")}
    state |= {"global_step": np.array(28252), "beta1_power": np.float32(0.5), "beta2_power": np.float32(0.5)}
    assert_same(from_state_dict(state, PARAMS, "x"), PARAMS)


def test_half_precision_becomes_float32():
    state = {name: array.astype(np.float16) for name, array in to_state_dict(PARAMS, "torch").items()}
    words = from_state_dict(state, PARAMS, "x")["embeddings"]["word"]
    assert words.dtype == np.float32
    np.testing.assert_array_equal(words, PARAMS["embeddings"]["word"].astype(np.float16))


@pytest.mark.parametrize("change, message", [
    (lambda state: state.pop(QUERY), f"^FILE lacks 1 of the 46 variables of this BERT: {QUERY}$"),
    (lambda state: [state.pop(name) for name in list(state) if name.startswith("cls")],
     r"lacks 7 of the 46 .*: cls.predictions.bias, cls.predictions.transform.dense.weight, .*, and 2 more$"),
    (lambda state: state.update({QUERY: np.full((8, 8), np.nan)}), f"^FILE holds NaN or infinity in 1 of the 46 .*: {QUERY}; give"),
    (lambda state: state.clear(), "lacks 46 of the 46 .* and 41 more$"),
    (lambda state: state.update({WORDS: np.zeros((13, 8))}), "^FILE has a vocabulary of 13 entries, this model one of 11: "),
    (lambda state: state.update({QUERY: np.zeros((8, 9)), WORDS: np.zeros((11, 9))}),
     r"has other shapes in 2 of the 46 variables of this BERT: bert.emb.* \[11, 9\], needed \[11, 8\], .*query.weight \[8, 9\], needed \[8, 8\]$"),
    (lambda state: state.update({"bert.encoder.layer.2.output.dense.bias": np.zeros(8)}),
     r"has 3 encoder layers, this model has 2 \(config.model.num_layers\)"),
    (lambda state: [state.pop(name) for name in list(state) if "layer.1" in name], "has 1 encoder layers, this model has 2"),
    (lambda state: state.update({"cls.predictions.extra": np.zeros(8)}), "has arrays that belong to no part of this BERT .1.: cls.predictions.extra;"),
    (lambda state: state.update({"cls.predictions.decoder.weight": 1 + state[WORDS]}), "decoder.weight differs from bert.embeddings"),
])
def test_what_does_not_fit_is_named(change, message):
    state = to_state_dict(PARAMS, "torch")
    change(state)
    with pytest.raises(UserError, match=message) as error:
        from_state_dict(state, PARAMS, "FILE")
    assert "\n" not in str(error.value)


def test_missing_variables_have_the_names_of_the_checkpoint():
    state = to_state_dict(PARAMS, "tf1")
    del state["cls/seq_relationship/output_weights"]
    with pytest.raises(UserError, match="lacks 1 of the 46 .*: cls/seq_relationship/output_weights$"):
        from_state_dict(state, PARAMS, "FILE")
