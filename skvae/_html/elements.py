"""Elements of HTML, in which all that is not an element is escaped."""

from html import escape
from typing import Any

EMPTY = {"meta", "rect"}  # elements without content; those of SVG need the slash


class Element(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, /, *content: Any, **attributes: Any) -> Element:
    """An element of HTML or SVG.

    Parameters
    ----------
    tag : str
        Its name.
    *content : object
        Elements stay as they are; everything else is escaped.
    **attributes : object
        None leaves one out. ``class_`` is ``class``; other underscores are hyphens.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"' for key, value in attributes.items() if value is not None
    )
    return Element(f"<{tag}{written}/>" if tag in EMPTY else f"<{tag}{written}>{joined(content)}</{tag}>")


def joined(content: Any) -> Element:
    """Elements and text one after the other."""
    return Element("".join(part if isinstance(part, Element) else escape(str(part)) for part in content))


def table(head: Any, rows: Any, **attributes: Any) -> Element:
    """A table with a line of column names; elements are cells already, everything else becomes one."""
    names = joined(_cell(name, "th") for name in head)
    lines = joined(element("tr", joined(map(_cell, row))) for row in rows)
    return element("table", element("thead", element("tr", names)), element("tbody", lines), **attributes)


def _cell(content: Any, tag: str = "td") -> Element:
    return content if isinstance(content, Element) else element(tag, content)
