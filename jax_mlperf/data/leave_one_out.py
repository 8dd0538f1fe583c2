"""Leave-one-out: from ratings as they stand in a file to each user's training items and one test item.

The steps are those of the reference's `convert.py` (`mlcommons/training:recommendation/pytorch` @fe17e837), whose unstable sort
by time decides between ratings of the same second; here the choice is named: a random one of them, or the last in the file.
"""

from typing import NamedTuple

import numpy as np

from jax_mlperf.data.movielens_files import Events

TIES = ("random", "stable")
_SPARSE = 4  # a table over all ids is taken up to this many times the ratings


class Ratings(NamedTuple):
    """What users rated, one item of each left out.

    Attributes:
      offsets: int64 [users + 1]; user u's training items are items[offsets[u] : offsets[u + 1]].
      items: int32 [training ratings], ascending for each user, no item twice.
      test_items: int32 [users], the item left out.
    """

    offsets: np.ndarray
    items: np.ndarray
    test_items: np.ndarray


class Split(NamedTuple):
    """The ratings, and what happened to them: `items` counts the distinct ones, `tied_users` had several last ratings."""

    ratings: Ratings
    items: int
    dropped_users: int
    duplicates: int
    tied_users: int


def split(events: Events, *, min_ratings: int, ties: str, ties_seed: int = 0) -> Split:
    """Drops users with few ratings, renumbers users and items by first appearance, leaves each user's last rating out.

    Args:
      events: at least one rating, in the file's order, which numbers users and items.
      min_ratings: a user with fewer distinct items is dropped; at least 1.
      ties: which of several ratings of a user's last second is left out: "random" (uniform) or "stable" (the last in the file).
      ties_seed: of the random choices; with the events, it decides all of them.

    Returns:
      the split; of no users, when all were dropped.
    """
    total = len(events.users)
    events = newest_of_duplicates(events)
    duplicates = total - len(events.users)
    users, _ = first_appearance(events.users)
    counts = np.bincount(users)
    enough = counts >= min_ratings
    dropped = int((~enough).sum())
    if dropped:
        kept = enough[users]
        events = Events(*(column[kept] for column in events))
        users = (np.cumsum(enough) - 1)[users[kept]]
        counts = counts[enough]
    items, item_count = first_appearance(events.items)
    left_out, tied = _last_ratings(users, events.timestamps, len(counts), ties, ties_seed)
    trains = np.ones(len(users), bool)
    trains[left_out] = False
    ratings = grouped(users[trains], items[trains], items[left_out], len(counts))
    return Split(ratings, item_count, dropped, duplicates, tied)


def newest_of_duplicates(events: Events) -> Events:
    """The events, of several with the same user and item only the newest (the last of them in the file, if tied)."""
    keys = _pairs(events.users, events.items)
    ordered = np.sort(keys)
    if not (ordered[1:] == ordered[:-1]).any():
        return events
    order = np.lexsort((events.timestamps, keys))
    newest = np.append(keys[order][1:] != keys[order][:-1], True)
    kept = np.sort(order[newest])
    return Events(*(column[kept] for column in events))


def first_appearance(ids: np.ndarray) -> tuple[np.ndarray, int]:
    """int32 [n] numbers 0.. of the ids (int32 [n], not negative) in the order of first appearance, and how many there are."""
    if not len(ids):
        return ids, 0
    ids, count = ranks(ids)
    first = np.zeros(count, np.int64)
    first[ids[::-1]] = np.arange(len(ids) - 1, -1, -1)  # of an id that appears again, the assignment for its first place is last
    numbers = np.empty(count, np.int32)
    numbers[np.argsort(first)] = np.arange(count)
    return numbers[ids], count


def ranks(ids: np.ndarray) -> tuple[np.ndarray, int]:
    """int32 [n] numbers 0.. of the ids (int [n], not negative, n > 0) in ascending order, and how many there are."""
    if ids.max() > _SPARSE * len(ids):
        distinct, inverse = np.unique(ids, return_inverse=True)
        return inverse.astype(np.int32), len(distinct)
    present = np.bincount(ids) > 0
    return (np.cumsum(present, dtype=np.int32) - np.int32(1))[ids], int(present.sum())


def grouped(users: np.ndarray, items: np.ndarray, test_items: np.ndarray, user_count: int) -> Ratings:
    """Ratings of (user, item) pairs in any order, without duplicates."""
    offsets = np.zeros(user_count + 1, np.int64)
    np.cumsum(np.bincount(users, minlength=user_count), out=offsets[1:])
    keys = _pairs(users, items)
    keys.sort()
    return Ratings(offsets, (keys & 0xFFFFFFFF).astype(np.int32), test_items.astype(np.int32))


def _pairs(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """int64 [n] that sorts by user, then item."""
    keys = users.astype(np.int64)
    keys <<= 32
    keys |= items
    return keys


def _last_ratings(users: np.ndarray, timestamps: np.ndarray, user_count: int, ties: str, seed: int) -> tuple[np.ndarray, int]:
    """int64 [users] places of each user's last rating, and how many users had several to choose from."""
    newest = np.zeros(user_count, np.int64)
    np.maximum.at(newest, users, timestamps)
    places = np.flatnonzero(timestamps == newest[users])
    places = places[np.argsort(users[places], kind="stable")]  # by user, in the file's order
    counts = np.bincount(users[places], minlength=user_count)
    first = np.cumsum(counts) - counts
    chosen = counts - 1
    if ties == "random":
        chosen = np.random.Generator(np.random.PCG64(seed)).integers(0, counts)
    return places[first + chosen], int((counts > 1).sum())
