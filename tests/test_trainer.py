"""The training loop on the toy benchmark: target, budget, dispatches, accumulation, resume, mistakes."""

import hashlib
import json
import os
import signal

import jax
import numpy as np
import pytest
from toy_benchmark import ToyBenchmark, final_state, toy_config

from jax_mlperf.benchmark import Topology
from jax_mlperf.errors import UserError
from jax_mlperf.parallel.mesh import make_mesh
from jax_mlperf.programs import state_target
from jax_mlperf.trainer import crossed, train


@pytest.fixture(scope="module")
def one_device():
    return make_mesh(1, 1, jax.devices()[:1])


def log_lines(path):
    return [json.loads(line.removeprefix(":::MLLOG ")) for line in path.read_text().splitlines()]


def final_params(workdir, benchmark, mesh):
    return jax.device_get(final_state(workdir, benchmark, mesh).params)


def test_trains_to_the_target_and_logs_in_order(tmp_path, one_device):
    results = train(ToyBenchmark(toy_config(runs=2)), one_device, tmp_path / "w")
    assert [result.reached for result in results] == [True, True]
    assert [result.seed for result in results] == [7, 8]
    lines = log_lines(tmp_path / "w" / "result_0.txt")
    keys = [line["key"] for line in lines]
    assert keys[:7] == ["cache_clear", "init_start", "submission_benchmark", "submission_division", "submission_org",
                        "submission_platform", "submission_status"]
    assert keys.index("init_stop") + 1 == keys.index("run_start") < keys.index("block_start")
    assert keys[-4:] == ["block_stop", "run_stop", "compilations_in_timed_region", "phase_seconds"]
    assert lines[-3]["metadata"]["status"] == "success"
    assert [line["value"] for line in lines if line["key"] == "seed"] == [7]
    accuracies = [line for line in lines if line["key"] == "eval_accuracy"]
    assert accuracies[-1]["value"] >= 0.99 > max(line["value"] for line in accuracies[:-1])
    assert [line["metadata"]["epoch_num"] for line in accuracies] == list(range(1, len(accuracies) + 1))
    log = (tmp_path / "w" / "result_1.txt").read_bytes()
    assert results[1].log_sha256 == hashlib.sha256(log).hexdigest()
    assert next(line["value"] for line in lines if line["key"] == "quality_target") == {
        "targets": {"": 0.99}, "higher_is_better": True, "strict": False}
    environment = json.loads((tmp_path / "w" / "environment.json").read_text())
    assert environment["accelerators_per_node"] == "0" and environment["jax"] == jax.__version__


def test_nothing_compiles_while_the_clock_runs(tmp_path, one_device):
    train(ToyBenchmark(toy_config(steps_per_dispatch=4, checkpoint_every_steps=4)), one_device, tmp_path / "w")
    line = log_lines(tmp_path / "w" / "result_0.txt")[-2]
    assert (line["key"], line["value"], line["metadata"]["programs"]) == ("compilations_in_timed_region", 0, [])


def test_the_phases_add_up_to_the_whole_also_over_an_interruption(tmp_path, one_device):
    class Cut(ToyBenchmark):
        def train_batches(self, seed, step):
            for batch in super().train_batches(seed, step):
                if step == 18:
                    os.kill(os.getpid(), signal.SIGTERM)
                yield batch
                step += 1

    config = toy_config(max_epochs=3.0, quality_target=2.0)
    for kind in (Cut, ToyBenchmark):
        ticks = iter(range(10**6))
        train(kind(config), one_device, tmp_path / "w", clock=lambda ticks=ticks: float(next(ticks)))
    line = log_lines(tmp_path / "w" / "result_0.txt")[-1]
    assert line["key"] == "phase_seconds" and list(line["value"]) == ["train", "input_wait", "checkpoint", "evaluate", "all_reduce"]
    assert line["value"].pop("all_reduce") == 0, "one device"
    assert min(line["value"].values()) >= 3, "every lap takes a tick at least; three evaluation points"
    assert line["value"]["input_wait"] >= 30 and line["value"]["train"] >= 30


def test_data_is_untouched_before_run_start(tmp_path, one_device):
    class Watched(ToyBenchmark):
        def _rows(self, *arguments):
            keys = [line["key"] for line in log_lines(tmp_path / "w" / "result_0.txt")]
            assert "run_start" in keys
            return super()._rows(*arguments)

    assert train(Watched(toy_config()), one_device, tmp_path / "w")[0].reached


