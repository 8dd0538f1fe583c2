"""What a reader of a score must know about its runs: sentences for people."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jax_mlperf.mlperf.reading.file_groups import files_by, listed
from jax_mlperf.mlperf.reading.run_log import RunLog, as_number
from jax_mlperf.mlperf.scoring.convergence import DATA_SET_SAMPLES, counts_samples, epochs_to_converge
from jax_mlperf.mlperf.scoring.scoring_rules import RULES, ScoringRule, converged, rule_of
from jax_mlperf.mlperf.scoring.selection import Selection
from jax_mlperf.phases import PHASES

_MOST_NAMES = 5
# A run that was stopped and resumed has time in no phase of training; less than this share or these seconds is no pause.
_PAUSE_SHARE, _PAUSE_SECONDS = 0.05, 10


def mixture(runs: Sequence[RunLog]) -> tuple[list[str], list[str]]:
    """What the runs differ in that must not differ: (what forbids a common score, what makes it provisional).

    Minutes of different benchmarks, divisions, platforms, batch sizes or targets do not compare. The name of the organization
    says nothing about the time. Runs that do not tell are passed over.
    """
    forbidding = [
        _differences(runs, "benchmarks", lambda run: run.benchmark),
        _differences(runs, "divisions", lambda run: run.text("submission_division")),
        _differences(runs, "platforms", lambda run: run.text("submission_platform")),
        _differences(runs, "batch sizes", lambda run: _plain(run.number("global_batch_size"))),
        _differences(runs, "targets", lambda run: target_text(rule_of(run).targets) if run.benchmark else None)]
    apart = [f"No common score: the folder holds runs of different {text}. Put each kind into a folder of its own."
             for text in forbidding if text]
    organizations = _differences(runs, "organizations", lambda run: run.text("submission_org"))
    return apart, [f"Provisional: the runs name different {organizations}."] if organizations else []


def _differences(runs: Sequence[RunLog], what: str, value: Callable[[RunLog], str | None]) -> str:
    files = files_by(runs, lambda run: [text] if (text := value(run)) is not None else [])
    if len(files) < 2:
        return ""
    return f"{what}: " + "; ".join(f"{text} ({listed(names, _MOST_NAMES)})" for text, names in files.items())


def budget_notes(minutes: float | None) -> list[str]:
    """Why runs with a time budget of so many minutes have no score; nothing for others."""
    return [f"No score: the runs trained for a time budget of {minutes:g} minutes, so their minutes are no time to a target. "
            "Their result is the quality at its end."] if minutes else []


def count_notes(runs: Sequence[RunLog], rule: ScoringRule, chosen: Selection) -> list[str]:
    """What the number of runs, and of converged ones, means for the score."""
    good = sum(converged(run) for run in runs)
    failed = len(chosen.runs) - sum(converged(run) for run in chosen.runs)
    benchmark = next((run.benchmark for run in runs if run.benchmark), None)
    notes = [] if benchmark is None or benchmark in RULES else [
        f"How many runs the rules ask of {benchmark} is not known here: {rule.runs} are taken."]
    if len(runs) < rule.runs:
        missing = rule.runs - len(runs)
        least = f", and an olympic mean takes {2 * rule.drop + 1} at least" if chosen.minutes is None else ""
        more = "1 more run is" if missing == 1 else f"{missing} more runs are"
        notes.append(f"Provisional: {more} needed. The rule asks for {rule.runs}{least}.")
    elif len(runs) > rule.runs and not rule.first_converged:
        names = f"{chosen.runs[0].path.name} to {chosen.runs[-1].path.name}"
        notes.append(f"{len(runs)} runs where the rule asks for {rule.runs}: the score is that of the median window of "
                     f"{rule.runs} runs in the order of their starts, {names}. The rules allow more runs if their number was "
                     "decided before.")
    elif rule.first_converged and chosen.minutes is None:
        notes.append(f"No valid score: {good} runs converged, and the rule counts the first {rule.first_converged} that do.")
    elif rule.first_converged:
        notes.append(f"The first {rule.first_converged} runs that converged count; {good} did.")
    if chosen.minutes is None and failed > rule.drop:
        notes.append(f"No valid score: {failed} of {len(chosen.runs)} runs did not converge, and at most {rule.drop} may.")
    return notes


def run_notes(runs: Sequence[RunLog]) -> list[str]:
    """Which runs did not converge, are damaged, or stood still on the way; runs with the same fate share a sentence."""
    return [f"{listed(names, _MOST_NAMES)}: {text}" for text, names in files_by(runs, _facts).items()]


def _facts(run: RunLog) -> list[str]:
    facts = []
    if not converged(run):
        facts.append(_why_not(run))
    elif run.problems:
        facts.append("; ".join(run.problems) + ".")
    if converged(run) and counts_samples(run.benchmark) and epochs_to_converge(run) is None:
        facts.append("epoch_num is no number of samples, it is below one batch; samples to converge and samples/s are not known.")
    pause = paused_seconds(run)
    if pause and converged(run):
        facts.append(f"{pause / 60:.1f} of its {run.minutes:.1f} minutes lie outside of training and evaluation: it was stopped "
                     "and resumed. The clock of the rules does not stop for that.")
    images, logged = DATA_SET_SAMPLES.get(run.benchmark or ""), run.number("train_samples")
    if run.text("submission_division") == "closed" and images and logged not in (None, images):
        facts.append(f"train_samples is {_plain(logged)}, but the data set of the closed division has {images} samples; "
                     "samples/s are counted with those.")
    return facts


def _why_not(run: RunLog) -> str:
    text = "counts as not converged: "
    if run.minutes is None:
        return f"{text}{'; '.join(run.problems) or 'has no run_stop'}. The score stays provisional."
    reached = any(rule_of(run).reached(entry.value) for entry in run.evaluations)
    target = target_text(rule_of(run).targets)
    if run.status == "success":
        return f"{text}its status is success, but no evaluation reached the target{f', {target}' * bool(target)}."
    return f"{text}its status is {run.status}{', although an evaluation reached the target' * reached}."


def paused_seconds(run: RunLog) -> float:
    """Seconds of a run that lie in no phase of it (`phase_seconds`, which our own logs have): stopped, and resumed later."""
    phases = run.facts.get("phase_seconds")
    if run.minutes is None or not isinstance(phases, Mapping):
        return 0.0
    outside = 60 * run.minutes - sum(as_number(phases.get(name)) or 0.0 for name in PHASES)
    return outside if outside > max(_PAUSE_SECONDS, _PAUSE_SHARE * 60 * run.minutes) else 0.0


def target_text(targets: Mapping[str, float]) -> str:
    """Targets as people write them: "0.759", "BBOX 0.377 and SEGM 0.339"."""
    return " and ".join(f"{name} {target:g}".strip() for name, target in targets.items())


def _plain(number: Any) -> str | None:
    return None if number is None else f"{number:.12g}"
