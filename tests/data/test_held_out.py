"""The reference's held-out split."""

import random

import pytest

from jax_mlperf.data.held_out import held_out_places, split
from jax_mlperf.errors import UserError


def test_shares_add_up_and_are_spread():
    # 10,000 of the reference's 13,418 files give one article, the others none.
    counts = [len(held_out_places(file, 13_418, 100, 10_000)) for file in range(13_418)]
    assert sum(counts) == 10_000
    assert set(counts) == {0, 1}
    # floor((i + 1) 7 / 3) - floor(i 7 / 3)
    assert [len(held_out_places(file, 3, 50, 7)) for file in range(3)] == [2, 2, 3]


def test_draws_are_the_references():
    # Step 5 of the specification: random.Random(12345 + 13 i), int(random() * articles), repeats drawn again.
    rng = random.Random(12_345 + 13 * 4)
    expected = []
    while len(expected) < 6:
        place = int(rng.random() * 8)
        if place not in expected:
            expected.append(place)
    assert held_out_places(4, 5, 8, 30) == sorted(expected)
    assert expected != sorted(expected)


def test_split_keeps_the_order():
    assert split(["a", "b", "c", "d"], [0, 2]) == (["b", "d"], ["a", "c"])


def test_too_few_articles():
    with pytest.raises(UserError, match=r"^file 2 of 2 holds 4 articles, 5 of which are to be held out: lower data.eval_articles \(10\)"):
        held_out_places(1, 2, 4, 10)
    assert held_out_places(0, 1, 4, 4) == [0, 1, 2, 3]
