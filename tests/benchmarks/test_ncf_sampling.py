"""NCF's evaluation candidates at the benchmark's own scale (what they are is tested with the benchmark, small)."""

import jax
import numpy as np

from jax_mlperf.benchmarks.ncf_sampling import resident_data

USERS, ITEMS, RATINGS, NEGATIVES = 300, 26_744, 144, 999


def test_distinct_rivals_are_as_many_as_of_draws_with_replacement():
    """ncf.md of the specification, section 9: 980.5 of 999 draws among 26,600 items are distinct."""
    rng = np.random.default_rng(0)
    rated = [rng.permutation(ITEMS)[:RATINGS + 1].astype(np.int32) for _ in range(USERS)]
    test_items = np.array([row[0] for row in rated])
    host = {"offsets": np.arange(USERS + 1, dtype=np.int32) * RATINGS, "test_items": test_items,
            "items": np.concatenate([np.sort(row[1:]) for row in rated])}
    candidates = np.asarray(jax.jit(lambda host: resident_data(host, items=ITEMS, negatives=NEGATIVES, seed=0))(host)["candidates"])
    rivals = [np.setdiff1d(row, [positive]) for row, positive in zip(candidates[:USERS], test_items, strict=True)]
    assert all(not np.isin(row, own).any() for row, own in zip(rivals, rated, strict=True))
    unrated = ITEMS - RATINGS
    expected = unrated * (1 - (1 - 1 / unrated) ** NEGATIVES) * (1 - 1 / unrated)
    sizes = np.array([len(row) for row in rivals])
    assert abs(sizes.mean() - expected) < 4 * sizes.std() / np.sqrt(USERS) < 2
