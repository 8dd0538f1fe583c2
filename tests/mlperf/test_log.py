"""The log of the closed benchmark against the official compliance checker."""

from pathlib import Path

import jax
import pytest
from mlperf_logging.compliance_checker import mlp_compliance
from toy_benchmark import ToyBenchmark, toy_config

from jax_mlperf import benchmarks, trainer
from jax_mlperf.benchmark import Topology
from jax_mlperf.config import load_config
from jax_mlperf.errors import UserError
from jax_mlperf.mlperf.log import MLPerfLog
from jax_mlperf.parallel.mesh import make_mesh
from jax_mlperf.trainer import train


def passes(log: Path, ruleset: str = "0.7.0") -> bool:
    """Whether the official checker accepts a log."""
    checker = mlp_compliance.make_checker("training", ruleset, quiet=True, werror=False)
    return mlp_compliance.main(str(log), f"training_{ruleset}/common.yaml", checker)[0]


class ClosedLog(ToyBenchmark):
    """The toy problem under a closed benchmark's name: every line of the log but the accuracy is the real one."""

    def __init__(self, reference: str) -> None:
        super().__init__(toy_config(quality_target=0.95, division="closed"))
        real = benchmarks.create(load_config(reference), Topology(1), Path("absent"))
        self.name, self.hyperparameters = real.name, real.hyperparameters
        self.train_samples, self.eval_samples = real.train_samples, real.eval_samples
        self.global_batch_size, self.accumulation_steps = real.global_batch_size, real.accumulation_steps


@pytest.fixture(scope="module")
def closed_logs(tmp_path_factory):
    """Config -> its log."""
    folder = tmp_path_factory.mktemp("closed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "clear_file_caches", lambda: True)  # not on a machine that only tests
        for reference in ("transformer", "resnet50", "resnet50:sgd"):
            assert train(ClosedLog(reference), make_mesh(1, 1, jax.devices()[:1]), folder / reference)[0].reached
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("reference", "ruleset"), [("transformer", "0.7.0"), ("resnet50", "4.0.0"), ("resnet50", "2.1.0"),
                                                    ("resnet50:sgd", "4.0.0"), ("resnet50:sgd", "2.1.0")])
def test_the_closed_log_passes(closed_logs, reference, ruleset):
    assert passes(closed_logs / reference / "result_0.txt", ruleset)


COMMON = ["cache_clear", "init_start", "submission_org", "global_batch_size", "train_samples", "eval_samples", "opt_name",
          "init_stop", "run_start", "run_stop"]


@pytest.mark.slow
@pytest.mark.parametrize(("reference", "ruleset", "key"), [
    *[("transformer", "0.7.0", key) for key in [*COMMON, "opt_adam_epsilon", "max_sequence_length"]],
    *[("resnet50", "4.0.0", key) for key in ["gradient_accumulation_steps", "lars_opt_weight_decay", "lars_epsilon", "lars_opt_momentum"]],
    ("resnet50", "2.1.0", "weights_initialization"),
    ("resnet50:sgd", "4.0.0", "model_bn_span"), ("resnet50:sgd", "4.0.0", "sgd_opt_end_learning_rate"),
])
def test_the_checker_misses_every_line_that_is_left_out(closed_logs, tmp_path, reference, ruleset, key):
    lines = [line for line in (closed_logs / reference / "result_0.txt").read_text().splitlines(True) if f'"key": "{key}"' not in line]
    (tmp_path / "result_0.txt").write_text("".join(lines))
    assert not passes(tmp_path / "result_0.txt", ruleset)


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after", "verdict"), [
    ('"lars_opt_weight_decay", "value": 5e-05', '"lars_opt_weight_decay", "value": 3e-05', False),
    ('"lars_opt_weight_decay", "value": 5e-05', '"lars_opt_weight_decay", "value": 2.5e-05', True),
    ('"lars_opt_end_learning_rate", "value": 0.0001', '"lars_opt_end_learning_rate", "value": 0.001', False),
])
def test_the_checker_reads_the_values_of_resnet(closed_logs, tmp_path, before, after, verdict):
    text = (closed_logs / "resnet50" / "result_0.txt").read_text()
    assert before in text
    (tmp_path / "result_0.txt").write_text(text.replace(before, after))
    assert passes(tmp_path / "result_0.txt", "4.0.0") is verdict


def test_a_log_is_cut_back_and_continued(tmp_path):
    log = MLPerfLog(tmp_path / "result_0.txt")
    log.event("seed", 1)
    keep = log.length()
    log.event("eval_accuracy", 0.5)
    log.close()
    log = MLPerfLog(tmp_path / "result_0.txt", keep_bytes=keep)
    log.end("run_stop", status="success")
    log.close()
    first, second = (tmp_path / "result_0.txt").read_text().splitlines()
    assert '"seed"' in first and '"run_stop"' in second
    assert '"file": "tests/mlperf/test_log.py"' in second, "the path is told from the root of the repository"


@pytest.mark.parametrize("content", [None, "short"])
def test_a_log_that_cannot_be_continued_is_refused(tmp_path, content):
    if content:
        (tmp_path / "result_0.txt").write_text(content)
    with pytest.raises(UserError, match="missing or cut short, but the checkpoint beside it needs its first 10 bytes"):
        MLPerfLog(tmp_path / "result_0.txt", keep_bytes=10)


def test_the_progress_line_makes_room_for_every_echoed_line(tmp_path, capsys):
    log = MLPerfLog(tmp_path / "result_0.txt", before_echo=lambda: print("<clear>"))
    log.event("seed", 1)
    log.close()
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "<clear>" and printed[1] == (tmp_path / "result_0.txt").read_text().strip()


def test_other_processes_write_nothing(tmp_path, capsys):
    log = MLPerfLog(tmp_path / "result_0.txt", enabled=False)
    log.event("seed", 1)
    assert log.length() == 0 and not list(tmp_path.iterdir()) and capsys.readouterr().out == ""
