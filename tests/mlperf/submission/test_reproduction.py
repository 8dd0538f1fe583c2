"""The command that repeats the runs of a work folder."""

import json
import shlex
import subprocess
from pathlib import Path

import pytest

from jax_mlperf.config import load_config, split_overrides
from jax_mlperf.errors import UserError
from jax_mlperf.mlperf.reading.result_set import ResultSet
from jax_mlperf.mlperf.submission.implementation_code import copy_code
from jax_mlperf.mlperf.submission.reproduction import command_of
from jax_mlperf.workdir import Workdir


def runs_of(folder, reference, overrides=()):
    """The result set of a work folder as run.py makes it."""
    config = load_config(reference, overrides)
    Workdir(folder).claim(config, resume=False, write=True)
    return ResultSet(folder, [], {"config": json.loads((folder / "config.json").read_text())})


@pytest.mark.parametrize(("reference", "overrides"), [
    ("resnet50", []), ("resnet50:batch=4096", ["data.batch_size=2048", "optimizer.base_learning_rate=8.5"]),
    ("resnet50", ["model.stage_sizes=(1,)", "data.flip=false", "submission.platform=it's 2 x H200", "seed=7"]),
    ("transformer:tiny", ["division=closed", "max_epochs=3"]), ("cifar10", ["time_budget_minutes=1.5"])])
def test_the_command_gives_the_same_config(tmp_path, reference, overrides):
    command = command_of(runs_of(tmp_path, reference, [*overrides, "runs=5", "log_every_steps=7"]))
    assert command.config == reference and len(command.overrides) == len(overrides)
    words = shlex.split(" ".join(command.flags()))
    repeated, rest = split_overrides(words)
    assert rest == [f"--config={reference}"]
    assert load_config(reference, repeated).to_dict() == load_config(reference, overrides).to_dict()


def test_folders_of_the_machine_that_ran_become_variables_that_must_be_set(tmp_path):
    command = command_of(runs_of(tmp_path, "resnet50", ["data.raw_dir=/home/somebody/imagenet", "data.flip=false"]))
    assert command.overrides == ("data.flip=false",) and command.variables() == {"data.raw_dir": "DATA_RAW_DIR"}
    line = f"printf '%s\\n' {' '.join(command.flags())}"
    unset = subprocess.run(["bash", "-uc", line], capture_output=True, text=True)
    assert unset.returncode and "set it to the folder or file of config.data.raw_dir" in unset.stderr
    done = subprocess.run(["bash", "-uc", line], capture_output=True, text=True, env={"DATA_RAW_DIR": "/my data"}, check=True)
    assert done.stdout.splitlines() == ["--config=resnet50", "--config.data.flip=false", "--config.data.raw_dir=/my data"]
    assert "somebody" not in " ".join(command.flags())


def test_runs_of_another_version_are_refused_with_the_keys_that_changed(tmp_path):
    made = runs_of(tmp_path, "resnet50")
    recorded = made.records["config"]
    recorded["config"]["model"]["depth"] = 50
    with pytest.raises(UserError, match=r"not of this version of jax_mlperf: unknown config key 'model.depth'"):
        command_of(made)
    del recorded["config"]["model"]["depth"], recorded["config"]["data"]["flip"]
    recorded["fingerprint"] = "0123456789abcdef"
    with pytest.raises(UserError, match=r"data.flip \(None there, True now\); pack the runs with the version that made them"):
        command_of(made)
    recorded["config"]["benchmark"] = "resnet51"
    with pytest.raises(UserError, match="'resnet51' does not exist"):
        command_of(made)


@pytest.mark.parametrize("record", [None, [], {}, {"config": 3}])
def test_logs_without_a_config_have_no_command(record):
    assert command_of(ResultSet(Path("/runs"), [], {"config": record})) is None


def test_code_is_copied_without_what_git_and_repo_checker_refuse(tmp_path):
    wanted = {"pyproject.toml", "run.py", "jax_mlperf/config.py", "configs/a.py", "scripts/environment.sh"}
    refused = {"jax_mlperf/__pycache__/config.py", "jax_mlperf/.hidden", "jax_mlperf/a b.py", "jax_mlperf/x.pyc", "jax_mlperf/.cache/x",
               "tests/test_a.py", "results/a.txt"}
    for name in wanted | refused:
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).write_text(name)
    (tmp_path / "from/scripts/environment.sh").chmod(0o755)
    (tmp_path / "from/configs/link.py").symlink_to("a.py")
    with (tmp_path / "from/configs/weights.bin").open("wb") as large:
        large.truncate(50 * 2**20 + 1)
    assert copy_code(tmp_path / "to", tmp_path / "from") == len(wanted)
    assert {str(path.relative_to(tmp_path / "to")) for path in (tmp_path / "to").rglob("*") if path.is_file()} == wanted
    assert (tmp_path / "to/scripts/environment.sh").stat().st_mode & 0o111
    (tmp_path / "from/pyproject.toml").unlink()
    with pytest.raises(UserError, match="installed without its repository"):
        copy_code(tmp_path / "again", tmp_path / "from")
