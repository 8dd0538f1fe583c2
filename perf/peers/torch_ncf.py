"""NeuMF in plain PyTorch, with an epoch's negatives and order made as whole tensors: the peer of perf/ncf.py.

Model, initial values and sampling rules are those of `mlcommons/training:recommendation/pytorch` (neumf.py, ncf.py); written
as a PyTorch user would for speed. `PairsOneByOne` is the reference's own way, a loop over examples in Python. Nothing of
jax_mlperf is imported.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

EMBEDDINGS = ("mf_user_embed", "mf_item_embed", "mlp_user_embed", "mlp_item_embed")


class NeuMF(nn.Module):
    """Product of two embeddings beside an MLP over two others; layers[0] is the MLP's input, half of it for each embedding."""

    def __init__(self, users: int, items: int, factors: int = 64, layers: Sequence[int] = (256, 256, 128, 64)):
        super().__init__()
        half = layers[0] // 2
        sizes = ((users, factors), (items, factors), (users, half), (items, half))
        for name, size in zip(EMBEDDINGS, sizes, strict=True):
            table = nn.Embedding(*size)
            nn.init.normal_(table.weight, 0.0, 0.01)
            setattr(self, name, table)
        self.mlp = nn.ModuleList(nn.Linear(m, n) for m, n in pairwise(layers))
        self.final = nn.Linear(factors + layers[-1], 1)
        for layer in self.mlp:
            nn.init.xavier_uniform_(layer.weight)
        limit = math.sqrt(3 / self.final.in_features)
        nn.init.uniform_(self.final.weight, -limit, limit)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Logits [N] of pairs, both integers [N]."""
        product = self.mf_user_embed(users) * self.mf_item_embed(items)
        x = torch.cat([self.mlp_user_embed(users), self.mlp_item_embed(items)], dim=1)
        for layer in self.mlp:
            x = F.relu(layer(x))
        return self.final(torch.cat([product, x], dim=1)).squeeze(1)


def load_parameters(model: NeuMF, arrays: Mapping[str, np.ndarray]) -> None:
    """Copies arrays by the state's names; weights [out, in]."""
    model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})


class Sampler:
    """All ratings of an epoch and their negatives, in a random order.

    Negatives are uniform over the items that the user has not rated: r among them is item r + #{k : p_k - k <= r} of the
    sorted rated items p (exact, nothing is drawn twice; on two cores as fast as drawing and filtering by a mask of all pairs).

    Args:
      offsets: int64 [users + 1], where each user's ratings begin.
      items: rated items, ascending inside a user.
      item_count: of all items.
      negatives: per rating.
      device: where everything lies.
    """

    def __init__(self, offsets: np.ndarray, items: np.ndarray, item_count: int, negatives: int, device: str):
        counts = np.diff(offsets)
        users = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        below = items.astype(np.int64) - (np.arange(len(items)) - offsets[users])

        def place(array: np.ndarray) -> Tensor:
            return torch.from_numpy(array).to(device)

        self.negatives, self.item_count = negatives, item_count
        self.users, self.items, self.offsets = place(users), place(items.astype(np.int32)), place(offsets.astype(np.int64))
        self.keys = place(users.astype(np.int64) * item_count + below)
        self.unrated = place(item_count - counts)

    def draw(self) -> tuple[Tensor, Tensor]:
        """Negatives of an epoch: int32 users and items, `negatives` times as many as ratings."""
        users = self.users.repeat_interleave(self.negatives)
        # float64: a float32 has too few values for an even choice among 27,000 items
        rank = (torch.rand(len(users), dtype=torch.float64, device=users.device) * self.unrated[users]).long()
        place = torch.searchsorted(self.keys, users.long() * self.item_count + rank, right=True)
        return users, (rank + place - self.offsets[users]).int()

    def epoch(self) -> tuple[Tensor, Tensor, Tensor]:
        """int32 users, int32 items and float32 labels of an epoch, shuffled."""
        users, items = self.draw()
        order = torch.randperm((1 + self.negatives) * len(self.users), device=users.device)
        labels = (order < len(self.users)).float()
        return torch.cat([self.users, users])[order], torch.cat([self.items, items])[order], labels


def make_optimizer(model: NeuMF, learning_rate: float, beta_1: float, beta_2: float, epsilon: float) -> torch.optim.Optimizer:
    """Adam of all rows of the tables, in one kernel."""
    return torch.optim.Adam(model.parameters(), learning_rate, (beta_1, beta_2), epsilon, fused=True)


def train_step(model: NeuMF, optimizer: torch.optim.Optimizer, *, compiled: bool,
               bfloat16: bool) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """(users, items, labels) -> loss: one update on sigmoid binary cross-entropy."""
    def loss_fn(users: Tensor, items: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(users.device.type, dtype=torch.bfloat16, enabled=bfloat16):
            logits = model(users, items)
        return F.binary_cross_entropy_with_logits(logits.float(), labels)

    compute = torch.compile(loss_fn, dynamic=False) if compiled else loss_fn

    def step(users: Tensor, items: Tensor, labels: Tensor) -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = compute(users, items, labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


class PairsOneByOne(Dataset):
    """The reference's way: example k is rating k // (1 + negatives), or a negative of its user, drawn when it is asked for."""

    def __init__(self, offsets: np.ndarray, items: np.ndarray, item_count: int, negatives: int):
        self.users = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)).tolist()
        self.items, self.item_count, self.negatives = items.tolist(), item_count, negatives
        self.rated = set(zip(self.users, self.items, strict=True))

    def __len__(self) -> int:
        return (1 + self.negatives) * len(self.items)

    def __getitem__(self, index: int) -> tuple[int, int, float]:
        rating, draw = divmod(index, 1 + self.negatives)
        user = self.users[rating]
        if draw == 0:
            return user, self.items[rating], 1.0
        item = np.random.randint(self.item_count)
        while (user, item) in self.rated:
            item = np.random.randint(self.item_count)
        return user, item, 0.0


def one_by_one(pairs: PairsOneByOne, batch: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Shuffled batches without end."""
    loader = torch.utils.data.DataLoader(pairs, batch_size=batch, shuffle=True, drop_last=True)
    while True:
        for users, items, labels in loader:
            yield users, items, labels.float()


def hit_rate(model: NeuMF, candidates: Tensor, counted: Tensor, top: int, users_at_once: int) -> float:
    """Share of users whose test item is among the `top` best.

    Args:
      model: the model.
      candidates: integer [U, C]; the test item is the last.
      counted: bool [U, C - 1], false where an item stands a second time, or is the test item among the negatives.
      top: places.
      users_at_once: users in one forward pass.
    """
    hits = 0
    with torch.no_grad():
        for first in range(0, len(candidates), users_at_once):
            rows = candidates[first:first + users_at_once]
            users = torch.arange(first, first + len(rows), device=rows.device).repeat_interleave(rows.shape[1])
            scores = model(users, rows.reshape(-1)).float().reshape(rows.shape)
            rivals = (scores[:, :-1] >= scores[:, -1:]) & counted[first:first + users_at_once]
            hits += int((rivals.sum(dim=1) < top).sum())
    return hits / len(candidates)
