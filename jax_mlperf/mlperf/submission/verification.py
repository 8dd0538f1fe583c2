"""Looks at a finished submission again: MLPerf's checkers, and whether anything was changed since it was packed."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jax_mlperf.errors import UserError, printable
from jax_mlperf.mlperf.checking.check_set import check_set
from jax_mlperf.mlperf.checking.checker_rulesets import rulesets_that_know
from jax_mlperf.mlperf.reading.result_set import read_record, read_result_sets
from jax_mlperf.mlperf.reading.seal import sha256
from jax_mlperf.mlperf.submission.official_checks import Findings, official_findings, scaling_factor
from jax_mlperf.mlperf.submission.submission import findings_text
from jax_mlperf.mlperf.submission.submission_files import IMPLEMENTATION, SCRIPTS, record_name


def verify(folder: Path, ruleset: str = "") -> Findings:
    """What is wrong with a submission: what the official checkers say, and what they do not see.

    Result files are held against the sha256 that the implementation JSON keeps of them, names of systems against one another,
    scaling.json against the factor that package_checker computes, the runs of a benchmark against each other (check_set). Who
    changes a file and its sha256 too is not found here, but by the seal in the work folder of the run. The folder is not changed.

    Args:
      folder: <out>/<org>, as `submit` made it.
      ruleset: of the checkers; "": the one that it was packed for.
    Raises:
      UserError: the folder is no submission, or does not tell its ruleset.
    """
    folder = folder.absolute()
    if not (folder / "results").is_dir():
        raise UserError(f"{folder} has no folder results: give the organization's folder of a submission")
    records = [read_record(path) for path in folder.glob(f"benchmarks/*/*/*_{IMPLEMENTATION}.json")]
    told = {name for record in records if isinstance(record, dict) and isinstance(name := record.get("ruleset"), str)}
    if not ruleset and len(told) != 1:
        raise UserError(f"{folder} tells {'different rulesets' if told else 'no ruleset'}: name it with --ruleset")
    ruleset = ruleset or told.pop()
    if ruleset not in {name for benchmark in folder.glob("results/*/*") for name in rulesets_that_know(benchmark.name)}:
        raise UserError(f"{folder}: no benchmark in it is in rules {ruleset}; name others with --ruleset")
    findings = official_findings(folder, ruleset)
    return findings.plus([*_names(folder), *_files(folder), *_scaling(folder, findings), *_across(folder, ruleset)])


def as_text(folder: Path, findings: Findings) -> str:
    """The verdict first."""
    verdict = "is not as it should be" if findings.errors else "is as it was packed, and passes MLPerf's checkers"
    return "\n".join([printable(f"{folder}: {verdict} (rules {findings.ruleset})"), *findings_text(findings)])


def _names(folder: Path) -> Iterator[str]:
    """The name of a system must be the same in systems/, results/ and benchmarks/, and in what they hold."""
    homes = {path.name for path in folder.glob("benchmarks/*/*") if path.is_dir()} - {"implementations"}
    places = {"systems": {path.stem for path in folder.glob("systems/*.json")},
              "results": {path.name for path in folder.glob("results/*") if path.is_dir()}, "benchmarks": homes}
    for system in sorted(set.union(*places.values())):
        absent = [place for place, names in places.items() if system not in names]
        if absent:
            yield f"system {system} is not in {' and not in '.join(absent)}: it must have the same name in all three"
    for path in sorted(folder.glob("systems/*.json")):
        content = read_record(path)
        name = content.get("system_name") if isinstance(content, dict) else None
        if name != path.stem:
            yield f"systems/{path.name}: its system_name is {name!r}, not the name of the file"


def _files(folder: Path) -> Iterator[str]:
    """Files that are missing, that are new, and whose content is not the one that was packed."""
    for place in sorted(folder.glob("results/*/*")):
        system, benchmark = place.parts[-2:]
        home = folder / "benchmarks" / benchmark / system
        needed = [home / name for name in (*SCRIPTS, "README.md", record_name(system))]
        yield from (f"{path.relative_to(folder)} is missing" for path in needed if not path.is_file())
        record = read_record(needed[-1])
        about = needed[-1].relative_to(folder)
        if not isinstance(record, dict) or not isinstance(record.get("result_sha256"), dict):
            yield f"{about} keeps no sha256 of the result files: changes cannot be found"
            continue
        yield from _changes(place, record["result_sha256"])
        for key, value in (("system", system), ("benchmark", benchmark)):
            if record.get(key) != value:
                yield f"{about}: its {key} is {record.get(key)!r}, the folder's is {value!r}"


def _changes(place: Path, sums: Mapping[str, Any]) -> Iterator[str]:
    name = "/".join(place.parts[-3:])
    for file in sorted({*sums, *(path.name for path in place.iterdir())} - {"scaling.json"}):
        if not (place / file).is_file():
            yield f"{name}/{file} is missing"
        elif file not in sums:
            yield f"{name}/{file} was not there when it was packed"
        elif sha256(place / file) != sums[file]:
            yield f"{name}/{file} was changed after it was packed: its sha256 is another"


def _scaling(folder: Path, findings: Findings) -> Iterator[str]:
    for place in sorted(folder.glob("results/*/*")):
        name = "/".join(place.parts[-2:])
        there, right = scaling_factor(place / "scaling.json"), findings.scaling.get(name)
        if there != right:
            yield f"results/{name}/scaling.json has the factor {there}, by the reference convergence points it is {right}"


def _across(folder: Path, ruleset: str) -> Iterator[str]:
    """Runs that are copies of one another, and a division that is not the logs'."""
    if not any(folder.glob("results/*/*/result_*.txt")):
        yield "there are no result files"
        return
    for result_set in read_result_sets([folder / "results"]):
        name = "/".join(result_set.folder.parts[-3:])
        yield from (f"{name}: {finding}" for finding in check_set(result_set, ruleset))
        content = read_record(folder / "systems" / f"{result_set.folder.parent.name}.json")
        division = content.get("division") if isinstance(content, dict) else None
        logged = {run.text("submission_division") for run in result_set.runs}
        if logged != {division}:
            yield f"{name}: the system's division is {division}, the logs' {', '.join(sorted(map(str, logged)))}"
