"""The closed configs compiled for one H200 and for four nodes of eight, without any of them."""

import importlib.util
import json
from pathlib import Path

import jax
import pytest

from jax_mlperf import benchmarks
from jax_mlperf.benchmark import Topology
from jax_mlperf.config import load_config
from jax_mlperf.ops.hash_rng import key_data_shape
from jax_mlperf.plan.benchmark import plan_config

pytestmark = [
    pytest.mark.aot, pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("jax_cuda12_plugin"), reason="needs the packages of the extra 'plan'"),
]
# What is overridden; whether running statistics are averaged over the devices (CIFAR-10's workers keep theirs); and the types of
# large products in training and in evaluation: NCF adds up the gradients of its tables, and ranks, in float32.
CONFIGS = {
    "resnet50": ((), True, {"bf16"}, {"bf16"}),
    "cifar10": (("data.workers=32", "steps_per_dispatch=1"), False, {"bf16"}, {"bf16"}),
    "ncf": (("steps_per_dispatch=1",), False, {"bf16", "f32"}, {"f32"}),
    "sentiment": (("steps_per_dispatch=1",), False, {"bf16"}, {"bf16"}),
    # Two of its 24 layers: all of them compile for minutes.
    "bert": (("division=open", "model.num_layers=2"), False, {"bf16"}, {"bf16"}),
}
LARGE_FLOPS = 1e9


@pytest.mark.parametrize("reference", CONFIGS)
@pytest.mark.parametrize(("topology", "devices"), [("1", 1), ("4x8", 32)])
def test_the_closed_config_fits_and_reduces_its_gradients_only(reference, topology, devices):
    overrides, reduces_statistics, *dtypes = CONFIGS[reference]
    config = load_config(reference, overrides)
    plans = json.loads(plan_config(config, Path("absent"), target="h200", topology=topology, as_json=True))
    assert len(plans) == 2 and all(plan["memory_bytes"]["fits"] for plan in plans.values())
    for name, plan in plans.items():
        large = {product["dtype"] for product in plan["products"]
                 if product["kind"] == "convolution" or product["flops"] / product["count"] > LARGE_FLOPS}
        assert large and large <= dtypes[name.startswith("eval_step")], name
    (step,) = (plan for name, plan in plans.items() if name.startswith("train_step"))
    assert {group["kind"] for group in step["collectives"]} == ({"all-reduce"} if devices > 1 else set())
    state = jax.eval_shape(benchmarks.create(config, Topology(devices), Path("absent")).init, key_data_shape(config.rng_impl))
    reduced = (state.params, state.model_state) if reduces_statistics else state.params
    wanted = sum(leaf.size * 4 for leaf in jax.tree.leaves(reduced)) if devices > 1 else 0
    found = sum(group["bytes"] for group in step["collectives"])
    assert 0.99 * wanted <= found <= wanted + 1024, "two biases with one gradient are reduced once; the loss comes on top"


# Their numbers divide over 32 devices, which those of the closed config do not.
MINIGO_4X8 = ("division=open", "selfplay.games=2048", "data.batch_size=64", "data.updates_per_step=25")


@pytest.mark.parametrize(("topology", "devices", "overrides"), [("1", 1, ()), ("4x8", 32, MINIGO_4X8)])
def test_minigo_fits_plays_where_its_games_are_and_reduces_gradients_and_batch_statistics_only(topology, devices, overrides):
    config = load_config("minigo", overrides)
    plans = json.loads(plan_config(config, Path("absent"), target="h200", topology=topology, as_json=True))
    assert list(plans) == [*(f"train_step ({batch})" for batch in (
        "gate scalar", "iteration scalar, move scalar", "iteration scalar, update scalar")), "eval_step"]
    assert all(plan["memory_bytes"]["fits"] for plan in plans.values())
    for plan in plans.values():
        convolutions = [product for product in plan["products"] if product["kind"] == "convolution"]
        assert convolutions and {product["dtype"] for product in convolutions} == {"bf16"}
    assert {group["kind"] for plan in plans.values() for group in plan["collectives"]} == ({"all-reduce"} if devices > 1 else set())
    travels = [sum(group["bytes"] for group in plan["collectives"]) for plan in plans.values()]
    assert travels[:2] + travels[3:] == ([4, 4, 7 * 4] if devices > 1 else [0, 0, 0]), "a count, a count, and those of an evaluation"
    state = jax.eval_shape(benchmarks.create(config, Topology(devices), Path("absent")).init, key_data_shape(config.rng_impl))
    gradients, statistics = (sum(leaf.size * 4 for leaf in jax.tree.leaves(tree)) for tree in (state.params, state.model_state))
    found = travels[2] / config.data.updates_per_step
    # The statistics three times: sums over the batch forward and backward, and the running ones.
    assert 0.99 * (gradients + statistics) <= found <= gradients + 3 * statistics + 64 if devices > 1 else found == 0
