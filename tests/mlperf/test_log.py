"""The log of the closed benchmark against the official compliance checker."""

from pathlib import Path

import jax
import pytest
from mlperf_logging.compliance_checker import mlp_compliance
from toy_benchmark import ToyBenchmark, toy_config

from jax_mlperf import trainer
from jax_mlperf.benchmark import Topology
from jax_mlperf.benchmarks.transformer import TransformerBenchmark
from jax_mlperf.config import load_config
from jax_mlperf.errors import UserError
from jax_mlperf.mlperf.log import MLPerfLog
from jax_mlperf.parallel.mesh import make_mesh
from jax_mlperf.trainer import train

TRANSFORMER = str(Path(__file__).parents[2] / "configs" / "transformer.py")


def passes(log: Path, ruleset: str = "0.7.0") -> bool:
    """Whether the official checker accepts a log."""
    checker = mlp_compliance.make_checker("training", ruleset, quiet=True, werror=False)
    return mlp_compliance.main(str(log), f"training_{ruleset}/common.yaml", checker)[0]


class ClosedTransformerLog(ToyBenchmark):
    """The toy problem under the closed Transformer's name: every line of the log but the accuracy is the real one."""

    name = "transformer"

    def __init__(self) -> None:
        super().__init__(toy_config(quality_target=0.95, division="closed"))
        real = TransformerBenchmark(load_config(TRANSFORMER), Topology(1), Path("absent"))
        self.hyperparameters = real.hyperparameters
        self.train_samples, self.eval_samples = real.train_samples, real.eval_samples
        self.global_batch_size = real.global_batch_size


@pytest.fixture(scope="module")
def closed_log(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("closed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "clear_file_caches", lambda: True)  # not on a machine that only tests
        assert train(ClosedTransformerLog(), make_mesh(1, 1, jax.devices()[:1]), workdir / "w")[0].reached
    return workdir / "w" / "result_0.txt"


def test_the_closed_log_passes(closed_log):
    assert passes(closed_log)


@pytest.mark.parametrize("key", ["cache_clear", "init_start", "submission_org", "global_batch_size", "train_samples", "eval_samples",
                                 "opt_name", "opt_adam_epsilon", "max_sequence_length", "init_stop", "run_start", "run_stop"])
def test_the_checker_misses_every_line_that_is_left_out(closed_log, tmp_path, key):
    lines = [line for line in closed_log.read_text().splitlines(True) if f'"key": "{key}"' not in line]
    (tmp_path / "result_0.txt").write_text("".join(lines))
    assert not passes(tmp_path / "result_0.txt")


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
