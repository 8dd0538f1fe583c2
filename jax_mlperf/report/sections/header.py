"""The head of the page: what was compared, when, and the verdict of each folder."""

from collections.abc import Sequence

from jax_mlperf.mlperf.scoring.lp2bm import lp2bm_scores
from jax_mlperf.report.drawing import numbers
from jax_mlperf.report.drawing.markup import Markup, clean, join, tag
from jax_mlperf.report.scaling import Scaling
from jax_mlperf.report.sections.benchmark_names import benchmark_name
from jax_mlperf.report.sections.budget_section import budget_words
from jax_mlperf.report.sections.shown import Shown, target_words

_MOST_TILES = 24


def header(sets: Sequence[Shown], scaling: Sequence[Scaling]) -> Markup:
    """Title, summary and tiles."""
    tiles = [_tile(shown) for shown in sets[:_MOST_TILES]]
    left_out = len(sets) - len(tiles)
    return tag("header", tag("p", "jax_mlperf report", class_="kicker"), tag("h1", tag("bdi", title(sets, scaling))),
               tag("p", _dates(sets, scaling), class_="lead"), tag("div", *tiles, class_="tiles") if tiles else "",
               tag("p", f"{numbers.plural(left_out, 'more folder')} in the tables below.", class_="note") if left_out else "",
               _lp2bm(sets))


def title(sets: Sequence[Shown], scaling: Sequence[Scaling]) -> str:
    """What the page is about, in a line."""
    if not sets:
        studied = {benchmark_name(name) for study in scaling if (name := study.benchmark)}
        return ": ".join([*([", ".join(sorted(studied))] if studied else []),
                          "scaling study" if len(scaling) == 1 else "scaling studies"])
    names = list(dict.fromkeys(benchmark_name(shown.score.benchmark) for shown in sets))
    listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    return f"{listed}: {'training results' if len(sets) == 1 else f'{len(sets)} result folders'}"


def _dates(sets: Sequence[Shown], scaling: Sequence[Scaling]) -> str:
    runs = [run for shown in sets for run in shown.runs]
    runs += [entry.run for study in scaling for entry in study.entries if entry.run is not None]
    times = [time for run in runs for time in (run.init_start_ms, run.run_start_ms, run.last_ms) if time is not None and time > 0]
    when = numbers.time_range(min(times), max(times)) if times else ""
    files = numbers.plural(len(runs), "run") if runs else numbers.plural(len(scaling), "scaling study", "scaling studies")
    return f"{files}, {when}." if when else f"{files}."


def _tile(shown: Shown) -> Markup:
    score = shown.score
    budget = budget_words(shown)
    if budget:
        value, unit, words = budget
    elif score.olympic_minutes is not None:
        value, unit, words = numbers.minutes(score.olympic_minutes), "min", "olympic mean"
    elif score.converged == 1:
        single = next((minutes for minutes in score.minutes if minutes is not None), None)
        value, unit, words = numbers.minutes(single), "min", "the only run that converged"
    else:
        value, unit, words = "no score", "", ""
    target = target_words(shown)
    facts = [f"{score.converged} of {numbers.plural(score.runs, 'run')} converged",
             f"target {target}" if target else "no target known",
             " · ".join(clean(part, 60) for part in (score.division, score.platform) if part != "unknown")]
    marks = [tag("span", "provisional", class_="mark-provisional")] if score.provisional and not budget else []
    return tag("article", tag("p", shown.style.swatch(), " ", tag("bdi", benchmark_name(score.benchmark)), class_="what"),
               tag("p", tag("b", value), f" {unit}".rstrip(), class_="value"), tag("p", words, class_="words") if words else "",
               tag("p", *marks, class_="marks") if marks else "",
               *(tag("p", tag("bdi", fact), class_="fact") for fact in facts if fact),
               tag("p", tag("bdi", shown.name), class_="folder"), class_="tile")


def _lp2bm(sets: Sequence[Shown]) -> Markup:
    """SciNet's score of each system that has both results."""
    pairs, _ = lp2bm_scores([shown.score for shown in sets])
    return join(*(tag("p", "LP2BM score ", tag("b", f"{pair.score:.2f}"), " (provisional)" * pair.provisional,
                      ": 7.19 / ResNet-50 minutes + 9.05 / BERT minutes, of "
                      f"{clean(pair.resnet.name, 60)} and {clean(pair.bert.name, 60)}; higher is better.", class_="lead")
                  for pair in pairs))
