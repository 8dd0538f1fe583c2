"""HTML and SVG as text in which everything that is not markup is escaped."""

import html
import re

# Characters that XML forbids, and those that turn the direction of the text around them.
_UNWANTED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_VOID = frozenset(("meta", "wbr", "rect", "line", "path", "circle", "polyline"))


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def clean(text: object, most: int = 200) -> str:
    """Text without control characters, and not longer than `most` characters: the middle is left out."""
    found = _UNWANTED.sub("\ufffd", str(text))
    if len(found) <= most:
        return found
    return f"{found[:(most - 1) // 2]}…{found[-(most // 2):]}"


def escape(text: object) -> Markup:
    """Text as markup that shows it."""
    return text if isinstance(text, Markup) else Markup(html.escape(_UNWANTED.sub("\ufffd", str(text))))


def join(*parts: object) -> Markup:
    """Parts one after the other; those that are not markup are escaped."""
    return Markup("".join(escape(part) for part in parts))


def tag(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element.

    Args:
      name: of the element.
      children: markup, or text that gets escaped.
      attributes: underscores become hyphens, one at the end is dropped (class_); None leaves one out; numbers are rounded to
        hundredths.
    """
    head = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
                   for key, value in attributes.items() if value is not None)
    if name in _VOID and not children:
        return Markup(f"<{name}{head}/>")
    return Markup(f"<{name}{head}>{join(*children)}</{name}>")


def pixels(number: float) -> str:
    """A coordinate, in hundredths, without trailing zeros."""
    return f"{number:.2f}".rstrip("0").rstrip(".") if abs(number) >= 0.005 else "0"


def _value(value: object) -> object:
    return pixels(value) if isinstance(value, float) else value
