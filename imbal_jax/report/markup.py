"""The page's parts as data, and the templates that turn them into HTML.

Only templates contain HTML. Texts are plain until a template escapes them, once (Jinja2's autoescape). Charts are data too:
marks with positions.
"""

import base64
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from markupsafe import Markup

from imbal_jax.report.formats import is_share, number
from imbal_jax.report.style import DPI


class Label(NamedTuple):
    """An arm's number in the main table and its name.

    Attributes:
        number: its place in the table, from 1.
        colour: of the number's background, '#rrggbb'.
        pieces: of the name; a line may break between them.
    """

    number: int
    colour: str
    pieces: Sequence[str]


class Small(NamedTuple):
    """A line of small print in a cell.

    Attributes:
        text: plain text.
        kind: CSS classes: 'words' for text that may wrap, 'bad' for failures.
        tag: a framed word before the text; '' for none.
    """

    text: str
    kind: str = ""
    tag: str = ""


class Cell(NamedTuple):
    """A cell of a table.

    Attributes:
        key: what the column is sorted by; None comes last.
        text: plain text.
        small: lines below it.
        kind: CSS class of the text, or 'code'.
        tag: a word after the text: 'published' or 'minority'; '' for none.
        label: an arm's label in place of the text.
    """

    key: Any
    text: str = ""
    small: tuple[Small, ...] = ()
    kind: str = ""
    tag: str = ""
    label: Label | None = None


class Picture(NamedTuple):
    """A PNG inside the page.

    Attributes:
        name: its alternative text.
        kind: CSS class.
        width, height: CSS pixels.
        data: base64.
    """

    name: str
    kind: str
    width: int
    height: int
    data: str


NO_INTERVAL = Small("one seed: no interval", "words")
BLANK = Cell(None, "–")


@functools.cache
def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("imbal_jax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **context: Any) -> Markup:
    """The HTML of a file of templates/, with every text of the context escaped unless it is Markup."""
    return Markup(_environment().get_template(template).render(context))


def table_section(
    title: str, heads: Sequence[str], rows: Sequence[Sequence[Cell]], note: str = "", sorted_by: tuple[int, str] | None = None
) -> Markup:
    """A section with a table that scrolls sideways where it must, and that is sorted by a click on a head.

    Args:
        title: of the section.
        heads: plain text.
        rows: one cell for each head.
        note: below the table.
        sorted_by: column and 'ascending' or 'descending', where the rows come sorted.
    """
    return render("table_section.html", title=title, heads=heads, rows=rows, note=note, sorted_by=sorted_by)


def folded_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[Cell]], note: str = "") -> Markup:
    """A table that is closed at first."""
    return render("folded_table.html", title=title, heads=heads, rows=rows, note=note, sorted_by=None)


def folded_json(title: str, value: Mapping[str, Any]) -> Markup:
    """A dict as it is stored, closed at first."""
    return render("folded_json.html", title=title, text=json.dumps(value, indent=2, ensure_ascii=False))


def with_interval(metric: str, summary: Mapping[str, Any]) -> Cell:
    """A mean and, in small print, its 95 % interval."""
    mean, ends = summary.get("mean"), summary.get("ci95")
    if mean is None:
        return BLANK
    if not ends:
        return Cell(mean, number(metric, mean), (NO_INTERVAL,))
    low, high = (max(ends[0], 0.0), min(ends[1], 1.0)) if is_share(metric) else ends
    inside = f"{100 * low:.2f} – {100 * high:.2f}" if is_share(metric) else f"{number(metric, low)} – {number(metric, high)}"
    return Cell(mean, number(metric, mean), (Small(inside),))


def picture(path: Path, name: str, kind: str) -> Picture:
    """A PNG file at the size it was drawn for."""
    png = path.read_bytes()
    width, height = (round(int.from_bytes(png[at : at + 4], "big") * 96 / DPI) for at in (16, 20))
    return Picture(name, kind, width, height, base64.b64encode(png).decode())
