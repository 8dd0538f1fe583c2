"""Batches of BERT: every sample once an epoch, the same on any number of processes and from any step, right in every slot."""

import itertools

import numpy as np
import pytest
from pretraining_samples import example, lengths_of_the_spec, prepared

from input_pipelines.pretraining import PretrainingData, predictions_per_row
from jax_mlperf.data.pretraining_examples import Example
from jax_mlperf.errors import UserError

SLOTS, BATCH = 64, 8
GLOBAL = ("predictions", "sequences")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder, its 50 training samples in three shards and 21 evaluation samples, of 5 to 40 tokens."""
    rng = np.random.default_rng(0)
    shards = [[example(int(length), rng) for length in rng.integers(5, 41, count)] for count in (20, 13, 17)]
    evaluation = [example(int(length), rng) for length in rng.integers(5, 41, 21)]
    folder = prepared(tmp_path_factory.mktemp("prepared"), shards, evaluation, SLOTS)
    return folder, list(itertools.chain(*shards)), evaluation


def data(folder, **changes):
    arguments = {"batch_size": BATCH, "max_sequence_length": SLOTS, "max_predictions": 10, "masked_lm_prob": 0.15,
                 "packed": True, "sequences_per_row": 3, "rows_multiple": 2}
    return PretrainingData(folder, **(arguments | changes))


def sequences_of(batch):
    """The samples of a batch again, read slot by slot; what no sample covers must be 0."""
    found = []
    for row in range(len(batch["input_ids"])):
        values = {name: array[row] for name, array in batch.items() if name not in GLOBAL}
        segments = int(values["segmentation"].max())
        for segment in range(1, segments + 1):
            slots = np.flatnonzero(values["segmentation"] == segment)
            start, end = slots[0], slots[-1] + 1
            assert len(slots) == end - start == values["position_ids"][end - 1] + 1
            assert values["sequence_starts"][segment - 1] == start and values["next_sentence_weights"][segment - 1] == 1
            types = values["token_type_ids"][start:end]
            mine = (values["masked_lm_weights"] == 1) & (values["masked_lm_positions"] >= start) & (
                values["masked_lm_positions"] < end)
            found.append(Example(values["input_ids"][start:end].tolist(), int((types == 0).sum()),
                                 (values["masked_lm_positions"][mine] - start).tolist(), values["masked_lm_ids"][mine].tolist(),
                                 bool(values["next_sentence_labels"][segment - 1])))
            assert (np.diff(types) >= 0).all()
        assert values["next_sentence_weights"].sum() == segments
        used = (values["segmentation"] > 0).sum()
        for name in ("input_ids", "segmentation", "token_type_ids", "position_ids"):
            assert not values[name][used:].any()
        for weights, names in (("masked_lm_weights", ("masked_lm_positions", "masked_lm_ids")),
                               ("next_sentence_weights", ("sequence_starts", "next_sentence_labels"))):
            assert set(values[weights].tolist()) <= {0, 1}
            assert not any(values[name][values[weights] == 0].any() for name in names)
    return found


def take(source, count, seed=0, step=0):
    return list(itertools.islice(source.train_batches(seed, step), count))


def same(one, other):
    return one.keys() == other.keys() and all((one[name] == other[name]).all() and one[name].dtype == other[name].dtype
                                              for name in one)


@pytest.mark.parametrize("packed", [True, False])
def test_every_epoch_holds_every_sample_once(written, packed):
    """150 batches of 8 of 50 samples are 24 epochs, and 25 windows of six batches."""
    folder, examples, _ = written
    source = data(folder, packed=packed)
    batches = take(source, 150)
    seen = []
    for batch in batches:
        assert batch["input_ids"].shape == (source.rows, SLOTS) and source.rows % 2 == 0
        found = sequences_of(batch)
        assert len(found) == BATCH == batch["sequences"]
        assert batch["predictions"] == sum(len(sample.positions) for sample in found) == batch["masked_lm_weights"].sum()
        seen += found
    assert sorted(seen) == sorted(24 * examples)
    assert source.left_out == 0
    assert source.rows < BATCH if packed else source.rows == BATCH
    if not packed:  # batch by batch in the epochs' order
        assert sorted(seen[:200]) == sorted(4 * examples)
    for first in range(0, 1200, 48):  # a window is no more than an epoch: at most the ends of two
        assert max(map(seen[first : first + 48].count, seen[first : first + 48])) <= 2
    assert max(map(seen[:48].count, seen[:48])) == 1
    assert {name: (array.dtype.name, array.shape[1:]) for name, array in batch.items()} == {
        **dict.fromkeys(("input_ids", "segmentation", "token_type_ids", "position_ids"), ("int32", (SLOTS,))),
        **dict.fromkeys(("masked_lm_positions", "masked_lm_ids"), ("int32", (source.predictions_per_row,))),
        **dict.fromkeys(("sequence_starts", "next_sentence_labels"), ("int32", (source.sequences_per_row,))),
        "masked_lm_weights": ("float32", (source.predictions_per_row,)),
        "next_sentence_weights": ("float32", (source.sequences_per_row,)), "predictions": ("float32", ()),
        "sequences": ("float32", ())}
    source.close()


def test_any_step_continues_the_stream(written):
    whole = take(data(written[0]), 15, seed=3)
    for step in (1, 6, 11):
        for expected, found in zip(whole[step:], take(data(written[0]), 15 - step, seed=3, step=step), strict=True):
            assert same(expected, found)
    assert not same(whole[0], take(data(written[0]), 1, seed=4)[0])


@pytest.mark.parametrize("packed", [True, False])
def test_processes_share_the_rows(written, packed):
    folder = written[0]
    for batches in (lambda source: source.train_batches(7, 5), lambda source: source.eval_batches(8)):
        alone = list(itertools.islice(batches(data(folder, packed=packed, rows_multiple=4)), 4))
        shares = [list(itertools.islice(batches(data(folder, packed=packed, rows_multiple=4, process_index=index, process_count=4)), 4))
                  for index in range(4)]
        for i, whole in enumerate(alone):
            parts = [share[i] for share in shares]
            joined = {name: whole[name] if name in GLOBAL else np.concatenate([part[name] for part in parts]) for name in whole}
            assert same(joined, whole)
            assert all(part[name] == whole[name] for part in parts for name in GLOBAL)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("rows", [2, 6, 100])
def test_evaluation_holds_every_sample_once(written, rows, packed):
    batches = list(data(written[0], packed=packed).eval_batches(rows))
    assert all(len(batch["input_ids"]) == rows for batch in batches)
    assert sorted(itertools.chain(*map(sequences_of, batches))) == sorted(written[2])
    assert sum(batch["sequences"] for batch in batches) == 21
    assert sum(batch["predictions"] for batch in batches) == sum(len(sample.positions) for sample in written[2])
    assert len(batches) <= -(-21 // rows)


def test_predictions_of_a_row():
    """76 of 512 alone (spec section 2); together, half a prediction more for each sequence."""
    assert predictions_per_row(512, 76, 0.15, 1) == 76
    assert predictions_per_row(512, 76, 0.15, 4) == 78
    assert predictions_per_row(32, 5, 0.15, 1) == 5
    worst = max(sum(max(1, round(0.15 * length)) for length in lengths)
                for lengths in itertools.combinations_with_replacement(range(5, 65), 3) if sum(lengths) <= 64)
    assert worst <= predictions_per_row(64, 10, 0.15, 3) == 11


@pytest.mark.slow  # 6 s: a window of 65,536 samples is written
def test_rows_are_full_at_the_published_lengths(tmp_path):
    rng = np.random.default_rng(0)
    kinds = {length: example(length, rng) for length in range(5, 513)}
    shards = [[kinds[length] for length in lengths_of_the_spec(40_000, seed).tolist()] for seed in (1, 2)]
    source = data(prepared(tmp_path, shards, shards[0][:10], 512), batch_size=448, max_sequence_length=512, max_predictions=76,
                  sequences_per_row=4, rows_multiple=1)
    share, sequences = source.packing_efficiency()
    assert share >= 0.98 and sequences == pytest.approx(1.98, abs=0.02)
    batches = take(source, 5, step=140)  # across the first window's end
    assert [batch["sequences"] for batch in batches] == [448] * 5 and source.left_out == 0
    assert np.mean([(batch["segmentation"] > 0).mean() for batch in batches]) > 0.97


def test_mistakes(written, tmp_path):
    folder = written[0]
    with pytest.raises(UserError, match=r"holds no prepared samples: run `python -m jax_mlperf data prepare`"):
        data(tmp_path)
    with pytest.raises(UserError, match="holds samples of up to 40 tokens, data.max_sequence_length is 32"):
        data(folder, max_sequence_length=32)
    with pytest.raises(UserError, match="multiples of 2, which do not divide over 4 processes"):
        data(folder, process_count=4)
    with pytest.raises(UserError, match="batch of 6 rows does not divide over 4 processes"):
        next(data(folder, rows_multiple=4, process_count=4).eval_batches(6))
    with pytest.raises(UserError, match="more than 3 predictions in a row: data.max_predictions or data.masked_lm_prob"):
        take(data(folder, max_predictions=1), 9)
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match="holds 0 training and 1 evaluation samples"):
        data(prepared(tmp_path / "none", [[]], [example(9, rng)], SLOTS))
    with pytest.raises(UserError, match="holds ids beyond 99,"):
        take(data(prepared(tmp_path / "ids", [[example(60, rng, 1000)] * 8], [example(9, rng)], SLOTS, vocab_size=100)), 1)
