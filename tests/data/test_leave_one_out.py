"""The split against a plain Python version of the rules, and the choice among ratings of the same second."""

import numpy as np
import pytest

from jax_mlperf.data.leave_one_out import first_appearance, split
from jax_mlperf.data.movielens_files import Events


def events_of(*rows):
    users, items, seconds = zip(*rows, strict=True)
    return Events(np.array(users, np.int32), np.array(items, np.int32), np.array(seconds, np.int64))


def random_events(seed, count=300, largest_id=40):
    """Users in runs, times with many ties, some (user, item) pairs twice."""
    rng = np.random.default_rng(seed)
    return Events(rng.integers(0, 15, count).astype(np.int32), (rng.integers(1, 30, count) * largest_id // 30).astype(np.int32),
                  rng.integers(0, 25, count))


def by_hand(events, min_ratings):
    """(train items, all last items in the file's order) of each user, renumbered; how many rows were duplicates."""
    rows = list(zip(*map(np.ndarray.tolist, events), strict=True))
    newest = {}
    for place, (user, item, second) in enumerate(rows):
        if (user, item) not in newest or second >= rows[newest[user, item]][2]:
            newest[user, item] = place
    kept = [rows[place] for place in sorted(newest.values())]
    counts = {user: sum(row[0] == user for row in kept) for user, _, _ in kept}
    kept = [row for row in kept if counts[row[0]] >= min_ratings]
    users = list(dict.fromkeys(row[0] for row in kept))
    items = {item: number for number, item in enumerate(dict.fromkeys(row[1] for row in kept))}
    result = []
    for user in users:
        own = [(items[item], second) for owner, item, second in kept if owner == user]
        last = max(second for _, second in own)
        result.append(({item for item, _ in own}, [item for item, second in own if second == last]))
    return result, len(rows) - len(newest), len(items), len(counts) - len(users)


@pytest.mark.parametrize("ties", ["random", "stable"])
@pytest.mark.parametrize(("seed", "largest_id"), [(0, 40), (1, 40), (2, 2**31 - 1)])
def test_against_plain_python(ties, seed, largest_id):
    events = random_events(seed, largest_id=largest_id)
    expected, duplicates, items, dropped = by_hand(events, 13)
    result = split(events, min_ratings=13, ties=ties, ties_seed=7)
    ratings = result.ratings
    assert 0 < dropped < 15 and duplicates > 0
    assert result[1:] == (items, dropped, duplicates, sum(len(last) > 1 for _, last in expected))
    assert [array.dtype for array in ratings] == [np.int64, np.int32, np.int32]
    for user, (rated, last) in enumerate(expected):
        test = ratings.test_items[user]
        assert test == last[-1] if ties == "stable" else test in last
        assert ratings.items[ratings.offsets[user] : ratings.offsets[user + 1]].tolist() == sorted(rated - {test})


def test_numbers_are_those_of_first_appearance():
    result = split(events_of((5, 90, 1), (5, 80, 2), (3, 70, 1), (5, 70, 3), (3, 90, 2)), min_ratings=2, ties="stable")
    assert result.ratings.offsets.tolist() == [0, 2, 3]
    assert result.ratings.items.tolist() == [0, 1, 2]  # 90, 80 of user 5; 70 of user 3
    assert result.ratings.test_items.tolist() == [2, 0]
    ranks, count = first_appearance(np.array([7, 2**31 - 1, 7, 0], np.int32))
    assert (ranks.tolist(), count) == ([0, 1, 0, 2], 3)


def test_users_dropped_first_number_nothing():
    result = split(events_of((1, 50, 1), (2, 60, 1), (2, 50, 2)), min_ratings=2, ties="stable")
    assert result.dropped_users == 1 and result.items == 2
    assert result.ratings.items.tolist() == [0] and result.ratings.test_items.tolist() == [1]  # 60 came first of what is left


def test_nobody_left():
    result = split(events_of((1, 50, 1), (2, 60, 1)), min_ratings=2, ties="random")
    assert result.dropped_users == 2 and len(result.ratings.test_items) == 0


def test_of_duplicates_the_newest_counts():
    rows = ((1, 50, 9), (1, 60, 5), (1, 50, 3), (1, 70, 6))
    result = split(events_of(*rows), min_ratings=2, ties="stable")
    assert result.duplicates == 1
    assert result.ratings.test_items.tolist() == [0] and result.ratings.items.tolist() == [1, 2]


def test_random_ties_are_uniform_and_seeded():
    """5,000 users with five last ratings each: chi-square with 4 degrees of freedom, 99.9 % of which lie below 18.5."""
    users = np.repeat(np.arange(5000, dtype=np.int32), 6)
    items = np.tile(np.arange(6, dtype=np.int32), 5000)
    events = Events(users, items, np.minimum(items, 1).astype(np.int64))  # item 0 is earlier
    first, again, other = (split(events, min_ratings=2, ties="random", ties_seed=seed).ratings.test_items for seed in (0, 0, 1))
    counts = np.bincount(first, minlength=6)
    assert counts[0] == 0 and ((counts[1:] - 1000) ** 2 / 1000).sum() < 18.5
    np.testing.assert_array_equal(first, again)
    assert 0.7 < (first != other).mean() < 0.9  # 4 of 5
    assert (split(events, min_ratings=2, ties="stable").ratings.test_items == 5).all()
