"""How is a page built of elements, so that no value can ever become markup?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree as ET

#: What no page may hold; a text with one would not be read the same everywhere.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
Child = ET.Element | str | None


def tag(name: str, /, *children: Child, **attributes: str | float) -> ET.Element:
    """Return an element with its children, texts among them; None is left out.

    Attributes are named as in HTML, with `_` for `-` and a `_` at the end of a word that Python keeps for itself.
    """
    element = ET.Element(name, {key.rstrip("_").replace("_", "-"): _clean(str(v)) for key, v in attributes.items()})
    for child in children:
        if isinstance(child, str):
            _add_text(element, _clean(child))
        elif child is not None:
            element.append(child)
    return element


def table(names: Sequence[str], rows: Iterable[Sequence[Child]], caption: str = "", *, ids: int = -1) -> ET.Element:
    """Return a table with titles; the first cell of a row is its title, the cells of the column ``ids`` hold ids."""
    body = tag("tbody")
    for row in rows:
        line = tag("tr")
        for column, child in enumerate(row):
            style = {"class_": "id"} if column == ids else {}
            line.append(tag("td", child, **style) if column else tag("th", child, scope="row", **style))
        body.append(line)
    head = tag("thead", tag("tr", *(tag("th", name, scope="col") for name in names)))
    return tag("table", tag("caption", caption) if caption else None, head, body, class_="list")


def page_of(root: ET.Element) -> str:
    """Return the whole page as text; what is in an element is escaped, whatever it says."""
    return "<!doctype html>\n" + ET.tostring(root, encoding="unicode", method="html") + "\n"


def _add_text(element: ET.Element, text: str) -> None:
    if len(element):
        element[-1].tail = (element[-1].tail or "") + text
    else:
        element.text = (element.text or "") + text


def _clean(text: str) -> str:
    return _CONTROL.sub("\ufffd", text)
