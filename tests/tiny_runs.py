"""Tiny variants through run.py in real processes, for the end-to-end tests."""

import json
import os
import subprocess
import sys
import time

from jax_mlperf.mlperf.checking.check import check_file
from jax_mlperf.mlperf.checking.check_set import check_set
from jax_mlperf.mlperf.reading.result_set import read_result_sets
from jax_mlperf.mlperf.scoring.scoring_rules import converged


def command(*arguments):
    """Arguments for subprocess: this interpreter, on the one real device."""
    environment = {**os.environ, "XLA_FLAGS": ""}
    return {"args": [sys.executable, *arguments], "env": environment, "text": True}


def killed_and_resumed(folder, repository, config, *overrides):
    """Trains until the first checkpoint, kills the process, resumes: (the flags, how the resumption ended)."""
    flags = (f"--data_dir={folder}/data", f"--workdir={folder}/w", *overrides)
    process = subprocess.Popen(**command("run.py", f"--config={config}", *flags), cwd=repository, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE)
    deadline = time.monotonic() + 300
    while not list((folder / "w").glob("run_0/checkpoints/*/commit_success.txt")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate()
    return flags, subprocess.run(**command("run.py", f"--config={config}", *flags), cwd=repository, capture_output=True, timeout=500)


def log_lines(path):
    """The lines of an MLPerf log as dicts."""
    return [json.loads(line.removeprefix(":::MLLOG ")) for line in path.read_text().splitlines()]


def assert_reached(folder, resumed, least):
    """The resumed run reached its target, compiled nothing on the clock, and its log tells one run."""
    assert resumed.returncode == 0, resumed.stderr
    assert "resuming run 0 at step" in resumed.stderr
    assert "run 0: target reached" in resumed.stdout
    lines = log_lines(folder / "w" / "result_0.txt")
    values = {line["key"]: line["value"] for line in lines}
    assert least <= values["eval_accuracy"] <= 1 and values["compilations_in_timed_region"] == 0
    assert [line["key"] for line in lines].count("run_start") == 1
    results = read_result_sets([folder / "w"])[0]
    assert converged(results.runs[0]) and not results.runs[0].problems
    assert check_set(results, "own") == [], "one seed, and the log is the one that the run sealed"
    assert "</html>" in (folder / "w" / "report.html").read_text()


def assert_passes_the_official_checker(folder, ruleset):
    """The log of run 0, as the checker's command line judges it."""
    checked = subprocess.run(
        **command("-m", "mlperf_logging.compliance_checker", "--usage", "training", "--ruleset", ruleset,
                  "--log_output", str(folder / "checker.log"), str(folder / "w" / "result_0.txt")), capture_output=True)
    assert checked.returncode == 0 and "SUCCESS" in checked.stdout + checked.stderr, checked.stdout + checked.stderr


def assert_keeps_our_rules(folder):
    """The log of run 0, where no ruleset of the official checker knows the benchmark."""
    assert check_file(folder / "w" / "result_0.txt").violations == ()
