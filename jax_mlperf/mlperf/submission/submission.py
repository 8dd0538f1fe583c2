"""Packs runs into the folder that MLCommons takes, and has its own checkers look at it.

Layout (submission_rules.adoc): <org>/{systems, benchmarks, results}; see `submit`.
"""

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from jax_mlperf.errors import UserError, printable
from jax_mlperf.mlperf.reading.result_set import ResultSet
from jax_mlperf.mlperf.scoring.rcp import verdict
from jax_mlperf.mlperf.submission.implementation_code import copy_code
from jax_mlperf.mlperf.submission.official_checks import Findings, official_findings
from jax_mlperf.mlperf.submission.submission_files import IMPLEMENTATION, Entry, Package, write_files
from jax_mlperf.mlperf.submission.submission_input import check_evidence, check_names, check_sets, entry_of, package_ruleset
from jax_mlperf.mlperf.submission.system_description import system_description


@dataclasses.dataclass(frozen=True)
class Submission:
    """What came of packing.

    Attributes:
      folder: the organization's folder.
      written: whether it was kept: the checkers passed it, or it is a draft.
      findings: of the official checkers.
      notes: what else the user should know.
    """

    folder: Path
    written: bool
    findings: Findings
    notes: tuple[str, ...]


def submit(sets: Sequence[ResultSet], out: Path, given: Mapping[str, str], *, org: str, system: str, ruleset: str = "",
           draft: bool = False) -> Submission:
    """Builds <out>/<org>/ whole or not at all.

    systems/<system>.json; benchmarks/<benchmark>/implementations/jax_mlperf/ (the code);
    benchmarks/<benchmark>/<system>/ (submission_files.py); results/<system>/<benchmark>/result_<i>.txt, numbered from 0 in the
    order of the starts, and scaling.json where the reference convergence points ask for one.

    Args:
      sets: one folder of runs for each benchmark. More runs than the rule asks for: the window with the median score is taken.
      out: where the organization's folder is made; <out>/<org> must not be there, or be empty.
      given: fields of the system description (system_description.parse_settings).
      org, system: names of the submitter and of the system, which become folder names.
      ruleset: of the checkers; "": the newest that fits all logs.
      draft: keep the folder although runs are missing or the checkers find errors.
    Raises:
      UserError: a name that cannot be a folder's, a benchmark that MLPerf's rules do not have, runs that are missing (unless
        draft) or do not belong together, logs that were changed after their run, fields that nobody told, or a folder in the way.
    """
    check_names({"--org": org, "--system": system})
    folder = out.absolute() / org
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not empty; choose another --out")
    check_sets(sets)
    ruleset = package_ruleset(sets, ruleset)
    check_evidence(sets, ruleset)
    entries = [entry_of(result_set, draft) for result_set in sets]
    description = system_description(sets, given, org=org, system=system, ruleset=ruleset)
    package = Package(org, system, description["division"], ruleset)
    with _beside(folder) as made:
        _build(made, package, entries, description)
        findings = official_findings(made, ruleset)
        for name, factor in findings.scaling.items():
            (made / "results" / name / "scaling.json").write_text(json.dumps({"scaling_factor": factor}))
        written = draft or not findings.errors
        if written:
            made.rename(folder)
    return Submission(folder, written, findings, _notes(sets, entries, package, findings))


def as_text(submission: Submission) -> str:
    """The verdict first, then what stands in the way, then the rest."""
    findings = submission.findings
    told = f"passes MLPerf's checkers at rules {findings.ruleset}"
    if findings.errors:
        told = f"does not pass MLPerf's checkers at rules {findings.ruleset}; "
        told += "it is a draft" if submission.written else "nothing was written"
    return "\n".join([printable(f"{submission.folder}: {told}"), *findings_text(findings, submission.notes)])


def findings_text(findings: Findings, notes: Sequence[str] = ()) -> list[str]:
    """Errors, warnings and notes, one a line under their headings."""
    lines = []
    for title, texts in (("errors", findings.errors), ("warnings", findings.warnings), ("notes", (*findings.remarks, *notes))):
        lines += [f"{title}:", *(f"  {printable(text)}" for text in texts)] if texts else []
    return lines


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """A new folder of the same name on the same disk; what is still in it in the end is deleted."""
    made = [parent for parent in folder.parents if not parent.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".packing-", dir=folder.parent))
        try:
            yield scratch / folder.name
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            with suppress(OSError):  # not empty: the folder is there
                for parent in made:
                    parent.rmdir()
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror or error}") from error


def _build(folder: Path, package: Package, entries: Sequence[Entry], description: Mapping[str, str]) -> None:
    systems = folder / "systems"
    systems.mkdir(parents=True)
    (systems / f"{package.system}.json").write_text(json.dumps(description, indent=4) + "\n", encoding="utf-8")
    for entry in entries:
        benchmark = folder / "benchmarks" / entry.benchmark
        copy_code(benchmark / "implementations" / IMPLEMENTATION)
        write_files(benchmark / package.system, package, entry)
        results = folder / "results" / package.system / entry.benchmark
        results.mkdir(parents=True)
        for index, run in enumerate(entry.runs):
            shutil.copyfile(run.path, results / f"result_{index}.txt")


def _notes(sets: Sequence[ResultSet], entries: Sequence[Entry], package: Package, findings: Findings) -> tuple[str, ...]:
    notes = []
    for result_set, entry in zip(sets, entries, strict=True):
        if entry.made > entry.needed:
            names = f"{entry.runs[0].path.name} to {entry.runs[-1].path.name}"
            notes.append(f"{entry.benchmark}: of {entry.made} runs the window with the median score was taken, {names}")
        judged = verdict(entry.runs)
        if judged and any("RCP Test Failed" in error and f"/{entry.benchmark}:" in error for error in findings.errors):
            notes.append(f"{entry.benchmark}: test against the reference convergence points {judged.message}")
        if entry.command is None:
            notes.append(f"{entry.benchmark}: no config.json beside the logs: complete init_datasets.sh and run_and_time.sh by "
                         "hand, and put the code that ran in the place of ours")
        logged = {run.text("submission_org") for run in result_set.runs} - {package.org, None}
        if logged:
            notes.append(f"{entry.benchmark}: the logs name the organization {', '.join(sorted(map(str, logged)))}, the "
                         f"submission {package.org}; --config.submission.org sets it for the next runs")
    return tuple(notes)
