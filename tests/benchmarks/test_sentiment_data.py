"""The data verbs of the sentiment benchmark."""

import pytest
from ml_collections import ConfigDict

from jax_mlperf.benchmarks.sentiment_data import data_command, settings
from jax_mlperf.data import imdb
from jax_mlperf.data.imdb import Settings
from jax_mlperf.errors import UserError


def config(**changes) -> ConfigDict:
    data = {"source": "imdb", "raw_dir": "", "features": "words", "vocab_cutoff": 150, "ngram_order": 2, "ngram_buckets_log2": 22,
            "expected": {"train": 25_000, "eval": 25_000, "vocab_size": 5147}}
    made = ConfigDict({"benchmark": "sentiment", "variant": "", "data": data})
    made.update_from_flattened_dict({f"data.{key}": value for key, value in changes.items()})
    return made


def test_settings_of_a_config():
    assert settings(config()) == Settings(tiny_reviews=(25_000, 25_000))
    changes = {"source": "tiny", "features": "ngrams", "vocab_cutoff": 0, "ngram_order": 3, "ngram_buckets_log2": 14,
               "expected.train": 80, "expected.eval": 20}
    assert settings(config(**changes)) == Settings("tiny", "", "ngrams", 0, 3, 14, (80, 20))


@pytest.mark.parametrize("changes, message", [
    ({"source": "imbd"}, "config.data.source is 'imbd'; there are: imdb, tiny"),
    ({"features": "letters"}, "config.data.features is 'letters'; there are: words, ngrams"),
    ({"source": "tiny", "raw_dir": "x"}, "config.data.raw_dir is 'x', but .* generated"),
    ({"expected.train": 0}, "data.expected.train is 0, must be at least 1"),
    ({"expected.vocab_size": 1}, "data.expected.vocab_size is 1, must be at least 2"),
    ({"vocab_cutoff": -1}, "data.vocab_cutoff is -1, must be at least 0"),
    ({"ngram_order": 0}, "data.ngram_order is 0, must be at least 1"),
    ({"ngram_order": 1000}, "data.ngram_order is 1000, must be at most 16"),
    ({"expected.train": 10**11}, "data.expected.train is 100000000000, must be at most 10000000"),
    ({"expected.vocab_size": 2**31}, "data.expected.vocab_size is 2147483648, must be at most 2147483647"),
    ({"ngram_buckets_log2": 31}, "data.ngram_buckets_log2 is 31, must be at most 30"),
    ({"ngram_buckets_log2": 0}, "data.ngram_buckets_log2 is 0, must be at least 1"),
])
def test_mistakes_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        settings(config(**changes))


def test_verbs(tmp_path, capsys):
    tiny = config(**{"source": "tiny", "vocab_cutoff": 0, "expected.train": 30, "expected.eval": 10})
    data_command("download", tiny, tmp_path, mirror=None, workers=1)
    assert (tmp_path / imdb.TINY / "imdb_reviews-train.tfrecord-00000-of-00001").is_file()
    data_command("prepare", tiny, tmp_path, mirror=None, workers=1)
    assert capsys.readouterr().out == f"prepared {tmp_path}/prepared/imdb-tiny-words-0\n"
    data_command("verify", tiny, tmp_path, mirror=None, workers=1)
    with pytest.raises(UserError, match=r"1 of 1 files .*aclImdb_v1\.tar\.gz first \(missing\); .*data download sentiment"):
        data_command("verify", config(), tmp_path, mirror=None, workers=1)
