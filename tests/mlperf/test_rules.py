"""Closed-division preflight."""

from pathlib import Path

import pytest

from jax_mlperf.config import load_config
from jax_mlperf.errors import UserError
from jax_mlperf.mlperf.closed_division import CLOSED_RULES
from jax_mlperf.mlperf.rules import preflight, violations

TRANSFORMER = str(Path(__file__).parents[2] / "configs" / "transformer.py")


@pytest.mark.parametrize("reference", ["transformer", "resnet50", "resnet50:batch=8192", "resnet50:sgd", "cifar10", "cifar10:task1a",
                                       "ncf", "ncf:batch=98304", "ncf:reference", "sentiment", "minigo", "bert", "bert:batch=256", "bert:batch=16384"])
def test_the_closed_configs_keep_the_rules(reference):
    config = load_config(reference)
    assert config.division == "closed" and violations(config) == []


@pytest.mark.parametrize(("reference", "override", "line"), [
    ("resnet50", "optimizer.weight_decay=3e-5", "config.optimizer.weight_decay is 3e-05, must be 0.0001 times a power of two"),
    ("resnet50", "label_smoothing=0.2", "must be 0.0 or 0.1"),
    ("resnet50", "evaluation.every_epochs=1", "config.evaluation.every_epochs is 1, must be 4: evaluation is every four epochs"),
    ("resnet50:sgd", "optimizer.base_learning_rate=0.0005", "must be a multiple of 0.001"),
    ("resnet50:sgd", "optimizer.momentum=0.95", "must be 0.9: SGD's momentum is fixed"),
    ("cifar10", "model.depth=56", "must be 20: the model is ResNet-20 v1"),
    ("cifar10", "max_epochs=200.0", "must be at most 164.0"),
    ("ncf", "data.negatives=8", "config.data.negatives is 8, must be 4: each rating has four negatives"),
    ("sentiment", "data.batch_size=256", "config.data.batch_size is 256, must be 128: no other batch size has a recipe"),
    ("sentiment", "model.filters=256", "must be 1024"), ("sentiment", "optimizer.name=adam", "must be 'lazy_adam'"),
    ("minigo", "selfplay.search=gumbel", "must be 'puct': Gumbel search is another algorithm"),
    ("minigo", "selfplay.games=4096", "must be 2000"), ("minigo", "game.board_size=19", "must be 9"),
    ("minigo", "quality_target=0.5", "must be 0.4: the target is 40 % of the professional moves"),
    ("minigo", "evaluation.metric=win_rate", "the later win rate needs MLPerf's own opponent network, which is gone"),
    ("bert", "model.initial_weights=", "config.model.initial_weights is '', must be other than '': training starts from the published"),
    ("bert", "data.source=text", "must be 'mlperf_text' or 'mlperf_tfrecord'"), ("bert", "optimizer.name=adamw", "must be 'lamb'"),
    ("bert", "evaluation.every_samples=100000", "must be 0: evaluation is at intervals that follow from the batch size"),
    ("ncf", "evaluation.negatives=100", "must be 999"), ("ncf", "model.layers=(256,128,64)", "must be (256, 256, 128, 64)"),
])
def test_each_violation_of_image_classification(reference, override, line):
    found = violations(load_config(reference, [override]))
    assert len(found) == 1 and line in found[0] and found[0].endswith("]")


@pytest.mark.parametrize(("reference", "free"), [
    ("resnet50", ["optimizer.momentum=0.94", "optimizer.weight_decay=2e-4", "data.batch_size=1024", "model.bn_group=64"]),
    ("resnet50", ["optimizer.weight_decay=2.5e-5", "model.stem=space_to_depth", "evaluation.first_epoch=1"]),
    ("minigo", ["data.batch_size=64", "data.updates=1562", "optimizer.boundaries=(250000,)", "optimizer.learning_rates=(0.04,0.004)"]),
    ("bert", ["data.batch_size=512", "optimizer.base_learning_rate=0.0005", "optimizer.beta_2=0.9", "data.packed=False"]),
    ("cifar10", ["data.workers=16", "optimizer.nesterov=true", "quality_target=70.0", "compute_dtype=float32"]),
])
def test_free_hyperparameters_of_image_classification(reference, free):
    assert violations(load_config(reference, free)) == []


@pytest.mark.parametrize(("override", "line"), [
    ("optimizer.epsilon=1e-8", "config.optimizer.epsilon is 1e-08, must be 1e-09: epsilon is not a free hyperparameter"),
    ("optimizer.name=lamb", "config.optimizer.name is 'lamb', must be 'adam' or 'lazy_adam'"),
    ("optimizer.base_learning_rate=0.0", "must be more than 0.0"),
    ("optimizer.warmup_steps=-1", "must be at least 1"),
    ("quality_target=24.9", "config.quality_target is 24.9, must be 25.0"),
    ("evaluation.beam_size=5", "config.evaluation.beam_size is 5, must be 4"),
    ("optimizer.average_checkpoints=5", "config.optimizer.average_checkpoints is 5, must be 0"),
])
def test_each_violation_is_one_line_with_key_value_rule_and_source(override, line):
    found = violations(load_config(TRANSFORMER, [override]))
    assert len(found) == 1 and line in found[0] and found[0].endswith("]")


def test_free_hyperparameters_are_free():
    free = ["optimizer.base_learning_rate=3.3", "optimizer.warmup_steps=664", "optimizer.beta_1=0.88", "optimizer.beta_2=0.92",
            "data.batch_size=2048", "data.max_sequence_length=256", "optimizer.name=lazy_adam"]
    assert violations(load_config(TRANSFORMER, free)) == []


def test_preflight_stops_a_closed_run_and_names_the_way_out():
    with pytest.raises(UserError) as error:
        preflight(load_config(TRANSFORMER, ["model.d_model=512", "model.num_layers=3"]))
    assert str(error.value).count("[") == 2 and "--config.division=open" in str(error.value)
    preflight(load_config(TRANSFORMER, ["model.d_model=512", "division=open"]))


def test_division_must_be_known():
    with pytest.raises(UserError, match="'close', must be 'closed' or 'open'"):
        preflight(load_config(TRANSFORMER, ["division=close"]))


@pytest.mark.parametrize("benchmark", CLOSED_RULES)
def test_every_rule_names_a_key_that_its_config_has(benchmark):
    config = load_config(benchmark).to_dict()
    for rule in CLOSED_RULES[benchmark]:
        value = config
        for part in rule.key.split("."):
            assert part in value, rule.key
            value = value[part]
