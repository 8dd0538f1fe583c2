"""Preparing BERT's samples: what is written, what stays when it is started again, and what a user is told."""

import dataclasses
import itertools
import shutil

import numpy as np
import pytest
from pretraining_samples import features, record
from pretraining_text import PARTS, SETTINGS, TEXT, articles, made_of, stamps, stored, write_articles, write_raw

from jax_mlperf.data import bert, bert_files, held_out, records
from jax_mlperf.data.bert import Settings
from jax_mlperf.data.tfrecord import write_shard
from jax_mlperf.data.wordpiece import SPECIAL_WORDS, read_vocabulary
from jax_mlperf.errors import UserError


def test_published_text(tmp_path):
    """Each part becomes the samples of its articles, drawn from seed 12345; every int(i n / k)-th sample is evaluated."""
    raw = tmp_path / "bert"
    write_raw(raw)
    folder = bert.prepare(tmp_path, SETTINGS)
    expected = [made_of(articles(5 * number, 5), raw) for number in range(3)]
    assert stored(folder) == list(itertools.chain(*expected))
    of_evaluation = made_of(articles(50, 4), raw)
    assert stored(folder, bert.EVAL) == [of_evaluation[int(i * len(of_evaluation) / 7)] for i in range(7)]
    meta = bert.read_meta(folder)
    lengths = [len(sample.tokens) for sample in list(itertools.chain(*expected))]
    assert meta.train_shards == {name: len(part) for name, part in zip(PARTS, expected, strict=True)}
    assert (meta.train_samples, meta.train_tokens, meta.eval_samples, meta.eval_available) == (
        len(lengths), sum(lengths), 7, len(of_evaluation))
    assert meta.train_predictions == sum(len(sample.positions) for part in expected for sample in part)
    assert meta.train_random_next == sum(sample.random_next for part in expected for sample in part)
    assert meta.length_counts == np.bincount(lengths, minlength=65).tolist() and meta.vocab_size == 35
    assert meta.eval_predictions == sum(len(sample.positions) for sample in stored(folder, bert.EVAL))
    assert (folder / "vocab.txt").read_bytes() == (raw / "vocab.txt").read_bytes()
    assert bert.read_meta(tmp_path) is None


def test_the_specs_instances(tmp_path, shared_data):
    """Spec section 9: 24 instances, 16 of them random next, 210 masked, the lengths in their order."""
    raw = tmp_path / "raw"
    for name in ("part-00000-of-00001", "eval.txt"):
        write_articles(raw / "results" / name, articles(0, 5) if name != "eval.txt" else articles(9, 2))
    (raw / "vocab.txt").symlink_to(shared_data / "bert_wiki" / "vocab.txt")
    folder = bert.prepare(tmp_path, dataclasses.replace(SETTINGS, raw_dir=str(raw)))
    samples = stored(folder)
    meta = bert.read_meta(folder)
    assert (meta.train_samples, meta.train_random_next, meta.train_predictions, meta.vocab_size) == (24, 16, 210, 30_522)
    assert sum(sum(sample.tokens) for sample in samples) == 5_099_194
    assert [len(sample.tokens) for sample in samples] == [
        64, 55, 64, 64, 64, 64, 42, 42, 29, 55, 64, 64, 64, 64, 64, 64, 29, 64, 42, 64, 55, 64, 64, 64]
    assert samples[0].positions == [7, 8, 12, 15, 18, 40, 48, 57, 58, 59] and samples[0].random_next
    assert len(samples[0].tokens) - samples[0].first == 27


def test_records_give_the_samples_they_hold(tmp_path):
    raw = tmp_path / "bert"
    write_raw(raw)
    from_text = bert.prepare(tmp_path, SETTINGS)
    (raw / "tfrecord").mkdir()
    for number, name in enumerate(PARTS):
        write_shard(raw / "tfrecord" / name, [record(features(sample, 64, 10)) for sample in
                                              made_of(articles(5 * number, 5), raw)])
    write_shard(raw / "tfrecord" / "eval_10k", [record(features(sample, 64, 10)) for sample in stored(from_text, bert.EVAL)])
    settings = dataclasses.replace(SETTINGS, source="mlperf_tfrecord", eval_samples=3)  # eval_10k is taken as it is
    folder = bert.prepare(tmp_path, settings)
    for split in (bert.TRAIN, bert.EVAL):
        assert stored(folder, split) == stored(from_text, split)
    with pytest.raises(UserError, match=r"part-00000-of-00003: record 0 is corrupt: its input_ids are 64 integers, should be 128"):
        bert.prepare(tmp_path, dataclasses.replace(settings, max_sequence_length=128))
    (raw / "vocab.txt").write_text("\n".join([*SPECIAL_WORDS, "the"]) + "\n")
    with pytest.raises(UserError, match=r"part-00000-of-00003: record 0 is corrupt: its input_ids hold \d+, should hold 0 to 5"):
        bert.prepare(tmp_path, settings)