def test_every_run_reads_its_data_anew(tmp_path, one_device):
    class Counting(ToyBenchmark):
        forgotten = 0

        def forget_data(self):
            self.forgotten += 1

    benchmark = Counting(toy_config(runs=2))
    train(benchmark, one_device, tmp_path / "w")
    assert benchmark.forgotten == 2


def test_unreached_target_ends_after_max_epochs(tmp_path, one_device):
    result = train(ToyBenchmark(toy_config(quality_target=2.0, max_epochs=3.0)), one_device, tmp_path / "w")[0]
    assert (result.reached, result.as_asked, result.complete, result.step) == (False, False, True, 30)
    run_stop = next(line for line in log_lines(tmp_path / "w" / "result_0.txt") if line["key"] == "run_stop")
    assert run_stop["metadata"]["status"] == "aborted"


def test_time_budget_trains_through_the_target_and_evaluates_at_the_end(tmp_path, one_device):
    ticks = iter(range(10**6))
    result = train(ToyBenchmark(toy_config(time_budget_minutes=5.0)), one_device, tmp_path / "w",
                   clock=lambda: float(next(ticks)))[0]
    assert result.as_asked and "5 minutes" in result.reason
    lines = log_lines(tmp_path / "w" / "result_0.txt")
    accuracies = [line["value"] for line in lines if line["key"] == "eval_accuracy"]
    assert any(value >= 0.99 for value in accuracies[:-1]), "training went on after the target"
    assert result.quality["r2"] == accuracies[-1]


def test_a_budget_that_ends_at_an_evaluation_point_ends_the_run_there(tmp_path, one_device):
    class Scored(ToyBenchmark):
        evaluations = 0

        def score(self, outputs):
            self.evaluations += 1
            return super().score(outputs)

    benchmark = Scored(toy_config(time_budget_minutes=1.0))
    result = train(benchmark, one_device, tmp_path / "w", clock=lambda: 1e3 * (benchmark.evaluations >= 2))[0]
    assert (result.step, benchmark.evaluations, result.as_asked) == (20, 2, True)
    lines = log_lines(tmp_path / "w" / "result_0.txt")
    blocks = [(line["key"], line["metadata"]["first_epoch_num"]) for line in lines if line["key"].startswith("block")]
    assert blocks == [("block_start", 1), ("block_stop", 1), ("block_start", 2), ("block_stop", 2)]


TWO_EPOCHS = {"max_epochs": 2.0, "quality_target": 2.0}


@pytest.fixture(scope="module")
def learned(tmp_path_factory, one_device):
    """Parameters after two epochs on one device."""
    workdir, benchmark = tmp_path_factory.mktemp("learned"), ToyBenchmark(toy_config(**TWO_EPOCHS))
    train(benchmark, one_device, workdir)
    return final_params(workdir, benchmark, one_device)


@pytest.mark.parametrize("change", [{"steps_per_dispatch": 3}, {"accumulation_steps": 4}])
def test_dispatch_size_and_accumulation_do_not_change_what_is_learned(tmp_path, one_device, learned, change):
    benchmark = ToyBenchmark(toy_config(**TWO_EPOCHS, **change))
    train(benchmark, one_device, tmp_path)
    params = final_params(tmp_path, benchmark, one_device)
    jax.tree.map(lambda left, right: np.testing.assert_allclose(left, right, rtol=2e-5, atol=1e-6), params, learned)


@pytest.mark.slow
@pytest.mark.parametrize(("data", "fsdp"), [
    pytest.param(8, 1, marks=pytest.mark.slow), pytest.param(1, 8, marks=pytest.mark.slow), (2, 4)])
