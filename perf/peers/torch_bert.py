"""BERT with its two pre-training heads in plain PyTorch: same parameters, masks, dropout places and losses as jax_mlperf's.

Written as a PyTorch user would for speed: one projection for query, key and value, F.scaled_dot_product_attention, the masked
positions gathered before the vocabulary's head, float32 parameters under autocast. Nothing of jax_mlperf is imported.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Layer(nn.Module):
    """Post-norm layer: self-attention, then the feed-forward network with tanh-GELU."""

    def __init__(self, hidden: int, intermediate: int, heads: int, dropout: float):
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.query_key_value, self.attention_output = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.attention_norm, self.output_norm = (nn.LayerNorm(hidden, eps=1e-12) for _ in range(2))
        self.intermediate, self.output = nn.Linear(hidden, intermediate), nn.Linear(intermediate, hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x [B, T, H]; mask bool [B, 1, 1, T], True at the keys to see."""
        heads = self.query_key_value(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*heads.unbind(0), attn_mask=mask, dropout_p=self.rate if self.training else 0.0)
        attended = self.attention_output(attended.transpose(1, 2).flatten(2))
        x = self.attention_norm(x + self.dropout(attended))
        return self.output_norm(x + self.dropout(self.output(F.gelu(self.intermediate(x), approximate="tanh"))))


class Bert(nn.Module):
    """The model, for batches of one sequence a row."""

    def __init__(self, vocab: int, hidden: int, layers: int, heads: int, intermediate: int, positions: int, dropout: float):
        super().__init__()
        self.word, self.position, self.token_type = (nn.Embedding(rows, hidden) for rows in (vocab, positions, 2))
        self.norm, self.transform_norm = (nn.LayerNorm(hidden, eps=1e-12) for _ in range(2))
        self.layers = nn.ModuleList(Layer(hidden, intermediate, heads, dropout) for _ in range(layers))
        self.pooler, self.transform = (nn.Linear(hidden, hidden) for _ in range(2))
        self.next_sentence = nn.Linear(hidden, 2)
        self.masked_lm_bias = nn.Parameter(torch.zeros(vocab))
        self.dropout = nn.Dropout(dropout)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.trunc_normal_(parameter, std=0.02, a=-0.04, b=0.04)

    def forward(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Logits [B, P, V] of the masked positions and [B, 2] of the next sentence."""
        x = self.word(batch["input_ids"]) + self.position(batch["position_ids"]) + self.token_type(batch["token_type_ids"])
        x = self.dropout(self.norm(x))
        mask = (batch["segmentation"] > 0)[:, None, None]
        for layer in self.layers:
            x = layer(x, mask)
        places = batch["masked_lm_positions"].long()[..., None].expand(-1, -1, x.shape[-1])
        transformed = self.transform_norm(F.gelu(self.transform(x.gather(1, places)), approximate="tanh"))
        return F.linear(transformed, self.word.weight, self.masked_lm_bias), self.next_sentence(torch.tanh(self.pooler(x[:, 0])))


def loss_of(logits: Tensor, next_sentence: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """Mean over the predictions plus mean over the sequences."""
    losses = F.cross_entropy(logits.flatten(0, 1).float(), batch["masked_lm_ids"].flatten().long(), reduction="none")
    weights = batch["masked_lm_weights"].flatten()
    return (losses * weights).sum() / weights.sum() + F.cross_entropy(
        next_sentence.float(), batch["next_sentence_labels"][:, 0].long())


_PARTS = {"attention.output.dense": "attention_output", "attention.output.LayerNorm": "attention_norm",
          "intermediate.dense": "intermediate", "output.dense": "output", "output.LayerNorm": "output_norm"}


def load_parameters(model: Bert, arrays: Mapping[str, np.ndarray]) -> None:
    """Copies a state dict in Hugging Face's names into the model."""
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    state = {f"{table}.weight": tensors[f"bert.embeddings.{table}_embeddings.weight"]
             for table in ("word", "position", "token_type")}
    state["masked_lm_bias"] = tensors["cls.predictions.bias"]
    for kind in ("weight", "bias"):
        for ours, theirs in (("norm", "bert.embeddings.LayerNorm"), ("pooler", "bert.pooler.dense"),
                             ("transform", "cls.predictions.transform.dense"), ("next_sentence", "cls.seq_relationship"),
                             ("transform_norm", "cls.predictions.transform.LayerNorm")):
            state[f"{ours}.{kind}"] = tensors[f"{theirs}.{kind}"]
        for number in range(len(model.layers)):
            prefix = f"bert.encoder.layer.{number}"
            state[f"layers.{number}.query_key_value.{kind}"] = torch.cat(
                [tensors[f"{prefix}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")])
            for theirs, ours in _PARTS.items():
                state[f"layers.{number}.{ours}.{kind}"] = tensors[f"{prefix}.{theirs}.{kind}"]
    model.load_state_dict(state)
