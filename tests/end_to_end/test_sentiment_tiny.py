"""sentiment:tiny through run.py in real processes: killed in the middle, resumed to its target; the open model on the same reviews."""

import pytest
from resident import Resident
from tiny_runs import assert_keeps_our_rules, assert_reached, killed_and_resumed

from jax_mlperf import benchmarks
from jax_mlperf.config import load_config

pytestmark = pytest.mark.slow


def test_sentiment_tiny(tmp_path, repository):
    _, resumed = killed_and_resumed(tmp_path, repository, "configs/sentiment.py:tiny")
    assert_reached(tmp_path, resumed, least=0.906)
    assert_keeps_our_rules(tmp_path)


@pytest.mark.parametrize(("order", "least", "most"), [(2, 84, 95), (1, 60, 75)], ids=["bigrams", "a bag of words"])
def test_the_open_model_needs_word_order(tmp_path, order, least, most):
    overrides = ("model.name=ngrams", "data.features=ngrams", "data.ngram_buckets_log2=14", f"data.ngram_order={order}",
                 "optimizer.name=adagrad", "optimizer.base_learning_rate=0.02")
    benchmarks.generate_data(load_config("sentiment:tiny", overrides), tmp_path)
    model = Resident("sentiment:tiny", tmp_path, *overrides)
    state = model.start()
    for _, batch in zip(range(2 * int(model.benchmark.steps_per_epoch)), model.benchmark.train_batches(0, 0), strict=False):
        state, _ = model.step(state, batch)
    assert least < model.evaluate(state)["accuracy"] < most
