"""What the data verbs say of BERT's files before and after preparing, and values of its config that make no run."""

import shlex

import pytest
from pretraining_text import articles, write_articles, write_raw

from jax_mlperf import benchmarks
from jax_mlperf.benchmarks import bert_checks, bert_data
from jax_mlperf.config import load_config, split_overrides
from jax_mlperf.errors import UserError


def prepare(data_dir, *overrides, reference="bert"):
    benchmarks.data_command("prepare", load_config(reference, overrides), data_dir)


def test_a_vocabulary_of_another_size_is_refused_before_samples_are_made(tmp_path):
    raw = tmp_path / "bert"
    write_raw(raw)
    with pytest.raises(UserError, match=r"vocab\.txt has 35 entries, config\.model\.vocab_size is 30522: .*vocab_size=35 \(0: that of"):
        prepare(tmp_path)
    (raw / "vocab.txt").write_text((raw / "vocab.txt").read_text() + "fox\n")
    with pytest.raises(UserError, match=r"the vocabulary .*vocab\.txt holds 'fox' more than once"):
        prepare(tmp_path)
    assert not (tmp_path / "prepared").exists()


def test_prepare_says_that_the_weights_are_not_there(tmp_path, capsys):
    raw = tmp_path / "bert"
    write_raw(raw)
    small = ("model.vocab_size=0", "data.max_sequence_length=64", "data.max_predictions=10")
    prepare(tmp_path, *small)
    assert "warning: there is no" in (said := capsys.readouterr().err) and said.count("\n") == 1
    assert "bert/tf1_ckpt/model.ckpt-28252 (config.model.initial_weights), which training starts from: get the pub" in said
    (raw / "tf1_ckpt").mkdir()
    (raw / "tf1_ckpt" / "model.ckpt-28252.index").touch()
    prepare(tmp_path, *small)
    prepare(tmp_path, *small, "model.initial_weights=")
    assert capsys.readouterr().err == ""


def test_verify_says_how_the_files_are_got(tmp_path):
    """Not by our own `download`, which cannot get them."""
    with pytest.raises(UserError, match="504 of 504 files are not as they should be, .*vocab.txt first .*; get the published files with"):
        benchmarks.data_command("verify", load_config("bert"), tmp_path)
    write_articles(tmp_path / "bert" / "text", articles(0, 2))
    benchmarks.data_command("verify", load_config("bert:wikitext"), tmp_path)


def test_the_command_that_prepares_what_a_config_reads():
    overrides = ["data.raw_dir=/my text", "data.dupe_factor=3", "data.packed=True", "optimizer.beta_1=0.5"]
    config = load_config("bert:wikitext", overrides)
    command = shlex.split(bert_data.prepare_command(config, "here"))
    assert command[:6] == ["python", "-m", "jax_mlperf", "data", "prepare", "bert:wikitext"]
    given, rest = split_overrides(command)
    assert given == ["data.dupe_factor=3", "data.raw_dir=/my text"] and "--data_dir=here" in rest
    assert bert_data.settings(load_config("bert:wikitext", given)) == bert_data.settings(config)


@pytest.mark.parametrize(("override", "message"), [
    ("model.type_vocab_size=1", "config.model.type_vocab_size is 1, must be at least 2"),
    ("optimizer.epsilon=0", "config.optimizer.epsilon is 0.0, must be above 0"),
    ("data.sequences_per_row=65", "sequences_per_row is 65, but a row of 64 tokens holds fewer sequences: set it lower"),
    ("model.remat=all", "config.model.remat is 'all'; there are: none, layer"),
    ("model.max_positions=63", "config.data.max_sequence_length is 64, but the model has 63 positions"),
    ("compute_dtype=int8", "config.compute_dtype is 'int8'"),
])
def test_values_that_make_no_run(override, message):
    with pytest.raises(UserError, match=message):
        bert_checks.check_config(load_config("bert:tiny", [override]))
    bert_checks.check_config(load_config("bert:tiny", ["data.sequences_per_row=64"]))
