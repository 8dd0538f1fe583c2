"""`describe` against the numbers of the specification, without data."""

from pathlib import Path

import pytest

from jax_mlperf import benchmarks
from jax_mlperf.benchmark import Topology
from jax_mlperf.config import load_config
from jax_mlperf.describe import as_text, describe

TRANSFORMER = str(Path(__file__).parents[1] / "configs" / "transformer.py")


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    return describe(load_config(TRANSFORMER), tmp_path_factory.mktemp("none"), devices=8, steps=(1, 1107, 2214))


def test_the_closed_benchmark(closed):
    assert (closed["parameters"], closed["parameter_tensors"]) == (210_804_736, 185)
    assert closed["forward_flops_per_sample"] == pytest.approx(112.7e9, rel=1e-3)  # packed row of 256 + 256
    assert (closed["global_batch_size"], closed["steps_per_epoch"]) == (512, 1107)
    assert closed["learning_rate"] == {"1": pytest.approx(1.761074e-3 / 1107, rel=1e-6), "1107": pytest.approx(1.761074e-3, rel=1e-3),
                                       "2214": pytest.approx(1.245267e-3, rel=1e-3)}
    assert closed["quality_target"] == {"bleu": 25.0}
    assert closed["evaluation_steps"][:3] == [1107, 2214, 3321]
    assert set(closed["data_files"].values()) == set(closed["source_files"].values()) == {"missing"}
    assert len(closed["source_files"]) == 9, "three training texts and newstest2014 in two languages, and the vocabulary"
    assert "data prepare" in closed["prepare_command"]
    assert closed["closed_division_violations"] == []


def test_text_shows_every_fact(closed):
    text = as_text(closed)
    assert "parameters: 210,804,736" in text and "bleu: 25" in text and "missing" in text
    assert all(key.replace("_", " ") in text for key in closed)


@pytest.mark.slow
def test_reference_schedule_and_base_model(tmp_path):
    config = load_config(TRANSFORMER + ":base", ["optimizer.warmup_steps=16000", "model.d_model=1024"])
    rates = describe(config, tmp_path, steps=(1, 1000, 8000, 16_000, 32_000))["learning_rate"]
    expected = (3.088162e-8, 3.088162e-5, 2.470529e-4, 4.941059e-4, 3.493856e-4)
    assert list(rates.values()) == [pytest.approx(value, rel=1e-5) for value in expected]
    assert describe(load_config(TRANSFORMER + ":base"), tmp_path)["parameters"] == 61_362_176


def test_accumulation_follows_the_number_of_devices(tmp_path, closed):
    steps = [benchmarks.create(load_config(TRANSFORMER), Topology(devices), tmp_path).accumulation_steps for devices in (1, 2)]
    assert [*steps, closed["gradient_accumulation_steps"]] == [8, 4, 1]


@pytest.mark.slow
def test_bucketed_batches_have_the_reference_shapes(tmp_path):
    overrides = ["data.batching=bucketed", "data.batch_size=4096", "data.max_sequence_length=256", "microbatch_per_device=0"]
    facts = describe(load_config(TRANSFORMER, overrides), tmp_path)
    rows = [shape["inputs"][0] for shape in facts["batch_shapes"]]
    assert len(rows) == 42 and rows[:3] == [512, 455, 409] and rows[-2:] == [17, 15]
