"""The pages of the documentation as the tests read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
_FENCE = re.compile(r"^```(?P<language>\w*)(?: (?P<name>\S+))?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block; ``name`` is the second word behind the fence, where there is one."""

    language: str
    name: str
    body: str


def blocks_of(path: Path) -> list[Block]:
    """Return the fenced blocks of a page in order."""
    text = path.read_text(encoding="utf-8")
    return [Block(found["language"], found["name"] or "", found["body"]) for found in _FENCE.finditer(text)]


def prose_of(path: Path) -> str:
    """Return a page without its fenced blocks."""
    return _FENCE.sub("", path.read_text(encoding="utf-8"))


def pages() -> list[Path]:
    """Return every page: the README, the one of the image, and everything below docs."""
    return [ROOT / "README.md", ROOT / "docker" / "README.md", *sorted(DOCS.rglob("*.md"))]


def links_of(path: Path) -> list[str]:
    """Return the targets of a page's links and pictures."""
    return [found["target"] for found in _LINK.finditer(prose_of(path))]


def anchors_of(path: Path) -> set[str]:
    """Return the anchors that a page's headings get."""
    kept = (re.sub(r"[^\w\- ]", "", found["text"].lower()) for found in _HEADING.finditer(prose_of(path)))
    return {text.strip().replace(" ", "-") for text in kept}
