"""Stored samples come back as they were, from any shard; what is damaged is said in one line."""

import numpy as np
import pytest
from pretraining_samples import example

from jax_mlperf.data import pretraining_store as store
from jax_mlperf.data.pretraining_examples import Example
from jax_mlperf.errors import UserError

NAMES = ["part-0", "part-1", "empty", "part-2"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("train")
    shards = [[example(int(length), rng, 65_536) for length in rng.integers(5, 200, count)] for count in (7, 5, 0, 9)]
    metas = [store.write_shard(folder, name, shard, f"print of {name}") for name, shard in zip(NAMES, shards, strict=True)]
    store.write_index(folder, NAMES)
    return folder, [sample for shard in shards for sample in shard], metas


def samples_of(written, folder=None):
    return store.Samples(folder or written[0], NAMES, [meta.samples for meta in written[2]])


def unpacked(texts):
    """The samples again, one by one."""
    for offset, length, first, predictions, random_next in texts.entries.tolist():
        tokens, positions, labels = np.split(texts.values[offset : offset + length + 2 * predictions],
                                             [length, length + predictions])
        yield Example(tokens.tolist(), first, positions.tolist(), labels.tolist(), bool(random_next))


def test_samples_come_back(written):
    folder, examples, metas = written
    samples = samples_of(written)
    assert len(samples) == 21
    order = np.array([20, 3, 7, 3, 0, 12, 11, 19])
    assert list(unpacked(samples.fetch(order))) == [examples[i] for i in order]
    assert samples.lengths(order).tolist() == [len(examples[i].tokens) for i in order]
    assert list(unpacked(samples.fetch(order[:0]))) == []
    samples.close()
    assert list(unpacked(samples.fetch(order[:1]))) == [examples[20]]
    first = metas[0]
    assert (first.fingerprint, first.samples, first.predictions) == (
        "print of part-0", 7, sum(len(sample.positions) for sample in examples[:7]))
    assert first.random_next == sum(sample.random_next for sample in examples[:7])
    assert first.length_counts == np.bincount([len(sample.tokens) for sample in examples[:7]]).tolist()
    assert store.read_shard_meta(folder / "part-0") == first and store.read_shard_meta(folder / "part-9") is None


def test_large_shards_are_written_piece_by_piece(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "_FLUSH_VALUES", 100)
    rng = np.random.default_rng(1)
    examples = [example(40, rng) for _ in range(20)]
    meta = store.write_shard(tmp_path, "part", iter(examples), "")
    store.write_index(tmp_path, ["part"])
    assert list(unpacked(store.Samples(tmp_path, ["part"], [20]).fetch(np.arange(20)))) == examples
    assert meta.values == 20 * (40 + 2 * 6)


def test_nothing_of_a_shard_that_was_not_finished(tmp_path):
    def breaking():
        yield Example([1, 2, 3, 4, 5], 3, [1], [9], False)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write_shard(tmp_path, "part", breaking(), "")
    assert list(tmp_path.iterdir()) == []


def test_the_index_takes_outdated_shards_away(tmp_path):
    for name in ("old", "new"):
        store.write_shard(tmp_path, name, [], "")
    store.write_index(tmp_path, ["new"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "new"]


def test_damage(written, tmp_path):
    rng = np.random.default_rng(2)
    store.write_shard(tmp_path, "part", [example(50, rng) for _ in range(4)], "")
    store.write_index(tmp_path, ["part"])
    with pytest.raises(UserError, match=r"index has 40 bytes, should have 50: delete .* and prepare again"):
        store.Samples(tmp_path, ["part"], [5])
    values = tmp_path / "part" / "values"
    values.write_bytes(values.read_bytes()[:-2])
    assert not store.is_whole(tmp_path / "part") and store.is_whole(written[0] / "part-0")
    with pytest.raises(UserError, match=r"values has 526 bytes, should have 528: delete .*part and prepare again"):
        store.Samples(tmp_path, ["part"], [4]).fetch(np.array([0]))
    values.unlink()
    with pytest.raises(UserError, match="values cannot be read: No such file"):
        store.Samples(tmp_path, ["part"], [4]).fetch(np.array([0]))
    (tmp_path / "part" / "meta.json").write_text("{")
    with pytest.raises(UserError, match="meta.json is damaged"):
        store.Samples(tmp_path, ["part"], [4]).fetch(np.array([0]))
