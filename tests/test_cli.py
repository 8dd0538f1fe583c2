"""Mistakes of users: one line on standard error, exit status 2, no traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from jax_mlperf import cli, launch

CONFIG = "--config=" + str(Path(__file__).parents[1] / "configs" / "transformer.py")


def one_error_line(capsys) -> str:
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), lines
    return lines[0]


@pytest.mark.parametrize(("arguments", "message"), [
    (["describe"], "--config"),
    (["describe", CONFIG, "--config.model.d_modle=8"], "the nearest is 'model.d_model'"),
    (["data", "download", "bert", "--mirror=127.0.0.1:80"], "--mirror=127.0.0.1:80 is no address: give one that begins with https://"),
    (["data", "prepare", "bert", "--workers=0"], "--workers is 0, must be at least 1"),
    (["describe", CONFIG, "--steps=0"], "--steps and --workers take positive whole numbers"),
    (["describe", CONFIG + ":base", "--config.model.d_model=500"], "config.model does not make a model"),
    (["describe", CONFIG, "--config.data.source=wmt19"], "config.data.source is 'wmt19'; there are: "),
    (["describe", CONFIG, "--config.optimizer.name=sgd"], "config.optimizer.name is 'sgd'"),
    (["describe", CONFIG, "--config.optimizer.warmup_steps=0"], "must be at least 1"),
    (["describe", CONFIG, "--config.division=ajar"], "config.division is 'ajar', must be 'closed' or 'open'"),
    (["data", "verify", "cifar10", "--config.data.raw_dir=absent"], "data download cifar10 --data_dir=data --config.data.raw_dir=absent"),
    (["describe", CONFIG, "--devices=0"], "--devices is 0, must be at least 1"),
    (["describe", "--config=ncf:tiny", "--config.model.layers=('a',)"], "config.model.layers is ('a',), must be numbers"),
    (["data", "prepare", "ncf:tiny", "--data_dir=" + __file__], "cannot prepare the data of ncf: Not a directory"),
    (["juggle"], "juggle"),
    (["data", "verify"], "needs either a benchmark, as in: data verify transformer, or --config"),
    (["data", "fetch", "transformer"], "invalid choice: 'fetch'"),
    (["data", "prepare", "transformer:multi30k", "--data_dir=absent"], "absent/multi30k/train.en first: get them with"),
    (["data", "verify", "transformer", "--data_dir=absent"], "get them again with: python -m jax_mlperf data download transformer"),
    (["data", "prepare", "transfomer"], "transfomer"),
    (["translate", CONFIG + ":tiny", "--data_dir=absent", "--input=absent.txt"], "--input=absent.txt cannot be read"),
    (["translate", CONFIG + ":tiny", "--data_dir=absent", "--input=" + __file__], "prepared data with the vocabulary are missing"),
])
def test_verbs(arguments, message, capsys):
    assert cli.main(arguments) == 2
    assert message in one_error_line(capsys)


@pytest.mark.parametrize(("arguments", "message"), [
    ([CONFIG, "--config.optimizer.epsilon=1e-8"], "config.optimizer.epsilon is 1e-08, must be 1e-09"),
    ([CONFIG, "--frseh"], "--frseh"),
    ([CONFIG, "--num_processes=2"], "need --coordinator"),
    ([CONFIG, "--data_dir=absent"], "missing data: absent/prepared/transformer-wmt/meta.json"),
    ([CONFIG, "--config.mesh.fsdp=3"], "does not fit 8 devices"),
])
def test_run(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        launch.main([*arguments, "--compile_cache=off"])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "results").exists(), "nothing was written"


def test_missing_data_names_the_command_that_makes_them(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        launch.main([CONFIG + ":multi30k", "--data_dir=absent", "--compile_cache=off", "--config.seed=3"])
    assert f"make it with: python -m jax_mlperf data prepare {CONFIG}:multi30k --data_dir=absent --config.seed=3" in one_error_line(capsys)


def test_run_py_imports_no_jax_for_a_mistake(repository):
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    code = ("import sys; sys.argv = ['run.py']\n"
            "from jax_mlperf import launch\n"
            f"try: launch.run(['{CONFIG}', '--config.runz=2'])\n"
            "except Exception as error: print(error, 'jax' in sys.modules)")
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    assert "nearest is 'runs' False" in output.replace("'runs'", "'runs'")


@pytest.mark.parametrize(("where", "status"), [(">&-", 0), ("> /dev/full", 2)])
def test_an_output_that_cannot_be_written(repository, tmp_path, where, status):
    (tmp_path / "Größe").mkdir()
    (tmp_path / "Größe" / "result_0.txt").write_text('0: :::MLLOG {"time_ms": 1, "key": "run_start"}')
    environment = {**os.environ, "PYTHONPATH": str(repository), "PYTHONIOENCODING": "ascii"}
    finished = subprocess.run(f"{sys.executable} -m jax_mlperf score {tmp_path} {where}", shell=True, env=environment, capture_output=True, text=True)
    assert finished.returncode == status and "Traceback" not in finished.stderr


def test_ctrl_c_is_one_line(capsys, monkeypatch):
    def interrupted(flags, overrides):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_describe", interrupted)
    assert cli.main(["describe", CONFIG]) == 130
    assert capsys.readouterr().err == "interrupted\n"
