"""BERT's published files fetched and checked, real articles, and preparations in processes."""

import dataclasses
import hashlib
import subprocess
import sys
import time

import numpy as np
import pytest
from pretraining_text import PARTS, SETTINGS, TEXT, articles, stamps, stored, write_articles, write_raw

from jax_mlperf.data import bert, bert_published
from jax_mlperf.data.bert import Settings
from jax_mlperf.data.sources import File
from jax_mlperf.data.tfrecord import write_shard
from jax_mlperf.errors import UserError


def test_published_files_are_held_against_what_is_known(tmp_path, monkeypatch):
    """A mirror that serves the raw folder fills it; a file of another size or checksum is damaged."""
    raw, mirror = tmp_path / "bert", tmp_path / "mirror"
    write_raw(mirror)
    (mirror / "tf1_ckpt").mkdir()
    (mirror / "tf1_ckpt" / "model").write_text("weights")
    files = {name: mirror / name for name in ("vocab.txt", "tf1_ckpt/model", "results/eval.txt")}
    vocabulary, checkpoint, evaluation = (
        File(name, path.stat().st_size, hashlib.md5(path.read_bytes()).hexdigest()) for name, path in files.items())
    for name, value in {"BERT_VOCABULARY": vocabulary, "BERT_CHECKPOINT": (checkpoint,), "BERT_EVALUATION": evaluation, "PARTS": 3,
                        "BERT_PARTS": {PARTS[2]: File(PARTS[2], md5="0" * 32)}}.items():  # fmt: skip
        monkeypatch.setattr(bert_published, name, value)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    (mirror / "results" / PARTS[2]).rename(mirror / "results" / "other")
    with pytest.raises(UserError, match=f"{PARTS[2]} failed 5 times"):
        bert.download(tmp_path, SETTINGS, mirror=f"{mirror.as_uri()}/")
    assert (raw / "results" / PARTS[1]).read_bytes() == (mirror / "results" / PARTS[1]).read_bytes()
    (mirror / "results" / "other").rename(raw / "results" / PARTS[2])
    states = {check.path.name: (check.state, check.detail) for check in bert.verify(tmp_path, SETTINGS)}
    assert states.keys() == {"vocab.txt", "model", "eval.txt", *PARTS}
    assert states.pop(PARTS[2])[0] == "damaged" and {state for state, _ in states.values()} == {"ok"}
    (raw / "tf1_ckpt" / "model").write_text("weight")
    (raw / "vocab.txt").unlink()
    states = {check.path.name: check.state for check in bert.verify(tmp_path, SETTINGS)}
    assert (states["model"], states["vocab.txt"]) == ("damaged", "missing")


def test_records_are_read_by_verify(tmp_path, monkeypatch):
    raw = tmp_path / "bert" / "tfrecord"
    raw.mkdir(parents=True)
    names = ["eval_10k", "part-00002-of-00500", "part-00003-of-00500", "part-00499-of-00500"]
    for name in names:
        write_shard(raw / name, [name.encode(), b"record"])
    content = bytearray((raw / names[2]).read_bytes())
    content[14] ^= 1
    (raw / names[2]).write_bytes(content)
    settings = dataclasses.replace(SETTINGS, source="mlperf_tfrecord")
    checks = {check.path.name: check for check in bert.verify(tmp_path, settings)}
    assert checks[names[1]].state == "ok" and checks[names[1]].detail == "2 records and their CRCs"
    assert checks[names[0]].detail == "46 bytes, should be 25,382,591"  # spec section 2
    assert checks[names[2]].detail.startswith("the CRC of record 0 does not hold")
    assert checks[names[3]].detail.endswith("should be 898,392,312")
    assert checks["vocab.txt"].state == "missing" and "tfrecord" not in checks
    monkeypatch.setattr(bert_published, "PARTS", 3)  # all parts there: held against the published sum
    assert bert.verify(tmp_path, settings)[-1].detail == "171 bytes in all parts, should be 391,434,110,129"
    (raw / names[3]).write_bytes(b"")
    (raw / names[1]).write_bytes((raw / names[1]).read_bytes()[:-3])
    again = {check.path.name: check.detail for check in bert.verify(tmp_path, settings)}
    assert (again[names[1]], again[names[3]]) == (
        "the file ends within record 1, after 54 bytes: copy the file again", "no records")


@pytest.mark.slow  # starts processes
def test_processes_prepare_as_one_does(tmp_path):
    """Killed with kill -9 when the first shard is there, and started again with another number of processes."""
    raw = tmp_path / "bert"
    for number in range(6):
        write_articles(raw / f"file_{number}", articles(20 * number, 20))
    settings = dataclasses.replace(TEXT, dupe_factor=20)
    alone = bert.prepare(tmp_path / "alone", dataclasses.replace(settings, raw_dir=str(raw)))
    folder = bert.prepared_folder(tmp_path, settings)
    code = f"from jax_mlperf.data import bert; bert.prepare({str(tmp_path)!r}, bert.{settings!r}, 1)"
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while not (folder / "train" / "part-00000" / "meta.json").is_file():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert bert.read_meta(folder) is None
    first = stamps(folder / "train" / "part-00000")
    assert bert.prepare(tmp_path, settings, workers=2) == folder
    assert stamps(folder / "train" / "part-00000") == first
    for split in (bert.TRAIN, bert.EVAL):
        assert stored(folder, split) == stored(alone, split)


@pytest.mark.slow  # 5 s
def test_real_articles(tmp_path, shared_data):
    """Four files of Wikipedia: long articles, so long samples; pairs as the rule draws them."""
    settings = Settings("text", str(shared_data / "bert_wiki"), dupe_factor=1, eval_articles=8, eval_samples=100)
    meta = bert.read_meta(bert.prepare(tmp_path, settings))
    assert (meta.vocab_size, meta.eval_samples, len(meta.train_shards)) == (30_522, 100, 4)
    assert 2500 < meta.train_samples < 2700 and 390 < meta.train_tokens / meta.train_samples < 420
    assert meta.train_predictions / meta.train_tokens == pytest.approx(0.1487, abs=0.002)  # 76 of 512 and 15 % of less
    assert meta.train_random_next / meta.train_samples == pytest.approx(0.55, abs=0.04)
    assert min(np.flatnonzero(meta.length_counts)) >= 5 and max(np.flatnonzero(meta.length_counts)) == 512
