"""Preparing parallel text: what is written, when it is written again, and what a user is told."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from jax_mlperf.data import encoding, records, transformer
from jax_mlperf.data.encoding import count_lines, encode_files, read_lines
from jax_mlperf.data.subtokenizer import Subtokenizer
from jax_mlperf.errors import UserError

SETTINGS = transformer.Settings(
    "mine", ("first", "second"), eval_split="test", vocab_size=60
)
SENTENCES = [f"la phrase numéro {i} est ici\u2028 , \r oui" for i in range(40)]


def write_text(raw):
    raw.mkdir(parents=True)
    for name, lines in (
        ("first", SENTENCES[:30]),
        ("second", ["", *SENTENCES[30:]]),
        ("test", SENTENCES[:7]),
    ):
        (raw / f"{name}.en").write_bytes("".join(f"{line}\n" for line in lines).encode())
        (raw / f"{name}.de").write_bytes("\n".join(f" {line.upper()} " for line in lines).encode())


def prepare(tmp_path, settings=SETTINGS, **kwargs):
    return transformer.prepare(tmp_path, settings, **({"max_length": 64, "workers": 1} | kwargs))


def test_prepared_pairs_are_the_text(tmp_path):
    write_text(tmp_path / "mine")
    folder = prepare(tmp_path, packed_lengths=(128, 128), max_length=128)
    meta = transformer.Meta(**records.read_meta(folder))
    subtokenizer = Subtokenizer.from_file(folder / transformer.VOCABULARY)
    assert (meta.train_pairs, meta.eval_sentences, meta.vocab_size) == (41, 7, subtokenizer.vocab_size)
    source, target = (records.Sequences(folder / f"train.{side}") for side in ("source", "target"))
    expected = [*SENTENCES[:30], "", *SENTENCES[30:]]
    for i, line in enumerate(expected):
        assert subtokenizer.decode(source[i].tolist()) == line
        assert subtokenizer.decode(target[i].tolist()) == line.upper()
        assert source[i][-1] == target[i][-1] == 1
    longest = np.maximum(source.lengths(), target.lengths())
    assert meta.length_counts == np.bincount(longest).tolist()
    assert read_lines(folder / transformer.EVAL_REFERENCES) == [line.upper() for line in SENTENCES[:7]]
    packing = transformer.PackingMeta(**records.read_meta(transformer.packing_folder(folder, 128, 128, 128)))
    kept = np.flatnonzero(longest <= 128)
    assert packing.pairs == len(kept)
    pair_ids = np.load(transformer.packing_folder(folder, 128, 128, 128) / "pair_ids.npy")
    assert sorted(pair_ids.tolist()) == kept.tolist()


def test_preparing_again_does_nothing_until_something_changed(tmp_path):
    write_text(tmp_path / "mine")

    def stamps(folder):
        return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}

    folder = prepare(tmp_path, packed_lengths=(64, 64))
    first = stamps(folder)
    assert prepare(tmp_path, packed_lengths=(64, 64)) == folder and stamps(folder) == first
    prepare(tmp_path, packed_lengths=(80, 64))  # a further packing leaves the rest alone
    assert first.items() < stamps(folder).items()
    (tmp_path / "mine" / "test.en").write_text("autre\n" * 7)  # other text: all is made anew
    prepare(tmp_path, packed_lengths=(64, 64))
    assert stamps(folder)[folder / "meta.json"] != first[folder / "meta.json"]
    assert (folder / transformer.EVAL_SOURCES).read_text() == "\n".join(["autre"] * 7)
    assert prepare(tmp_path, dataclasses.replace(SETTINGS, vocab_size=64)) != folder


def test_raw_dir_and_files_below_it(tmp_path):
    write_text(tmp_path / "elsewhere" / "training")
    settings = dataclasses.replace(SETTINGS, raw_dir=str(tmp_path / "elsewhere"))
    assert all(exists for _, exists in transformer.required_files(tmp_path, settings))
    assert len(transformer.required_files(tmp_path, settings)) == 6
    assert (prepare(tmp_path, settings) / "meta.json").is_file()


def test_texts_of_two_folders_do_not_mix(tmp_path, monkeypatch):
    """One data_dir and one variant, but a raw_dir each: neither replaces what the other prepared."""
    one, two = (dataclasses.replace(SETTINGS, raw_dir=str(tmp_path / name)) for name in ("one", "two"))
    for settings in (one, two):
        write_text(Path(settings.raw_dir))
    (tmp_path / "two" / "test.en").write_text("autre\n" * 7)
    folders = [prepare(tmp_path, settings) for settings in (one, two)]
    assert len({*folders, transformer.prepared_folder(tmp_path, SETTINGS)}) == 3
    texts = [(folder / transformer.EVAL_SOURCES).read_text().split("\n")[0] for folder in folders]
    assert texts[0].startswith("la phrase") and texts[1] == "autre"
    monkeypatch.chdir(tmp_path)
    assert transformer.prepared_folder(tmp_path, dataclasses.replace(SETTINGS, raw_dir="one")) == folders[0]


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match=r"6 text files are missing, .*first\.en first.*data download"):
        prepare(tmp_path)
    write_text(tmp_path / "mine")
    with open(tmp_path / "mine" / "second.de", "a") as file:
        file.write("\nextra")
    with pytest.raises(UserError, match=r"second\.en has 11 lines and .*second\.de has 12"):
        prepare(tmp_path)
    assert not transformer.prepared_folder(tmp_path, SETTINGS).exists()
    with pytest.raises(UserError, match="nothing is known to download for 'mine'"):
        transformer.download(tmp_path, SETTINGS)
    (tmp_path / "mine" / "second.en").write_bytes(b"oui\n" * 12)
    (tmp_path / "mine" / "first.en").write_bytes(b"\xff\n" * 30)
    with pytest.raises(UserError, match="is not UTF-8"):
        prepare(tmp_path)


def test_tiny_needs_no_files(tmp_path):
    settings = transformer.VARIANTS["tiny"]
    assert transformer.required_files(tmp_path, settings) == []
    folder = prepare(tmp_path, settings, packed_lengths=(64, 64))
    meta = transformer.Meta(**records.read_meta(folder))
    assert (meta.train_pairs, meta.eval_sentences) == (12_000, 256)
    assert abs(meta.vocab_size - settings.vocab_size) <= 4
    assert len(meta.length_counts) <= 32 + 1
    packing = transformer.PackingMeta(**records.read_meta(transformer.packing_folder(folder, 64, 64, 64)))
    assert packing.source_tokens == len(records.Sequences(folder / "train.source").tokens)
    assert packing.source_tokens / (packing.rows * 64) > 0.95


def test_published_vocabulary_is_taken_as_it_is(tmp_path, shared_data):
    raw = tmp_path / "wmt"
    raw.mkdir()
    for name in (transformer.PUBLISHED_VOCABULARY, "newstest2014.en", "newstest2014.de"):
        (raw / name).symlink_to(shared_data / "wmt" / name)
    for language in ("en", "de"):
        (raw / f"train.{language}").symlink_to(shared_data / "wmt" / f"newstest2014.{language}")
    settings = dataclasses.replace(transformer.VARIANTS["wmt"], train_splits=("train",))
    folder = prepare(tmp_path, settings)
    meta = json.loads((folder / "meta.json").read_text())
    assert (meta["vocab_size"], meta["eval_sentences"], meta["eval_max_source_length"]) == (33_708, 3_003, 97)
    tokens = [len(records.Sequences(folder / f"train.{side}").tokens) for side in ("source", "target")]
    assert tokens == [84_078, 88_538]


@pytest.mark.slow  # starts processes
def test_processes_encode_as_one_does(tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "CHUNK_BYTES", 10_000)
    lines = [f"line {i} of a longer text" for i in range(2000)]
    path = tmp_path / "text"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert count_lines(path) == len(lines)
    entries = ["<pad>_", "<EOS>_", *sorted(set("<pad>_EOS\\_u;0123456789 line of a longer text"))]
    Subtokenizer(entries).write(tmp_path / "vocab")
    one, two = (list(encode_files([path], tmp_path / "vocab", workers)) for workers in (1, 2))
    assert len(one) >= 3
    for (a, b), (c, d) in zip(one, two, strict=True):
        assert (a == c).all() and (b == d).all() and a.dtype == c.dtype
    assert sum(len(lengths) for _, lengths in two) == len(lines)