def test_text_of_several_files(tmp_path):
    """The vocabulary is built, and articles are held out of each file, for evaluation alone."""
    raw = tmp_path / "bert"
    files = {"a/wiki_00": articles(0, 6), "a/wiki_01": articles(6, 6), "b/wiki_00": articles(12, 8)}
    for name, texts in files.items():
        write_articles(raw / name, texts)
    (raw / "README").write_text("no article\n")
    folder = bert.prepare(tmp_path, TEXT)
    training, evaluation = [], []
    for number, texts in enumerate(files.values()):
        left, out = held_out.split(texts, held_out.held_out_places(number, 3, len(texts), 4))
        training += made_of(left, folder)
        evaluation += out
    assert len(evaluation) == 4 and stored(folder) == training
    of_evaluation = made_of(evaluation, folder)
    assert stored(folder, bert.EVAL) == [of_evaluation[int(i * len(of_evaluation) / 7)] for i in range(7)]
    words = read_vocabulary(folder / "vocab.txt")
    assert words[:5] == list(SPECIAL_WORDS) and "the" in words and len(words) == 60 == bert.read_meta(folder).vocab_size
    fewer = bert.prepare(tmp_path, dataclasses.replace(TEXT, eval_samples=1000))
    meta = bert.read_meta(fewer)
    assert meta.eval_samples == meta.eval_available == len(of_evaluation)


def test_preparing_again(tmp_path):
    """What is current stays as it is; other input replaces its own shard; what is damaged is made again."""
    raw = tmp_path / "bert"
    write_raw(raw)
    folder = bert.prepare(tmp_path, SETTINGS)
    first, meta = stamps(folder), bert.read_meta(folder)
    assert bert.prepare(tmp_path, SETTINGS) == folder and stamps(folder) == first
    write_articles(raw / "results" / PARTS[1], articles(70, 5))
    bert.prepare(tmp_path, SETTINGS)
    second = stamps(folder)
    kept = {name for name, stamp in second.items() if first.get(name) == stamp}
    assert kept == {f"train/{PARTS[i]}/{name}" for i in (0, 2) for name in ("index", "values", "meta.json")}
    assert bert.read_meta(folder).fingerprint != meta.fingerprint
    assert stored(folder)[meta.train_shards[PARTS[0]] :][:3] == made_of(articles(70, 5), raw)[:3]
    values = folder / "train" / PARTS[0] / "values"
    values.write_bytes(values.read_bytes()[:-2])
    bert.prepare(tmp_path, SETTINGS)
    third = stamps(folder)
    assert third[f"train/{PARTS[0]}/values"] != second[f"train/{PARTS[0]}/values"]
    assert third[f"train/{PARTS[2]}/values"] == second[f"train/{PARTS[2]}/values"]
    for name in ("eval/index", "train/index", "meta.json"):
        (folder / name).unlink()
        bert.prepare(tmp_path, SETTINGS)
        assert (folder / name).is_file()
    (raw / "results" / PARTS[1]).unlink()
    bert.prepare(tmp_path, SETTINGS)  # fewer parts: the shard goes too
    assert sorted(path.name for path in (folder / "train").iterdir()) == ["index", PARTS[0], PARTS[2]]
    folders = {bert.prepared_folder(tmp_path, dataclasses.replace(SETTINGS, **change)) for change in (
        {"dupe_factor": 3}, {"example_seed": 1}, {"masked_lm_prob": 0.2}, {"raw_dir": "elsewhere"}, {"max_sequence_length": 32})}
    assert len({folder, *folders}) == 6


