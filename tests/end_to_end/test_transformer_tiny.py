"""transformer:tiny through run.py in a real process: killed in the middle, resumed to its target, checked, translated with."""

import json
import os
import re
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.slow
CONFIG = "--config=configs/transformer.py:tiny"


def command(*arguments):
    environment = {**os.environ, "XLA_FLAGS": ""}
    return {"args": [sys.executable, *arguments], "env": environment, "text": True}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, repository):
    folder = tmp_path_factory.mktemp("tiny")
    flags = (f"--data_dir={folder}/data", f"--workdir={folder}/w")
    process = subprocess.Popen(**command("run.py", CONFIG, *flags), cwd=repository, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    deadline = time.monotonic() + 200
    while not list((folder / "w").glob("run_0/checkpoints/*/commit_success.txt")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate()
    resumed = subprocess.run(**command("run.py", CONFIG, *flags), cwd=repository, capture_output=True, timeout=400)
    return folder, flags, resumed


def test_a_killed_run_reaches_its_target_when_resumed(trained):
    folder, _, resumed = trained
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming run 0 at step" in resumed.stderr
    assert "run 0: target reached" in resumed.stdout
    lines = [json.loads(line.removeprefix(":::MLLOG ")) for line in (folder / "w" / "result_0.txt").read_text().splitlines()]
    values = {line["key"]: line["value"] for line in lines}
    assert 0.8 <= values["eval_accuracy"] <= 1 and values["compilations_in_timed_region"] == 0
    assert [line["key"] for line in lines].count("run_start") == 1


def test_the_log_passes_the_official_checker(trained):
    folder, _, _ = trained
    checked = subprocess.run(
        **command("-m", "mlperf_logging.compliance_checker", "--usage", "training", "--ruleset", "0.7.0",
                  "--log_output", str(folder / "checker.log"), str(folder / "w" / "result_0.txt")), capture_output=True)
    assert checked.returncode == 0 and "SUCCESS" in checked.stdout + checked.stderr, checked.stdout + checked.stderr


def test_a_finished_run_is_left_alone(trained, repository):
    folder, flags, _ = trained
    before = (folder / "w" / "result_0.txt").read_bytes()
    again = subprocess.run(**command("run.py", CONFIG, *flags), cwd=repository, capture_output=True, timeout=100)
    assert again.returncode == 0 and "run 0: target reached" in again.stdout
    assert (folder / "w" / "result_0.txt").read_bytes() == before


def test_it_translates(trained, repository):
    _, flags, _ = trained
    text = "The book costs three hundred and twenty-five euros.\n\nThe train leaves at a quarter past seven.\n"
    said = subprocess.run(**command("-m", "jax_mlperf", "translate", CONFIG, *flags), cwd=repository, input=text,
                          capture_output=True, timeout=200)
    first, empty, third = said.stdout.split("\n")[:3]
    assert said.returncode == 0, said.stderr
    assert re.fullmatch(r"Das Buch kostet \w+ Euro\.", first) and empty == "" and third.startswith("Der Zug")
