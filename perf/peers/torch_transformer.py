"""The Transformer of jax_mlperf in plain PyTorch: same parameters, masks, dropout places, loss and optimizer.

Written as a PyTorch user would for speed: fused projections, F.scaled_dot_product_attention, F.cross_entropy,
fused Adam, float32 parameters under autocast. Nothing of jax_mlperf is imported.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention without biases; the projections of one input are one matrix."""

    def __init__(self, d_model: int, num_heads: int, dropout: float):
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.query_key_value = nn.Parameter(torch.empty(3 * d_model, d_model))
        self.output = nn.Parameter(torch.empty(d_model, d_model))
        for part in (*self.query_key_value.chunk(3), self.output):
            nn.init.xavier_uniform_(part.data)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, mask: Tensor, source: Tensor | None = None) -> Tensor:
        """x [B, T, d] attends to itself or to source [B, S, d]; mask bool [B, 1, T, S]."""
        d_model = x.shape[-1]
        if source is None:
            query, key, value = F.linear(x, self.query_key_value).chunk(3, dim=-1)
        else:
            query = F.linear(x, self.query_key_value[:d_model])
            key, value = F.linear(source, self.query_key_value[d_model:]).chunk(2, dim=-1)
        attended = F.scaled_dot_product_attention(
            self._heads(query), self._heads(key), self._heads(value), attn_mask=mask,
            dropout_p=self.dropout if self.training else 0.0,
        )  # fmt: skip
        return F.linear(attended.transpose(1, 2).flatten(2), self.output)


class FeedForward(nn.Module):
    """d -> ffn_dim, ReLU, dropout, -> d."""

    def __init__(self, d_model: int, ffn_dim: int, dropout: float):
        super().__init__()
        self.hidden, self.output = nn.Linear(d_model, ffn_dim), nn.Linear(ffn_dim, d_model)
        self.dropout = nn.Dropout(dropout)
        for layer in (self.hidden, self.output):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., d] -> [..., d]."""
        return self.output(self.dropout(F.relu(self.hidden(x))))


class Layer(nn.Module):
    """A pre-norm encoder layer, or with `cross` a decoder layer."""

    def __init__(self, d_model: int, ffn_dim: int, num_heads: int, dropout: float, cross: bool):
        super().__init__()
        self.self_attention_norm = nn.LayerNorm(d_model, eps=1e-6)
        self.self_attention = Attention(d_model, num_heads, dropout)
        if cross:
            self.source_attention_norm = nn.LayerNorm(d_model, eps=1e-6)
            self.source_attention = Attention(d_model, num_heads, dropout)
        self.feed_forward_norm = nn.LayerNorm(d_model, eps=1e-6)
        self.feed_forward = FeedForward(d_model, ffn_dim, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, mask: Tensor, source: Tensor | None = None, source_mask: Tensor | None = None
    ) -> Tensor:
        """x [B, T, d] -> [B, T, d]."""
        x = x + self.dropout(self.self_attention(self.self_attention_norm(x), mask))
        if source is not None:
            attended = self.source_attention(self.source_attention_norm(x), source_mask, source)
            x = x + self.dropout(attended)
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


def sinusoids(length: int, d_model: int) -> Tensor:
    """Positional encoding [length, d_model]: sines, then cosines."""
    scales = torch.exp(-torch.arange(d_model // 2) * (math.log(10_000) / (d_model // 2 - 1)))
    angles = torch.arange(length)[:, None] * scales
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Transformer(nn.Module):
    """Encoder-decoder with one shared embedding matrix; packed rows with segment masks."""

    def __init__(
        self, *, vocab_size: int, d_model: int, ffn_dim: int, num_heads: int, num_layers: int, dropout: float,
        max_length: int,
    ):  # fmt: skip
        super().__init__()
        self.d_model = d_model
        self.embedding = nn.Parameter(torch.randn(vocab_size, d_model) * d_model**-0.5)
        widths = (d_model, ffn_dim, num_heads, dropout)
        self.encoder_layers = nn.ModuleList(Layer(*widths, cross=False) for _ in range(num_layers))
        self.decoder_layers = nn.ModuleList(Layer(*widths, cross=True) for _ in range(num_layers))
        self.encoder_norm = nn.LayerNorm(d_model, eps=1e-6)
        self.decoder_norm = nn.LayerNorm(d_model, eps=1e-6)
        self.dropout = nn.Dropout(dropout)
        self.positions: Tensor
        self.register_buffer("positions", sinusoids(max_length, d_model), persistent=False)

    def embed(self, ids: Tensor, positions: Tensor) -> Tensor:
        """sqrt(d) * embedding (zero for id 0) + positional encoding."""
        scaled = F.embedding(ids, self.embedding) * ((ids != 0)[..., None] * self.d_model**0.5)
        return self.dropout(scaled + self.positions[positions])

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Logits [B, T, V] of a packed batch; dtype is autocast's."""
        source_segments, segments = batch["inputs_segmentation"], batch["targets_segmentation"]
        mask = (source_segments[:, :, None] == source_segments[:, None, :])[:, None]
        x = self.embed(batch["inputs"], batch["inputs_position"])
        for layer in self.encoder_layers:
            x = layer(x, mask)
        source = self.encoder_norm(x)

        source_mask = (segments[:, :, None] == source_segments[:, None, :])[:, None]
        mask = (segments[:, :, None] == segments[:, None, :])[:, None].tril()
        shifted = F.pad(batch["targets"], (1, 0))[:, :-1].masked_fill(batch["targets_position"] == 0, 0)
        x = self.embed(shifted, batch["targets_position"])
        for layer in self.decoder_layers:
            x = layer(x, mask, source, source_mask)
        return F.linear(self.decoder_norm(x), self.embedding)


def smoothed_loss(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Mean smoothed cross-entropy per target, smoothing / (V - 1) off the target, minus its minimum.

    F.cross_entropy spreads its smoothing over all V entries: V / (V - 1) as much of it is the same.
    """
    vocab = logits.shape[-1]
    low = smoothing / (vocab - 1)
    constant = -((1 - smoothing) * math.log(1 - smoothing) + smoothing * math.log(low + 1e-20))
    loss = F.cross_entropy(
        logits.flatten(0, 1).float(), targets.flatten().long(), ignore_index=0,
        label_smoothing=smoothing * vocab / (vocab - 1),
    )  # fmt: skip
    return loss - constant


def load_parameters(model: Transformer, arrays: Mapping[str, np.ndarray]) -> None:
    """Copies parameters "encoder_layers.0.self_attention.query" ..., kernels [in, out], into the model."""
    kernels: dict[str, Any] = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    state = {}
    for name in model.state_dict():
        prefix, _, last = name.rpartition(".")
        if last == "query_key_value":
            parts = [kernels[f"{prefix}.{part}"] for part in ("query", "key", "value")]
            state[name] = torch.cat(parts, dim=1).T
        elif prefix.endswith("attention"):
            state[name] = kernels[name].T
        elif "feed_forward." in name:
            kind = {"weight": "kernel", "bias": "bias"}[last]
            array = kernels[f"{prefix}_{kind}"]
            state[name] = array.T if kind == "kernel" else array
        else:
            state[name] = kernels[name.replace("norm.weight", "norm.scale")]
    model.load_state_dict(state)
