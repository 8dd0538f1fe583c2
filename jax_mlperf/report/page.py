"""The report: one HTML file that needs nothing else."""

from collections.abc import Sequence
from pathlib import Path

from jax_mlperf.mlperf.reading.folder_names import short_names
from jax_mlperf.mlperf.reading.result_set import ResultSet
from jax_mlperf.mlperf.scoring.lp2bm import lp2bm_scores
from jax_mlperf.mlperf.scoring.score import Score
from jax_mlperf.report.drawing.markup import Markup, clean, tag
from jax_mlperf.report.drawing.numbers import plural
from jax_mlperf.report.scaling import Scaling
from jax_mlperf.report.sections import blocks
from jax_mlperf.report.sections.benchmark_names import benchmark_name
from jax_mlperf.report.sections.budget_section import budget_section
from jax_mlperf.report.sections.environment_section import environment_section
from jax_mlperf.report.sections.header import header, title
from jax_mlperf.report.sections.phases_section import phases_section
from jax_mlperf.report.sections.quality_section import quality_section
from jax_mlperf.report.sections.scaling_section import scaling_section
from jax_mlperf.report.sections.score_section import score_section
from jax_mlperf.report.sections.shown import Shown, show
from jax_mlperf.report.sections.spread_section import spread_section
from jax_mlperf.report.sections.throughput_section import throughput_section

_FEW_NOTES = 8
_MOST_NOTES = 200


def html(sets: Sequence[ResultSet], scaling: Sequence[Scaling] = ()) -> str:
    """The page as text; the same input gives the same text.

    Args:
      sets: result folders. Those of a study's runs appear in the study alone.
      scaling: scaling studies.
    """
    studied = {folder for study in scaling for folder in _folders(study)}
    shown = show([each for each in sets if each.runs and each.folder not in studied])
    names = [clean(name, 60) for name in short_names([study.folder for study in scaling])]
    studies = [scaling_section(study, name, f"scaling-{number}", show(_sets_of(study, sets)))
               for number, (study, name) in enumerate(zip(scaling, names, strict=True), 1)]
    groups = _by_benchmark(shown)
    chapters = [_chapter(f"benchmark-{number}", benchmark_name(name), group)
                for number, (name, group) in enumerate(groups.items(), 1)]
    body = tag("main", header(shown, scaling), _contents(groups, names), _notes(shown), *chapters, *studies, _footer())
    head = tag("head", tag("meta", charset="utf-8"), tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
               tag("title", title(shown, scaling)), Markup(f"<style>\n{_style()}</style>"))
    return f'<!DOCTYPE html>\n{tag("html", head, tag("body", body), lang="en")}\n'


def _sets_of(study: Scaling, sets: Sequence[ResultSet]) -> list[ResultSet]:
    """Result folders of a study's runs, from few workers to many."""
    found = {each.folder: each for each in sets}
    return [found[entry.run.path.parent] for entry in study.entries if entry.run and entry.run.path.parent in found]


def _folders(study: Scaling) -> set[Path]:
    """Result folders of a study's runs."""
    return {entry.run.path.parent for entry in study.entries if entry.run is not None}


def _style() -> str:
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")


def _by_benchmark(sets: Sequence[Shown]) -> dict[str, list[Shown]]:
    groups: dict[str, list[Shown]] = {}
    for shown in sets:
        groups.setdefault(shown.score.benchmark, []).append(shown)
    return groups


def _contents(groups: dict[str, list[Shown]], studies: Sequence[str]) -> Markup | str:
    links = [(f"benchmark-{number}", benchmark_name(name)) for number, name in enumerate(groups, 1)]
    links += [(f"scaling-{number}", f"Scaling: {name}") for number, name in enumerate(studies, 1)]
    if len(links) < 2:
        return ""
    return tag("nav", *(tag("a", tag("bdi", name), href=f"#{identifier}") for identifier, name in links), aria_label="Contents")


def _notes(sets: Sequence[Shown]) -> Markup:
    """What a reader must know about the logs, before the charts."""
    items = [tag("li", tag("b", tag("bdi", shown.name)), ": ", tag("bdi", clean(note, 400)))
             for shown in sets for note in (*shown.score.notes, *_rcp_notes(shown.score))]
    items += [tag("li", clean(obstacle, 400)) for obstacle in lp2bm_scores([shown.score for shown in sets])[1]]
    if not items:
        return Markup("")
    few, more = items[:_FEW_NOTES], items[_FEW_NOTES:]
    rest = blocks.folded(plural(len(more), "more note"), tag("ul", *more[:_MOST_NOTES], class_="problems")) if more else ""
    return blocks.section("notes", "Notes on the logs", tag("ul", *few, class_="problems"), rest)


def _rcp_notes(score: Score) -> list[str]:
    """The RCP verdict in words, where the runs did not simply pass."""
    judged = score.rcp
    return [f"RCP test {judged.message}."] if judged and (not judged.passed or judged.scaling > 1) else []


def _chapter(identifier: str, name: str, sets: Sequence[Shown]) -> Markup:
    settings = blocks.section(f"{identifier}-settings", "Environment and configuration", environment_section(sets), level=3)
    return blocks.section(identifier, name, score_section(sets), quality_section(sets), spread_section(sets),
                          budget_section(sets), throughput_section(sets), phases_section(sets), settings)


def _footer() -> Markup:
    return tag("footer", "A run's time is that from run_start to run_stop of its log. A result is the olympic mean: of the runs "
               "that the benchmark asks for, the mean without the fastest and the slowest. A run that did not converge counts as "
               "the slowest, and most benchmarks allow one.")
