"""MLBench's set of charts for a scaling study."""

from collections.abc import Sequence

from jax_mlperf.mlperf.scoring.scoring_rules import converged
from jax_mlperf.report.drawing import numbers
from jax_mlperf.report.drawing.bar_chart import Bar, Columns, StackedBars
from jax_mlperf.report.drawing.line_chart import Line, LineChart
from jax_mlperf.report.drawing.markup import Markup, clean, join, tag
from jax_mlperf.report.drawing.styles import PARTS, Style, legend, outcome_swatch, part_legend, part_swatch
from jax_mlperf.report.scaling import Entry, Scaling
from jax_mlperf.report.sections import blocks
from jax_mlperf.report.sections.benchmark_names import metric_name
from jax_mlperf.report.sections.environment_section import environment_section
from jax_mlperf.report.sections.run_series import metrics, quality_points, targets_of
from jax_mlperf.report.sections.shown import Shown

_PHASES = {"compute": "compute", "all_reduce": "communication", "input_wait": "input wait", "checkpoint": "checkpoint",
           "evaluate": "evaluate"}


def scaling_section(study: Scaling, name: str, identifier: str, sets: Sequence[Shown]) -> Markup:
    """All charts of one study, and how its folders are configured; only its problems where no entry is usable."""
    found = [*study.problems, *(f"{numbers.plural(entry.workers, 'worker')}: {problem}" for entry in study.entries if entry.run
                                for problem in entry.run.problems)]
    problems = tag("ul", *(tag("li", clean(problem, 400)) for problem in found), class_="problems") if found else ""
    title = f"Scaling: {name}"
    if not study.entries:
        return blocks.section(identifier, title, problems or tag("p", "scaling.json has no runs."))
    settings = blocks.section(f"{identifier}-settings", "Environment and configuration", environment_section(sets), level=3)
    return blocks.section(identifier, title, tag("p", _opening(study.entries)), problems, _overview(study),
                          tag("div", _speedup(study), _to_target(study), _ratio(study), _price(study), class_="pairs"),
                          _phases(study), _quality(study), settings)


def _opening(entries: Sequence[Entry]) -> str:
    counts = ", ".join(str(entry.workers) for entry in entries)
    missed = [str(entry.workers) for entry in entries if not entry.reached]
    text = f"The same benchmark with {counts} worker{'s' if counts != '1' else ''}. Times are MLBench's: training batches only."
    if not missed:
        return f"{text} All runs reached the target."
    return (f"{text} Without reaching the target, and marked with *: {', '.join(missed)}. Their times, speedups and price indices"
            " are those until they stopped.")


def _label(entry: Entry) -> str:
    """Under its columns: the number of workers, and a mark where its time is no time to target."""
    return f"{entry.workers}{'' if entry.reached else '*'}"


def _overview(study: Scaling) -> Markup:
    ratios = zip(study.speedups(), study.compute_speedups(), study.price_indices(), strict=True)
    rows = [(str(entry.workers), "–" if entry.devices is None else str(entry.devices), "yes" if entry.reached else "no",
             "–" if entry.epochs is None else numbers.short(entry.epochs), numbers.minutes(entry.minutes),
             *map(numbers.seconds, (entry.train_seconds, entry.compute_seconds, entry.communication_seconds)),
             *(f"{ratio:.2f}" for ratio in each)) for entry, each in zip(study.entries, ratios, strict=True)]
    head = ("Workers", "Devices", "Target reached", "Epochs", "Wall clock (min)", "Training (s)", "Compute (s)",
            "Communication (s)", "Speedup", "Speedup without communication", "Price index")
    return blocks.table(head, rows, caption="Scaling study")


def _data(study: Scaling, columns: dict[str, Sequence[str]]) -> Markup:
    workers = [_label(entry) for entry in study.entries]
    return blocks.table(("Workers", *columns), zip(workers, *columns.values(), strict=True), caption=next(iter(columns)))


def _speedup(study: Scaling) -> Markup:
    speedups, without = study.speedups(), study.compute_speedups()
    first = study.entries[0].workers
    ideal = [entry.workers / first for entry in study.entries]
    groups = [(_label(entry), {"with communication": a, "without communication": b})
              for entry, a, b in zip(study.entries, speedups, without, strict=True)]
    reached = [(speedup, entry.workers) for entry, speedup in zip(study.entries, speedups, strict=True) if entry.reached]
    summary = f"Training time with {numbers.plural(first, 'worker')} over that with k workers."
    if reached:
        best, most = max(reached)
        summary += f" Largest: {best:.2f} with {numbers.plural(most, 'worker')}."
    return blocks.figure(
        "Speedup", summary, Columns("workers", f"speedup T({first})/T(k)", groups, ideal=ideal).draw,
        legend=legend(*((part_swatch(part), part) for part in ("with communication", "without communication")),
                      (outcome_swatch("target"), "ideal: as many times as fast as there are workers")),
        data=_data(study, {"Speedup": [f"{value:.3f}" for value in speedups],
                           "Without communication": [f"{value:.3f}" for value in without],
                           "Ideal": [f"{value:g}" for value in ideal]}))


