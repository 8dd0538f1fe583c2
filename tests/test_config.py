"""Config files, overrides, and the messages for mistakes in them."""

import re
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from jax_mlperf.config import differences, fingerprint, load_config, split_overrides
from jax_mlperf.errors import UserError

TRANSFORMER = str(Path(__file__).parents[1] / "configs" / "transformer.py")


def test_overrides_keep_the_type_of_the_default():
    config = load_config(TRANSFORMER, ["optimizer.base_learning_rate=2", "model.d_model=512", "division=open", "mesh.fsdp=-1"])
    assert config.optimizer.base_learning_rate == 2.0 and isinstance(config.optimizer.base_learning_rate, float)
    assert (config.model.d_model, config.division, config.mesh.fsdp) == (512, "open", -1)


def test_variant_changes_only_its_values():
    default, tiny = load_config(TRANSFORMER), load_config(TRANSFORMER + ":tiny")
    assert (default.division, tiny.division) == ("closed", "open")
    assert tiny.variant == "tiny" and tiny.optimizer.epsilon == default.optimizer.epsilon
    assert tiny.evaluation.alpha == default.evaluation.alpha


@pytest.mark.parametrize(("override", "message"), [
    ("optimiser.base_learning_rate=1", "unknown config key 'optimiser.base_learning_rate'; the nearest is 'optimizer.base_learning_rate'"),
    ("warmup_steps=1", "nearest is 'optimizer.warmup_steps'"),
    ("model.d_model=big", "'model.d_model' takes a value of type int (default 1024), not 'big'"),
    ("model.d_model=1.5", "type int"),
    ("model.d_model=True", "type int"),
    ("optimizer.epsilon=tiny", "type float"),
    ("model=3", "is a section; set one of"),
    ("max_epochs=1e400", "'max_epochs' takes a finite number, not '1e400'"),
    ("max_epochs=1e30", "config.max_epochs is 1e+30, must be at most 100000"),
    ("seed=10000000000000000000000000", "config.seed is 10000000000000000000000000, must be at most 9223372036854775807"),
    ("checkpoints_kept=-1", "config.checkpoints_kept is -1, must be at least 1"),
    ("benchmark=sentiment", "config.benchmark belongs to the config file: choose another with --config=FILE:VARIANT"),
])
def test_mistakes_in_overrides(override, message):
    with pytest.raises(UserError) as error:
        load_config(TRANSFORMER, [override])
    assert message in str(error.value) and "\n" not in str(error.value)


def test_missing_file_names_the_nearest():
    with pytest.raises(UserError, match="did you mean '.*transformer.py'"):
        load_config(TRANSFORMER.replace("transformer", "transfomer"))


def test_unknown_variant_lists_the_known():
    with pytest.raises(UserError, match="no variant 'tinny'; there are: base, multi30k, multi30k_cpu, tiny"):
        load_config(TRANSFORMER + ":tinny")


def test_split_overrides():
    overrides, rest = split_overrides(["--config=a.py", "--config.runs=2", "--workdir=w", "--config.model.d_model", "8"])
    assert overrides == ["runs=2", "model.d_model=8"] and rest == ["--config=a.py", "--workdir=w"]
    with pytest.raises(UserError, match="--config.runs needs a value"):
        split_overrides(["--config.runs"])


def test_fingerprint_ignores_operational_keys_only():
    base = fingerprint(load_config(TRANSFORMER))
    assert fingerprint(load_config(TRANSFORMER, ["runs=5", "time_budget_minutes=1.0"])) == base
    changed = load_config(TRANSFORMER, ["model.num_layers=5"])
    assert fingerprint(changed) != base
    assert differences(load_config(TRANSFORMER).to_dict(), changed.to_dict()) == ["model.num_layers (6 there, 5 now)"]


VARIANTS = {"transformer": ("", "base", "multi30k", "multi30k_cpu", "tiny"), "resnet50": ("", "batch=3200", "sgd", "tiny"),
            "cifar10": ("", "task1a", "paper", "accuracy_after_time", "speedrun", "speedrun_sgd", "tiny"),
            "ncf": ("", "batch=98304", "reference", "ml1m", "ml100k", "fractal", "tiny"),
            "sentiment": ("", "lstm", "open", "tiny"), "minigo": ("", "win_rate", "gumbel", "tiny"),
            "bert": ("", "batch=8192", "wikitext_start", "wikitext", "tiny")}


@pytest.mark.parametrize("reference", [f"{name}:{variant}" for name, variants in VARIANTS.items() for variant in variants])
def test_every_key_of_every_variant_is_read_somewhere(repository, reference):
    code = "\n".join(path.read_text() for folder in ("jax_mlperf", "input_pipelines") for path in (repository / folder).rglob("*.py"))

    def leaves(section):
        for key, value in section.items():
            yield from leaves(value) if isinstance(value, ConfigDict) else [key]

    unread = [key for key in leaves(load_config(reference)) if not re.search(rf"\.{key}\b", code)]
    assert unread == []


def test_every_config_file_is_tested(repository):
    assert {path.stem for path in (repository / "configs").glob("*.py")} == set(VARIANTS)


def test_a_bare_name_stands_for_the_file_in_configs():
    assert fingerprint(load_config("transformer:tiny")) == fingerprint(load_config(TRANSFORMER + ":tiny"))
