"""Which rulesets there are, and which of them know a benchmark: read from the official checker's own files."""

import functools
import importlib.util
import re
from pathlib import Path

from jax_mlperf.errors import UserError
from jax_mlperf.mlperf.scoring.scoring_rules import RULES

_SPEC = importlib.util.find_spec("mlperf_logging.compliance_checker")
OFFICIAL = Path(_SPEC.origin if _SPEC and _SPEC.origin else "absent").resolve().parent
OWN_FOLDER = Path(__file__).resolve().parent / "rulesets"
# The name of our rule files among the rulesets.
OWN = "own"
_FOLDER = re.compile(r"training_(\d+)\.(\d+)\.(\d+)")
# Its lines begin with another token.
_WITHOUT_MLLOG = "0.6.0"


@functools.cache
def official_rulesets() -> tuple[str, ...]:
    """From the oldest to the newest."""
    folders = (_FOLDER.fullmatch(folder.name) for folder in OFFICIAL.iterdir())
    versions = sorted(tuple(map(int, folder.groups())) for folder in folders if folder)
    names = (".".join(map(str, version)) for version in versions)
    return tuple(name for name in names if name != _WITHOUT_MLLOG)


def own_benchmarks() -> tuple[str, ...]:
    """Benchmarks that our own rule files are for."""
    return tuple(sorted(file.stem.removeprefix("closed_") for file in OWN_FOLDER.glob("closed_*.yaml") if "-" not in file.stem))


@functools.cache
def rulesets_that_know(benchmark: str) -> tuple[str, ...]:
    """Rulesets that list a benchmark and have a file for it, from the oldest to the newest; or ours."""
    known = [ruleset for ruleset in official_rulesets() if benchmark in listed_benchmarks(ruleset)
             and (OFFICIAL / f"training_{ruleset}" / f"closed_{benchmark}.yaml").is_file()]
    return (*known, OWN) if benchmark in own_benchmarks() else tuple(known)


def listed_benchmarks(ruleset: str) -> tuple[str, ...]:
    """The benchmarks that a ruleset accepts in its closed division."""
    text = (OFFICIAL / f"training_{ruleset}" / "closed_common.yaml").read_text(encoding="utf-8")
    match = re.search(r"NAME:\s*submission_benchmark\b.*?CHECK:[^\n]*\[([^]]*)\]", text, re.DOTALL)
    return tuple(re.findall(r"'(\w+)'", match[1])) if match else ()


def default_ruleset(benchmark: str) -> str | None:
    """The newest official one that knows a benchmark, or ours; None where none does. Never one that its lines happen to fit."""
    rule = RULES.get(benchmark)
    known = rulesets_that_know(benchmark)
    return rule.ruleset if rule and rule.ruleset in known else known[-1] if known else None


def checked_ruleset(ruleset: str, benchmark: str) -> str:
    """The ruleset that the user asks for.

    Raises:
      UserError: there is no such ruleset.
    """
    valid = (*official_rulesets(), OWN)
    if ruleset not in valid:
        known = ", ".join(rulesets_that_know(benchmark))
        knowing = f"; those that know {benchmark}: {known}" if known else ""
        raise UserError(f"there is no ruleset {ruleset!r}; there are {', '.join(valid)}{knowing}")
    return ruleset


def first_config(ruleset: str) -> str:
    """The rule file that a check begins with, as the checker wants it named."""
    return str(OWN_FOLDER / "common.yaml") if ruleset == OWN else f"training_{ruleset}/common.yaml"


def parser_of(ruleset: str) -> str:
    """The official ruleset whose parser reads the lines."""
    return official_rulesets()[-1] if ruleset == OWN else ruleset
