"""The files of a submission that say how one benchmark was run on one system: scripts, a README and a record of the results."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import jax_mlperf
from jax_mlperf.mlperf.reading.run_log import RunLog
from jax_mlperf.mlperf.reading.seal import sha256
from jax_mlperf.mlperf.scoring.scoring_rules import converged
from jax_mlperf.mlperf.submission.reproduction import Command

IMPLEMENTATION = "jax_mlperf"
SCRIPTS = ("setup.sh", "init_datasets.sh", "run_and_time.sh")

_HEAD = f"""set -euo pipefail
cd "$(dirname "$0")/../implementations/{IMPLEMENTATION}"
source scripts/environment.sh
make_environment ""
"""
_UNKNOWN = """echo "error: the result files came without the config.json of their work folder; write their command here" >&2
exit 2
"""
_README = """# {benchmark} on {system}

MLPerf Training, rules {ruleset}, {division} division.
{window}
| file | minutes | epoch_num at the end | seed | converged |
|---|---|---|---|---|
{rows}

To run it again, in a copy of this submission (setup.sh makes a virtual environment inside), on a machine like
../../../systems/{system}.json:

    ./setup.sh
    DATA_DIR=/data ./init_datasets.sh
    DATA_DIR=/data WORKDIR=/results ./run_and_time.sh
{local}
The code is in ../implementations/{implementation}; its README.md tells the rest.
{system}_{implementation}.json has a sha256 of each result file as it was packed.
"""


@dataclasses.dataclass(frozen=True)
class Package:
    """What holds for the whole submission."""

    org: str
    system: str
    division: str
    ruleset: str


@dataclasses.dataclass(frozen=True)
class Entry:
    """One benchmark of a submission.

    Attributes:
      benchmark: MLPerf's name of it.
      runs: those that are submitted, in the order of their starts.
      made: how many were made.
      needed: how many the rule asks for.
      command: how they were started; None where that is not known.
    """

    benchmark: str
    runs: Sequence[RunLog]
    made: int
    needed: int
    command: Command | None


def record_name(system: str) -> str:
    """The implementation JSON's file name (submission_rules.adoc)."""
    return f"{system}_{IMPLEMENTATION}.json"


def write_files(folder: Path, package: Package, entry: Entry) -> None:
    """Writes benchmarks/<benchmark>/<system>/: three scripts, README.md and the implementation JSON."""
    folder.mkdir(parents=True)
    for name, text in _scripts(entry).items():
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    (folder / "README.md").write_text(_readme(package, entry), encoding="utf-8")
    (folder / record_name(package.system)).write_text(json.dumps(_record(package, entry), indent=1) + "\n", encoding="utf-8")


def _scripts(entry: Entry) -> dict[str, str]:
    command, runs = entry.command, f"--config.runs={entry.needed}"
    config = " \\\n  ".join(command.flags()) if command else ""
    data = '--data_dir="${DATA_DIR:-data}"'
    prepare = f'"$PYTHON" -m jax_mlperf data prepare {config} \\\n  {data}\n'
    if command and "data.raw_dir" not in command.local:
        prepare = ("# What must be fetched by hand is told here, with the place to put it.\n"
                   f'"$PYTHON" -m jax_mlperf data download {config} \\\n  {data} || true\n{prepare}')
    train = f'"$PYTHON" run.py {config} \\\n  {runs} {data} --workdir="${{WORKDIR:-results}}/{entry.benchmark}" "$@"\n'
    bodies = {"setup.sh": ("Makes a virtual environment in the implementation's folder and installs the packages into it.", ""),
              "init_datasets.sh": ("Downloads and prepares the data, in $DATA_DIR (default: data).", prepare),
              "run_and_time.sh": (f"Trains {entry.benchmark} {entry.needed} times; the logs go to $WORKDIR/{entry.benchmark}.\n"
                                  "# With several processes: start it once for each, under srun or mpirun.", train)}
    return {name: f"#!/usr/bin/env bash\n# {about}\n{_HEAD}{body if command or not body else _UNKNOWN}"
            for name, (about, body) in bodies.items()}


def _record(package: Package, entry: Entry) -> dict[str, object]:
    """How the runs were started, and a sha256 of each result file, by which `verify` finds changes."""
    command = entry.command
    how = {"config": command.config, "overrides": list(command.overrides), "local_folders": list(command.local),
           "config_fingerprint": command.fingerprint} if command else {}
    return {**dataclasses.asdict(package), "benchmark": entry.benchmark, "implementation": IMPLEMENTATION,
            "code_version": jax_mlperf.__version__, **how, "runs_made": entry.made,
            "result_sha256": {f"result_{index}.txt": sha256(run.path) for index, run in enumerate(entry.runs)}}


def _readme(package: Package, entry: Entry) -> str:
    ends = [run.evaluations[-1].epoch if run.evaluations else None for run in entry.runs]
    rows = [f"| result_{index}.txt | {_number(run.minutes)} | {_number(end)} | {', '.join(map(str, run.seeds)) or '-'} | "
            f"{'yes' if converged(run) else 'no'} |" for index, (run, end) in enumerate(zip(entry.runs, ends, strict=True))]
    window = "" if entry.made == len(entry.runs) else (
        f"\n{entry.made} runs were made. These are the window of {len(entry.runs)} consecutive ones with the median score.\n")
    local = "".join(f"\nconfig.{key} was a folder or file of the machine that ran: set {name} for it.\n"
                    for key, name in entry.command.variables().items()) if entry.command else ""
    return _README.format(**dataclasses.asdict(package), benchmark=entry.benchmark, window=window, rows="\n".join(rows),
                          implementation=IMPLEMENTATION, local=local)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}".rstrip("0").rstrip(".")
