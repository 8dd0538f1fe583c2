"""Pieces of the page: tables, figures with their data, folded parts."""

import re
from collections.abc import Callable, Iterable, Sequence

from jax_mlperf.report.drawing.markup import Markup, clean, join, tag
from jax_mlperf.report.drawing.numbers import plural
from jax_mlperf.report.drawing.plot import NARROW, WIDE, Size

_MOST_ROWS = 600

Draw = Callable[[Size, str, str], Markup]


def table(head: Sequence[object], rows: Iterable[Sequence[object]], *, caption: str, text_columns: int = 1,
          wide_first: bool = False) -> Markup:
    """A table that scrolls inside itself where it is too wide.

    Args:
      head: names of the columns, with units.
      rows: cells, text or markup.
      caption: for readers that do not see its heading.
      text_columns: so many from the left hold words; the rest numbers, which stand to the right.
      wide_first: the first column gets room for names.
    """
    rows = list(rows)
    cell = [None if column < text_columns else "n" for column in range(len(head))]
    body = [tag("tr", *map(_cell, range(len(row)), row, cell)) for row in rows[:_MOST_ROWS]]
    heads = [tag("th", name, scope="col", class_=kind) for name, kind in zip(head, cell, strict=True)]
    left_out = len(rows) - len(body)
    more = tag("p", f"{plural(left_out, 'more row')} left out.", class_="note") if left_out > 0 else ""
    inner = tag("table", tag("caption", caption), tag("thead", tag("tr", *heads)), tag("tbody", *body),
                class_="words" if wide_first or text_columns > 1 else None)
    return join(tag("div", inner, class_="scroll", tabindex=0, role="region", aria_label=caption), more)


def _cell(index: int, content: object, class_: str | None) -> Markup:
    shown = content if isinstance(content, Markup) else clean(content, 400)
    if index:
        return tag("td", tag("bdi", shown), class_=class_)
    return tag("th", tag("bdi", shown if isinstance(shown, Markup) else breakable(shown)), scope="row")


def breakable(name: str) -> Markup:
    """A key or path that may be broken after its separators."""
    return join(*(part if at % 2 == 0 else join(part, tag("wbr")) for at, part in enumerate(re.split("([_./]+)", name))))


def headed(name: str) -> str:
    """A name as the heading of a column of seconds."""
    return f"{name[0].upper()}{name[1:]} (s)"


def folded(summary: str, *content: object) -> Markup:
    """A part that opens on demand."""
    return tag("details", tag("summary", summary), *content)


def figure(title: str, summary: str, draw: Draw, *, legend: Markup | str = "", data: Markup, note: str = "") -> Markup:
    """A chart in both sizes with what it says in words, its legend and its data.

    Args:
      title: heading.
      summary: what the chart shows, for those who see it and those who do not.
      draw: makes the SVG of a size, with title and description.
      legend: of series.
      data: the numbers as a table.
      note: how they came about.
    """
    return tag("figure", tag("h4", title), tag("p", summary, class_="summary"), legend, draw(WIDE, title, summary),
               draw(NARROW, title, summary), tag("figcaption", note) if note else "", folded("Data as a table", data))


def section(identifier: str, title: str, *content: object, level: int = 2) -> Markup:
    """A part of the page with a heading; nothing where it has no content."""
    inner = join(*content)
    return tag("section", tag(f"h{level}", tag("bdi", title)), inner, id=identifier) if inner else Markup("")
