"""The sentiment reference's convolution model in plain PyTorch: the peer of perf/sentiment.py.

Facts: `mlcommons/training:retired_benchmarks/never-adopted/sentiment_analysis/paddle/train.py`. Written as a PyTorch user would:
padded batches of reviews of about one length, Conv1d over the embeddings, a masked maximum over time. The embedding is updated
where the batch has words only (SparseAdam), as the reference does, or throughout (Adam). Nothing of jax_mlperf is imported.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SentenceConv(nn.Module):
    """Two convolutions over word embeddings, each with its maximum over time, and a linear layer on both.

    Id `vocab_size` is padding: a row of zeros that is not trained.
    """

    def __init__(self, vocab_size: int, embedding: int = 1024, filters: int = 1024, *, sparse: bool = False):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size + 1, embedding, padding_idx=vocab_size, sparse=sparse)
        self.conv_a = nn.Conv1d(embedding, filters, 3, padding=1)
        self.conv_b = nn.Conv1d(embedding, filters, 4)  # padded by 2 before and 1 after
        self.output = nn.Linear(2 * filters, 2)
        for weight, fan_in, fan_out in (
            (self.embedding.weight, vocab_size, embedding), (self.conv_a.weight, 3 * embedding, filters),
            (self.conv_b.weight, 4 * embedding, filters), (self.output.weight, filters, 2),
        ):  # fmt: skip
            nn.init.uniform_(weight, -(limit := (6 / (fan_in + fan_out)) ** 0.5), limit)
        nn.init.zeros_(self.embedding.weight.data[vocab_size])
        for layer in (self.conv_a, self.conv_b, self.output):
            nn.init.zeros_(layer.bias)

    def classify(self, embedded: Tensor, inside: Tensor) -> Tensor:
        """Logits [B, 2] of embedded reviews [B, L, e] and bool [B, L]."""
        x = embedded.transpose(1, 2)
        pooled = []
        for values in (self.conv_a(x), self.conv_b(F.pad(x, (2, 1)))):
            largest = values.masked_fill(~inside[:, None], -torch.inf).amax(dim=2)
            pooled.append(F.elu(largest))  # ELU rises everywhere: after the maximum it has a fraction of the work
        return self.output(torch.cat(pooled, dim=1))

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits [B, 2] of padded ids [B, L]."""
        return self.classify(self.embedding(tokens), tokens != self.embedding.padding_idx)


def load_parameters(model: SentenceConv, arrays: Mapping[str, np.ndarray]) -> None:
    """Copies arrays by the state's names; convolutions [out, in, window], linear weights [out, in], the embedding unpadded."""
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    tensors["embedding.weight"] = F.pad(tensors["embedding.weight"], (0, 0, 0, 1))
    model.load_state_dict(tensors)


def sorted_batches(reviews: Sequence[np.ndarray], labels: np.ndarray, batch: int, padding: int,
                   multiple: int) -> list[tuple[Tensor, Tensor]]:
    """(ids int32 [B, L], labels int64 [B]) of reviews of about one length: L is that of the longest, rounded up."""
    order = sorted(range(len(reviews)), key=lambda index: len(reviews[index]))
    batches = []
    for first in range(0, len(order), batch):
        mine = order[first:first + batch]
        length = -(-max(len(reviews[index]) for index in mine) // multiple) * multiple
        ids = np.full((len(mine), length), padding, np.int32)
        for row, index in enumerate(mine):
            ids[row, :len(reviews[index])] = reviews[index]
        batches.append((torch.from_numpy(ids), torch.from_numpy(labels[mine].astype(np.int64))))
    return batches


def train_step(model: SentenceConv, learning_rate: float, *, compiled: bool,
               bfloat16: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """(ids, labels) -> loss: one update by Adam; the embedding's by SparseAdam if the model's gradient of it is sparse."""
    tables = [model.embedding.weight]
    rest = [weight for weight in model.parameters() if weight is not model.embedding.weight]
    if model.embedding.sparse:
        optimizers = [torch.optim.SparseAdam(tables, lr=learning_rate), torch.optim.Adam(rest, lr=learning_rate, fused=True)]
    else:
        optimizers = [torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)]

    def loss_fn(embedded: Tensor, inside: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(embedded.device.type, dtype=torch.bfloat16, enabled=bfloat16):
            logits = model.classify(embedded, inside)
        return F.cross_entropy(logits.float(), labels)

    compute = torch.compile(loss_fn, dynamic=True) if compiled else loss_fn

    def step(ids: Tensor, labels: Tensor) -> Tensor:
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        # The look-up stays outside: torch.compile knows no sparse gradient.
        loss = compute(model.embedding(ids), ids != model.embedding.padding_idx, labels)
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        return loss.detach()

    return step
