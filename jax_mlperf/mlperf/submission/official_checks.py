"""MLPerf's own checkers on a submission folder, in this process, with what they say as values.

The tools end with exit status 0 whatever they find, write into the folder (scaling.json), and log to the root logger; so they
see a copy made of links, and their log records are read.
"""

import contextlib
import dataclasses
import functools
import io
import json
import logging
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

_USAGE = "training"
_LONGEST = 1000  # characters of what is said: a line of a log is told whole, however long it is
_PASSED = ("PACKAGE CHECKER FOUND NO ERRORS, SUCCESS !", "ALL CHECKS PASSED.")
# Said before what is found in a folder, and in a file.
_FOLDER, _FILE = "Running compliance checks in dir ", "Running compliance on file: "
# Words of what is said of a folder after its files.
_OF_THE_FOLDER = ("not comply", "Seed", "RCP")
# Said in passing, and worth telling.
_REMARKS = ("RCP Test Passed", "Score should be normalized", "Bypassing")


@dataclasses.dataclass(frozen=True)
class Findings:
    """What the checkers found.

    Attributes:
      ruleset: the rules they held the folder against.
      errors: why the folder cannot be submitted; empty: it passes.
      warnings: what does not stand in the way.
      remarks: how the reference convergence points were met.
      scaling: "SYSTEM/BENCHMARK" -> factor that the score is multiplied by, where there is one (scaling.json).
    """

    ruleset: str
    errors: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    scaling: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def plus(self, errors: list[str]) -> "Findings":
        """With more errors, those not said yet."""
        return dataclasses.replace(self, errors=tuple(dict.fromkeys((*self.errors, *errors))))


def official_findings(folder: Path, ruleset: str) -> Findings:
    """Runs system_desc_checker, package_checker (with compliance, seeds and reference points) and repo_checker.

    Args:
      folder: the folder of the organization; it is not changed.
      ruleset: one that knows the benchmarks (checker_rulesets.rulesets_that_know).
    """
    from mlperf_logging.package_checker.package_checker import check_training_package
    from mlperf_logging.repo_checker.repo_checker import run_checks
    from mlperf_logging.system_desc_checker.system_desc_checker import check_system_desc

    said = _Said(str(folder))
    with tempfile.TemporaryDirectory(prefix="checks-") as scratch:
        view = Path(scratch, folder.name)
        _link(folder, view)
        said.folders.insert(0, str(view))
        for file in sorted((folder / "systems").glob("*.json")):
            said.listen(functools.partial(check_system_desc, str(file), _USAGE, ruleset), "system_desc_checker")
        said.listen(lambda: check_training_package(str(view), _USAGE, ruleset, False, False, False, False, False, ""),
                    "package_checker", passed=_PASSED[0])
        scaling = {f"{file.parts[-3]}/{file.parts[-2]}": factor for file in sorted(view.glob("results/*/*/scaling.json"))
                   if (factor := scaling_factor(file)) is not None}
    said.listen(lambda: run_checks(str(folder)), "repo_checker", passed=_PASSED[1])
    errors, warned, remarks = (tuple(dict.fromkeys(lines)) for lines in (said.errors, said.warnings, said.remarks))
    return Findings(ruleset, errors, warned, remarks, scaling)


def scaling_factor(file: Path) -> float | None:
    """The factor in a scaling.json; None where there is no such file, or no number in it."""
    try:
        return float(json.loads(file.read_text(encoding="utf-8"))["scaling_factor"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


def _link(folder: Path, view: Path) -> None:
    """What package_checker reads, as links; scaling.json, which it writes, is not among it."""
    view.mkdir()
    if (folder / "systems").is_dir():
        (view / "systems").symlink_to(folder / "systems")
    for place in sorted((folder / "results").glob("*/*/")):
        target = view / place.relative_to(folder)
        target.mkdir(parents=True)
        for entry in place.iterdir():
            if entry.name != "scaling.json":
                (target / entry.name).symlink_to(entry)


class _Said:
    """Sorts what the checkers log into errors, warnings and remarks."""

    def __init__(self, folder: str) -> None:
        self.folders = [folder]
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.remarks: list[str] = []

    def listen(self, call: Callable[[], object], name: str, passed: str = "") -> None:
        """Calls a checker; without the words `passed` among what it says, it found an error."""
        with _records() as records:
            try:
                call()
            except Exception as error:  # the tools stop at what they do not expect: a missing file or key
                self.errors.append(self._plain(f"{name} stopped: {type(error).__name__}: {error}"))
                passed = ""
        before, about = len(self.errors), ""
        messages = [(level, text) for level, text in records if set(text.strip()) - {"-"}]
        for level, text in messages:
            for mark in (_FOLDER, _FILE):
                if mark in text:
                    about = text.partition(mark)[2].strip()
            if any(word in text for word in _OF_THE_FOLDER):
                about = about.rpartition("/result_")[0] or about
            self._sort(level, text, about)
        if passed and not any(passed in text for _, text in messages) and len(self.errors) == before:
            self.errors.append(f"{name} did not say {passed!r}")

    def _sort(self, level: int, text: str, about: str) -> None:
        about = f"{about}: " if about and about not in text else ""
        if "Skipping benchmark" in text:  # a mere warning there, but nothing of it was checked
            self.errors.append(self._plain(f"{text.strip()}: the ruleset does not have it"))
        elif level >= logging.ERROR:
            self.errors.append(self._plain(about + text))
        elif level >= logging.WARNING:
            for part in re.split(r"\n-{30}\n", text):
                # what follows is the checker's state, pages of it
                part = part.partition("\ncurrent context")[0]
                self.warnings.append(self._plain(about + part))
        elif any(remark in text for remark in _REMARKS):
            self.remarks.append(self._plain(about + text))

    def _plain(self, text: str) -> str:
        for folder in self.folders:
            text = text.replace(f"{folder}/", "").replace(folder, ".")
        return " ".join(text[:_LONGEST].split())


class _Recorder(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[tuple[int, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append((record.levelno, record.getMessage()))


@contextlib.contextmanager
def _records() -> Iterator[list[tuple[int, str]]]:
    """What is logged to the root logger and warned meanwhile; the logger is left as it was, and nothing is printed."""
    root, recorder = logging.getLogger(), _Recorder()
    handlers, level, disabled = root.handlers[:], root.level, root.manager.disable
    root.handlers[:] = [recorder]
    root.setLevel(logging.INFO)
    logging.disable(logging.NOTSET)
    try:
        with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(io.StringIO()):
            # of the tools' own: unclosed files and the like
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", UserWarning)
            yield recorder.records
            recorder.records += [(logging.WARNING, str(warning.message)) for warning in caught]
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.disable(disabled)
