"""Rows of a window and their batches: every sequence once, so many to a batch, nearly full rows."""

import numpy as np
import pytest
from pretraining_samples import lengths_of_the_spec

from jax_mlperf.data.sequence_packing import deal, row_of_each, trial, window_batches


def test_a_window_is_whole_batches():
    assert window_batches(156_726_829, 448) == 146
    assert window_batches(156_726_829, 65_536) == window_batches(156_726_829, 70_000) == window_batches(3, 64) == 1
    assert window_batches(1000, 64) == 15


@pytest.mark.parametrize("batch_size", [448, pytest.param(4096, marks=pytest.mark.slow)])
def test_lengths_of_the_published_histogram(batch_size):
    """At least 98 % of the slots filled, 1.98 sequences a row, and batches of exactly so many sequences in the rows foretold."""
    lengths = lengths_of_the_spec(window_batches(10**8, batch_size) * batch_size, seed=1)
    foretold = trial(np.bincount(lengths_of_the_spec(500_000)), batch_size, 512, 4)
    rows = row_of_each(lengths, 512, 4, seed=7)
    used = rows.max() + 1
    assert lengths.sum() / (used * 512) >= 0.98 and foretold.efficiency >= 0.98
    assert len(lengths) / used == pytest.approx(1.98, abs=0.02)
    assert foretold.sequences_per_row == pytest.approx(1.98, abs=0.02)
    assert np.bincount(rows, lengths).max() <= 512 and np.bincount(rows).max() <= 4
    batches = len(lengths) // batch_size
    assert foretold.rows <= 1.02 * used / batches + 1
    dealt = deal(rows, batches, batch_size, foretold.rows, seed=3)
    assert (np.diff(dealt.batch_offsets) == batch_size).all()
    assert sorted(dealt.sequences) == list(range(len(lengths)))
    for start, end in zip(dealt.batch_offsets, dealt.batch_offsets[1:], strict=False):
        in_batch = dealt.rows[start:end]
        assert (np.diff(in_batch) >= 0).all() and in_batch[0] == 0 and (np.diff(in_batch) <= 1).all()
        filled = np.bincount(in_batch, lengths[dealt.sequences[start:end]])
        assert filled.max() <= 512 and len(filled) <= foretold.rows


def test_rows_that_do_not_come_out_even_are_split():
    """Two rows of four sequences, batches of two: each row gives two sequences rows of their own."""
    dealt = deal(np.array([0, 0, 0, 0, 1, 1, 1, 1]), 4, 2, 2, seed=0)
    assert dealt.batch_offsets.tolist() == [0, 2, 4, 6, 8] and sorted(dealt.sequences) == list(range(8))
    for start in range(0, 8, 2):
        first, second = dealt.sequences[start : start + 2]
        assert (dealt.rows[start] == dealt.rows[start + 1]) <= (first // 4 == second // 4)  # one row: never of two


def test_what_finds_no_room_is_left_out():
    dealt = deal(np.arange(8), 2, 4, 3, seed=0)
    assert dealt.batch_offsets.tolist() == [0, 3, 6] and dealt.rows.tolist() == [0, 1, 2, 0, 1, 2]


def test_a_trial_leaves_room_for_the_chance_of_the_draw():
    """2,000 samples of 10 or 100 tokens in rows of 100: the margin is four deviations of a window's mean, so 5.2 %."""
    counts = np.zeros(101, np.int64)
    counts[[10, 100]] = 1000
    found = trial(counts, 100, 100, 10)
    assert found.efficiency == pytest.approx(1) and found.sequences_per_row == pytest.approx(20 / 11)
    assert found.rows == 58  # 55 * (1 + 4 * 45 / 55 * sqrt(0.5 / 2000)) = 57.85
    assert trial(np.array([0, 0, 7]), 3, 2, 4).rows == 3  # one sequence to a row: never more rows than sequences
