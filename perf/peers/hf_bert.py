"""Hugging Face's BertForPreTraining with scaled_dot_product_attention, as its users train it."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForPreTraining

_NOT_PREDICTED = -100  # the label that PyTorch's cross-entropy passes over


def make_model(vocab: int, hidden: int, layers: int, heads: int, intermediate: int, positions: int, dropout: float) -> nn.Module:
    """The model with the benchmark's GELU, random weights."""
    config = BertConfig(
        vocab_size=vocab, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=intermediate, max_position_embeddings=positions, hidden_act="gelu_new",
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, attn_implementation="sdpa")
    return BertForPreTraining(config)


def inputs_of(batch: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Its arguments for a batch of one sequence a row; labels [B, T] at the masked positions."""
    ids = torch.from_numpy(batch["input_ids"]).long()
    labels = torch.full_like(ids, _NOT_PREDICTED)
    rows, places = np.nonzero(batch["masked_lm_weights"])
    labels[rows, batch["masked_lm_positions"][rows, places]] = torch.from_numpy(batch["masked_lm_ids"][rows, places]).long()
    return {"input_ids": ids, "attention_mask": torch.from_numpy(batch["segmentation"] > 0).long(),
            "token_type_ids": torch.from_numpy(batch["token_type_ids"]).long(), "labels": labels,
            "next_sentence_label": torch.from_numpy(batch["next_sentence_labels"][:, 0]).long()}


def load_parameters(model: nn.Module, arrays: Mapping[str, np.ndarray]) -> None:
    """Copies a state dict without the tied copies of the decoder into the model.

    Raises:
      ValueError: a name is missing or unknown.
    """
    missing, unknown = model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()},
                                             strict=False)
    missing = [name for name in missing if not name.startswith("cls.predictions.decoder.") and not name.endswith("position_ids")]
    if missing or unknown:
        raise ValueError(f"missing {missing}, unknown {unknown}")
    model.tie_weights()


def logits_of(model: nn.Module, batch: Mapping[str, np.ndarray]) -> tuple[Tensor, Tensor]:
    """Logits [B, P, V] of the masked positions and [B, 2] of the next sentence."""
    device = next(model.parameters()).device
    inputs = {name: tensor.to(device) for name, tensor in inputs_of(batch).items() if "label" not in name}
    outputs = model(**inputs)
    places = torch.from_numpy(batch["masked_lm_positions"]).long().to(device)
    taken = outputs.prediction_logits.gather(1, places[..., None].expand(-1, -1, outputs.prediction_logits.shape[-1]))
    return taken, outputs.seq_relationship_logits
