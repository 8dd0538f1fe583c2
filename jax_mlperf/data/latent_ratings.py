"""Generated ratings for the tiny variant: users and items with latent factors, popular items first.

The recipe is that of the specification of NCF, section 10: logit[u, i] = 2.5 z_u . w_i / sqrt(8) - 0.7 ln(1 + i), with z and w of
eight standard normal factors; a user's positives are the largest sums of logit and Gumbel noise, which draws them without
replacement in proportion to exp(logit).
"""

from pathlib import Path

import numpy as np

_FACTORS = 8
_AFFINITY = 2.5
_POPULARITY = 0.7
_ROWS = 256  # users whose logits are in memory at once
_START = 1_000_000_000  # seconds since 1970 of every user's first rating
_STEP = 60


def latent_positives(users: int, items: int, positives: int, seed: int) -> np.ndarray:
    """int32 [users, positives] items in random order, distinct for each user; a pure function of the arguments."""
    rng = np.random.Generator(np.random.PCG64(seed))
    user_factors = rng.standard_normal((users, _FACTORS))
    item_factors = rng.standard_normal((items, _FACTORS))
    popularity = -_POPULARITY * np.log1p(np.arange(items))
    chosen = np.empty((users, positives), np.int32)
    for start in range(0, users, _ROWS):
        logits = _AFFINITY / np.sqrt(_FACTORS) * user_factors[start : start + _ROWS] @ item_factors.T + popularity
        logits += rng.gumbel(size=logits.shape)
        best = np.argpartition(logits, items - positives, axis=1)[:, items - positives :]
        chosen[start : start + _ROWS] = rng.permuted(np.sort(best, axis=1), axis=1)
    return chosen


def generate(path: Path, users: int, items: int, positives: int, seed: int) -> None:
    """Writes the positives as a ratings.csv sorted by user and item, as MovieLens 20M is.

    Ids start at 1, every rating is 4.0, and a user's timestamps rise in the positives' random order: the last is held out.
    """
    chosen = latent_positives(users, items, positives, seed)
    order = np.argsort(chosen, axis=1)
    columns = (np.repeat(np.arange(1, users + 1), positives), 1 + np.take_along_axis(chosen, order, 1).reshape(-1),
               _START + _STEP * order.reshape(-1))
    lines = (f"{user},{item},4.0,{second}\n" for user, item, second in zip(*(c.tolist() for c in columns), strict=True))
    path.write_text("userId,movieId,rating,timestamp\n" + "".join(lines), encoding="utf-8", newline="\n")