def test_a_preparation_that_was_killed_goes_on(tmp_path, monkeypatch):
    raw = tmp_path / "bert"
    for number in range(4):
        write_articles(raw / f"file_{number}", articles(5 * number, 5))
    whole = stored(bert.prepare(tmp_path, TEXT))
    folder = bert.prepared_folder(tmp_path, TEXT)
    shutil.rmtree(folder)
    make, made = bert.make_shard, []

    def killed_at_the_third(job):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(job.part.name)
        return make(job)

    monkeypatch.setattr(bert, "make_shard", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        bert.prepare(tmp_path, TEXT)
    assert bert.read_meta(folder) is None
    monkeypatch.setattr(bert, "make_shard", lambda job: made.append(job.part.name) or make(job))
    monkeypatch.setattr(bert, "build_vocabulary", None)  # made already
    bert.prepare(tmp_path, TEXT)
    assert made == ["part-00000", "part-00001", "part-00002", "part-00003"]
    assert stored(folder) == whole


def test_generated_articles(tmp_path):
    settings = Settings("tiny", vocab_target_size=0, max_sequence_length=32, max_predictions=5, dupe_factor=1, eval_articles=20,
                        eval_samples=50, tiny_articles=120)
    assert bert.required_files(tmp_path, settings) == [] == bert.verify(tmp_path, settings)
    bert.download(tmp_path, settings)
    folder = bert.prepare(tmp_path, settings)
    meta = bert.read_meta(folder)
    assert meta.eval_samples == 50 and meta.train_samples > 200 and max(np.flatnonzero(meta.length_counts)) <= 32
    unknown = read_vocabulary(folder / "vocab.txt").index("[UNK]")
    assert not any(unknown in sample.labels for sample in stored(folder))
    first = stamps(tmp_path / "bert-tiny")
    bert.prepare(tmp_path, settings)
    assert stamps(tmp_path / "bert-tiny") == first
    built = bert.read_meta(bert.prepare(tmp_path, dataclasses.replace(settings, vocab_target_size=150)))
    assert built.vocab_size == 150 and stamps(tmp_path / "bert-tiny") == first


def test_other_text_is_cut_in_parts_of_about_the_same_size(tmp_path, monkeypatch):
    monkeypatch.setattr(bert_files, "PARTS", 3)
    for number, size in enumerate((90, 10, 10, 70, 10, 100, 10)):
        write_articles(tmp_path / "bert" / f"file_{number}", [["x" * size]])
    parts = bert_files.find_inputs(tmp_path, TEXT).parts
    assert [part.first for part in parts] == [0, 2, 5] and tuple(itertools.chain(*(part.files for part in parts))) == tuple(
        sorted((tmp_path / "bert").iterdir()))
    assert [part.name for part in parts] == ["part-00000", "part-00001", "part-00002"]


def test_mistakes(tmp_path, capsys):
    raw = tmp_path / "bert"
    with pytest.raises(UserError, match=r"502 files are missing, .*vocab\.txt first: get the published files with "
                                         r"MLCommons' downloader, `bash"):
        bert.prepare(tmp_path, SETTINGS)
    with pytest.raises(UserError, match=r"504 files are missing, .*vocab\.txt first: .*bert-input-files\.uri` and the same with .*put "
                                         r"vocab\.txt, tf1_ckpt/ and results/ into"):
        bert.download(tmp_path, SETTINGS)
    with pytest.raises(UserError, match=r"create_pretraining_data\.py and pick_eval_samples\.py, put vocab\.txt"):
        bert.download(tmp_path, dataclasses.replace(SETTINGS, source="mlperf_tfrecord"))
    with pytest.raises(UserError, match="--mirror serves mlperf_text only, not mlperf_tfrecord: make the records by"):
        bert.download(tmp_path, dataclasses.replace(SETTINGS, source="mlperf_tfrecord"), mirror="http://x")
    assert bert.required_files(tmp_path, TEXT) == [(raw, False)]
    with pytest.raises(UserError, match=r"there is no folder .*bert: put text files of articles there"):
        bert.prepare(tmp_path, TEXT)
    with pytest.raises(UserError, match="source is 'wiki'; there are: mlperf_text, mlperf_tfrecord, text, tiny"):
        Settings("wiki")
    with pytest.raises(UserError, match="raw_dir is 'x', but this config generates its articles"):
        Settings("tiny", raw_dir="x")
    with pytest.raises(UserError, match=r"vocab_target_size is 9, but mlperf_text has a vocab\.txt: set it to 0"):
        Settings("mlperf_text", vocab_target_size=9)
    write_raw(raw)
    assert all(exists for _, exists in bert.required_files(tmp_path, SETTINGS))
    with pytest.raises(UserError, match="put vocab.txt, tf1_ckpt/ and results/"):  # the checkpoint is missing
        bert.download(tmp_path, SETTINGS)
    for name in ("index", "data-00000-of-00001"):
        (raw / "tf1_ckpt").mkdir(exist_ok=True)
        (raw / "tf1_ckpt" / f"model.ckpt-28252.{name}").touch()
    bert.download(tmp_path, SETTINGS)  # all there
    shutil.copy(raw / "results" / PARTS[0], raw / "results" / PARTS[2])
    with pytest.raises(UserError, match="part-00002-of-00003 has the same content as .*part-00000-of-00003: training on copies"):
        bert.prepare(tmp_path, SETTINGS)
    write_articles(raw / "results" / "part-00000-of-00500", articles(0, 1))
    with pytest.raises(UserError, match="holds parts of a set of 3 and of one of 500: keep one set"):
        bert.prepare(tmp_path, SETTINGS)
    for name in PARTS:
        (raw / "results" / name).unlink()
    (tmp_path / "prepared").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write .*prepared.*: .*; make room there or give another --data_dir, then run again"):
        bert.prepare(tmp_path, SETTINGS)
    (tmp_path / "prepared").unlink()
    capsys.readouterr()
    bert.prepare(tmp_path, SETTINGS)
    warning = capsys.readouterr().err
    assert "1 of 500 parts are there (part-00001-of-00500 is not) and leave a gap of 499: early parts hold longer" in warning
    write_articles(raw / "results" / "part-00001-of-00500", [[]])  # lines, but no text
    with pytest.raises(UserError, match="part-00001-of-00500 holds no article: get it again"):
        bert.prepare(tmp_path, SETTINGS)
    (raw / "results" / "part-00001-of-00500").write_text("")
    with pytest.raises(UserError, match="part-00001-of-00500 is empty: get it again"):
        bert.prepare(tmp_path, SETTINGS)
    (raw / "results" / "part-00001-of-00500").unlink()
    (raw / "results" / "eval.txt").write_text("\n")
    with pytest.raises(UserError, match=r"results/eval\.txt gives no evaluation samples: get it again"):
        bert.prepare(tmp_path, SETTINGS)
    (raw / "results" / "eval.txt").unlink()
    with pytest.raises(UserError, match=r"^[^,]*results/eval\.txt is missing: get the published files with MLCommons'"):
        bert.prepare(tmp_path, SETTINGS)
    write_articles(raw / "results" / "eval.txt", articles(50, 4))
    (raw / "vocab.txt").write_text("the\n")
    with pytest.raises(UserError, match=r"the vocabulary .*vocab\.txt lacks \[PAD\]"):
        bert.prepare(tmp_path, SETTINGS)
    (raw / "vocab.txt").write_text("\n".join([*SPECIAL_WORDS, *map(str, range(65_536))]))
    with pytest.raises(UserError, match=r"vocab\.txt has 65,541 entries, samples can hold 65,536: take a smaller one"):
        bert.prepare(tmp_path, SETTINGS)


def test_text_too_short_to_hold_articles_out(tmp_path):
    write_articles(tmp_path / "bert" / "file", articles(0, 3))
    with pytest.raises(UserError, match=r"bert gives 0 training and 7 evaluation samples: bring more of it, or hold out fewer"):
        bert.prepare(tmp_path, dataclasses.replace(TEXT, eval_articles=3))
    assert records.read_meta(bert.prepared_folder(tmp_path, dataclasses.replace(TEXT, eval_articles=3))) is None


def test_a_choice_of_parts_comes_from_the_whole_range():
    def problem(*numbers):
        return bert_files.left_out(tuple(bert_files.Part(f"part-{number:05d}-of-00500", ()) for number in numbers))

    assert problem(*range(500)) == ""
    assert problem(*range(0, 500, 25)) == "20 of 500 parts are there (part-00001-of-00500 is not): the closed division needs all"
    assert problem(*range(499)) == "499 of 500 parts are there (part-00499-of-00500 is not): the closed division needs all"
    assert "gap" not in problem(*range(3, 500, 100))
    assert "gap of 450: " in problem(*range(50)) and "gap of 400: " in problem(*range(400, 500))
    assert bert_files.left_out((bert_files.Part("part-00000", ()),)) == ""


def test_what_was_prepared_is_no_text(tmp_path):
    """The raw folder may be the data folder itself, and hold a link to itself."""
    for number in range(2):
        write_articles(tmp_path / f"file_{number}", articles(5 * number, 5))
    (tmp_path / "loop").symlink_to(tmp_path)
    settings = dataclasses.replace(TEXT, raw_dir=str(tmp_path))
    folder = bert.prepare(tmp_path, settings)
    first = stamps(folder)
    assert bert.prepare(tmp_path, settings) == folder and stamps(folder) == first
    with pytest.raises(UserError, match=r"file_1 is a file: give the folder that it lies in by --config\.data\.raw_dir"):
        bert.prepare(tmp_path, dataclasses.replace(TEXT, raw_dir=str(tmp_path / "file_1")))
