"""transformer:tiny through run.py in a real process: killed in the middle, resumed to its target, checked, translated with."""

import re
import subprocess

import pytest
from tiny_runs import assert_passes_the_official_checker, assert_reached, command, killed_and_resumed

pytestmark = pytest.mark.slow
CONFIG = "configs/transformer.py:tiny"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, repository):
    folder = tmp_path_factory.mktemp("tiny")
    return folder, *killed_and_resumed(folder, repository, CONFIG)


def test_a_killed_run_reaches_its_target_when_resumed(trained):
    folder, _, resumed = trained
    assert_reached(folder, resumed, least=0.8)


def test_the_log_passes_the_official_checker(trained):
    assert_passes_the_official_checker(trained[0], "0.7.0")


def test_a_finished_run_is_left_alone(trained, repository):
    folder, flags, _ = trained
    before = (folder / "w" / "result_0.txt").read_bytes()
    again = subprocess.run(**command("run.py", f"--config={CONFIG}", *flags), cwd=repository, capture_output=True, timeout=100)
    assert again.returncode == 0 and "run 0: target reached" in again.stdout
    assert (folder / "w" / "result_0.txt").read_bytes() == before


def test_it_translates(trained, repository):
    _, flags, _ = trained
    text = "The book costs three hundred and twenty-five euros.\n\nThe train leaves at a quarter past seven.\n"
    said = subprocess.run(**command("-m", "jax_mlperf", "translate", f"--config={CONFIG}", *flags), cwd=repository, input=text,
                          capture_output=True, timeout=200)
    first, empty, third = said.stdout.split("\n")[:3]
    assert said.returncode == 0, said.stderr
    assert re.fullmatch(r"Das Buch kostet \w+ Euro\.", first) and empty == "" and third.startswith("Der Zug")
