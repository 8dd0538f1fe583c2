"""The generated ratings: the recipe's figures, and what the reader finds in the file."""

import numpy as np

from jax_mlperf.data.latent_ratings import generate, latent_positives
from jax_mlperf.data.movielens_files import FORMS, read


def test_positives_are_distinct_and_a_pure_function():
    chosen = latent_positives(300, 100, 20, 3)
    assert chosen.shape == (300, 20) and chosen.min() >= 0 and chosen.max() < 100
    assert (np.diff(np.sort(chosen, axis=1), axis=1) > 0).all()
    np.testing.assert_array_equal(chosen, latent_positives(300, 100, 20, 3))
    assert (chosen != latent_positives(300, 100, 20, 4)).mean() > 0.9


def test_popularity_ranking_has_the_specified_hit_rate():
    """Section 10 of the specification, full size: HR@10 of the popularity ranking 0.375 with 99 negatives."""
    chosen = latent_positives(2048, 1024, 32, 1234)
    train, test = chosen[:, :-1], chosen[:, -1]
    counts = np.bincount(train.reshape(-1), minlength=1024)
    rng = np.random.default_rng(0)
    rated = np.zeros((2048, 1024), bool)
    np.put_along_axis(rated, train, True, axis=1)
    hits = 0
    for user in range(2048):
        rivals = np.unique(rng.choice(np.flatnonzero(~rated[user]), 99))
        hits += (counts[rivals[rivals != test[user]]] >= counts[test[user]]).sum() < 10
    assert abs(hits / 2048 - 0.375) < 0.035


def test_the_order_of_positives_does_not_tell_their_size():
    """The held-out item is a random one: its mean popularity rank is that of the others."""
    chosen = latent_positives(2048, 256, 20, 0)
    deviation = chosen.std() / np.sqrt(2048)
    assert abs(chosen[:, -1].mean() - chosen.mean()) < 4 * deviation


def test_file(tmp_path):
    path = tmp_path / "ratings.csv"
    generate(path, 30, 50, 20, 3)
    events = read(path, FORMS["ml-20m"])
    chosen = latent_positives(30, 50, 20, 3)
    assert events.users.tolist() == np.repeat(np.arange(1, 31), 20).tolist()
    items, seconds = events.items.reshape(30, 20), events.timestamps.reshape(30, 20)
    assert (np.diff(items, axis=1) > 0).all()
    np.testing.assert_array_equal(np.take_along_axis(items, np.argsort(seconds, axis=1), 1), chosen + 1)
    assert (np.diff(np.sort(seconds, axis=1), axis=1) > 0).all()