def _to_target(study: Scaling) -> Markup:
    parts = [{"compute": entry.compute_seconds, "communication": entry.communication_seconds} for entry in study.entries]
    groups = [(_label(entry), each) for entry, each in zip(study.entries, parts, strict=True)]
    times = ", ".join(f"{numbers.seconds(entry.train_seconds)} with {entry.workers}" for entry in study.entries)
    return blocks.figure(
        "Compute and communication to target", f"Training seconds: {times}.",
        Columns("workers", "seconds", groups, stacked=True).draw,
        legend=part_legend(parts[0]),
        data=_data(study, {blocks.headed(name): [numbers.seconds(each[name]) for each in parts] for name in parts[0]}))


def _ratio(study: Scaling) -> Markup:
    shares = [100 * entry.communication_seconds / entry.train_seconds for entry in study.entries]
    groups = [(_label(entry), {"communication": share}) for entry, share in zip(study.entries, shares, strict=True)]
    label = "communication / total (%)"
    return blocks.figure(
        "Share of communication", f"Communication over all training time: {min(shares):.1f} to {max(shares):.1f} %.",
        Columns("workers", label, groups).draw, data=_data(study, {label: [f"{share:.2f}" for share in shares]}))


def _price(study: Scaling) -> Markup:
    prices = study.price_indices()
    groups = [(_label(entry), {"price index": price}) for entry, price in zip(study.entries, prices, strict=True)]
    return blocks.figure(
        "Price index", "Workers over speedup: what the same result costs, relative to the fewest workers.",
        Columns("workers", "price index", groups, ideal=[1.0] * len(prices)).draw,
        legend=legend((outcome_swatch("target"), "1: as cheap as with the fewest workers")),
        data=_data(study, {"Price index": [f"{price:.3f}" for price in prices]}))


def _phases(study: Scaling) -> Markup:
    timed = [(numbers.plural(entry.workers, "worker"),
              {shown: entry.phase_seconds[name] for name, shown in _PHASES.items() if name in entry.phase_seconds})
             for entry in study.entries if entry.phase_seconds]
    if not any(sum(parts.values()) for _, parts in timed):
        return Markup("")
    names = [name for name in PARTS if any(name in parts for _, parts in timed)]
    bars = [Bar(name, parts, numbers.seconds(sum(parts.values()))) for name, parts in timed]
    rows = [(name, *(numbers.seconds(parts.get(part)) for part in names)) for name, parts in timed]
    return blocks.figure("Phases", "Wall-clock seconds of each run by phase.", StackedBars("seconds", "s", bars).draw,
                         legend=part_legend(names),
                         data=blocks.table(("Workers", *map(blocks.headed, names)), rows, caption="Phases"))


def _quality(study: Scaling) -> Markup:
    """One chart for each metric, from the logs of the runs that are there."""
    runs = [entry.run for entry in study.entries if entry.run is not None]
    return join(*(_quality_of(study, metric) for metric in metrics(runs)))


def _quality_of(study: Scaling, metric: str) -> Markup | str:
    runs = [(index, entry, entry.run) for index, entry in enumerate(study.entries) if entry.run is not None]
    lines = [Line(numbers.plural(entry.workers, "worker"), Style(index), points, end="dot" if converged(run) else "cross")
             for index, entry, run in runs if (points := quality_points(run, metric))]
    if not lines:
        return ""
    targets = [(target, f"target {numbers.short(target)}") for target in targets_of((run for *_, run in runs), metric)]
    words = metric_name(study.benchmark, metric)
    chart = LineChart("minutes since run_start", words, lines, targets)
    rows = [(line.name, numbers.minutes(minutes), numbers.quality(value)) for line in lines for minutes, value in line.points]
    crosses = [(outcome_swatch("cross"), "ended without the target")] * any(line.end == "cross" for line in lines)
    return blocks.figure(
        "Quality against time", f"{numbers.plural(len(lines), 'run')}, wall clock.", chart.draw,
        legend=legend(*((line.style.swatch(), line.name) for line in lines), *crosses),
        data=blocks.table(("Workers", "Minutes since run_start", words), rows, caption="Evaluations"))