def test_eight_devices_learn_what_one_learns(tmp_path, one_device, data, fsdp):
    config, mesh = toy_config(**TWO_EPOCHS, hidden=1024), make_mesh(data, fsdp)
    train(ToyBenchmark(config), one_device, tmp_path / "a")
    benchmark = ToyBenchmark(config, Topology(8, mesh=mesh))
    train(benchmark, mesh, tmp_path / "b")
    a, b = final_params(tmp_path / "a", benchmark, one_device), final_params(tmp_path / "b", benchmark, mesh)
    jax.tree.map(lambda left, right: np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5), a, b)
    if fsdp > 1:
        sharding = state_target(benchmark, mesh).params["w"].sharding
        assert sharding.shard_shape((6, 1024)) == (6, 1024 // fsdp)


def test_sigterm_saves_and_the_resumed_run_ends_bit_for_bit_alike(tmp_path, one_device):
    class Interrupted(ToyBenchmark):
        def train_batches(self, seed, step):
            for batch in super().train_batches(seed, step):
                if step == 18:  # the prefetcher is a few steps ahead of training
                    os.kill(os.getpid(), signal.SIGTERM)
                yield batch
                step += 1

    config = toy_config(noise=0.1, max_epochs=3.0, quality_target=2.0)
    train(ToyBenchmark(config), one_device, tmp_path / "whole")
    first = train(Interrupted(config), one_device, tmp_path / "cut")[0]
    assert not first.complete and 10 < first.step < 30
    second = train(ToyBenchmark(config), one_device, tmp_path / "cut")[0]
    assert second.complete and second.step == 30
    whole, cut = (final_params(tmp_path / name, ToyBenchmark(config), one_device) for name in ("whole", "cut"))
    jax.tree.map(np.testing.assert_array_equal, whole, cut)
    values = [[line["value"] for line in log_lines(tmp_path / name / "result_0.txt") if line["key"] == "eval_accuracy"]
              for name in ("whole", "cut")]
    assert values[0] == values[1] and len(values[0]) == 3
    keys = [line["key"] for line in log_lines(tmp_path / "cut" / "result_0.txt")]
    assert keys.count("run_start") == keys.count("run_stop") == keys.count("init_start") == 1


def test_non_finite_loss_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path, one_device):
    class Exploding(ToyBenchmark):
        def train_batches(self, seed, step):
            for batch in super().train_batches(seed, step):
                yield {**batch, "y": batch["y"] * np.float32(np.nan)} if step == 24 else batch
                step += 1

    result = train(Exploding(toy_config(quality_target=2.0, steps_per_dispatch=2)), one_device, tmp_path / "w")[0]
    assert not result.reached and result.complete and not result.as_asked
    assert "loss became not a number at step 25; the checkpoint of step 20 is kept" in result.reason
    run_stop = next(line for line in log_lines(tmp_path / "w" / "result_0.txt") if line["key"] == "run_stop")
    assert run_stop["metadata"]["status"] == "aborted"
    params = final_params(tmp_path / "w", ToyBenchmark(toy_config()), one_device)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))


def test_finished_runs_are_not_repeated(tmp_path, one_device):
    first = train(ToyBenchmark(toy_config()), one_device, tmp_path / "w")
    before = (tmp_path / "w" / "result_0.txt").read_bytes()
    both = train(ToyBenchmark(toy_config(runs=2)), one_device, tmp_path / "w")
    assert both[0] == first[0] and len(both) == 2
    assert (tmp_path / "w" / "result_0.txt").read_bytes() == before


def test_a_workdir_of_another_config_is_refused(tmp_path, one_device):
    train(ToyBenchmark(toy_config()), one_device, tmp_path / "w")
    with pytest.raises(UserError, match=r"belongs to another config: learning_rate \(0.1 there, 0.2 now\); choose another --workdir"):
        train(ToyBenchmark(toy_config(learning_rate=0.2)), one_device, tmp_path / "w")
    with pytest.raises(UserError, match="already holds runs"):
        train(ToyBenchmark(toy_config()), one_device, tmp_path / "w", resume=False)


def test_an_unwritable_workdir_is_refused(tmp_path, one_device):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written: .*; choose another --workdir"):
        train(ToyBenchmark(toy_config()), one_device, tmp_path / "file" / "w")


def test_a_batch_that_does_not_divide_names_the_sizes_that_would(tmp_path):
    with pytest.raises(UserError, match="a global batch of 20 does not divide over 8 devices; 16 or 24 would"):
        train(ToyBenchmark(toy_config(batch_size=20), Topology(8)), make_mesh(8, 1), tmp_path / "w")


@pytest.mark.parametrize(("step", "size", "every", "answer"), [(10, 1, 10, True), (12, 4, 10, True), (12, 2, 10, False), (9, 1, 0, False)])
def test_crossed(step, size, every, answer):
    assert crossed(step, size, every) is answer
