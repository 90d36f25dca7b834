"""The runbook as a page: every block is typed by a test, every alert has its words, and both languages are one."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import pytest

from backup_assets.watch.kinds import Kind
from backup_assets_tests.docs.pages import anchors_of, blocks_of, links_of, prose_of
from backup_assets_tests.docs.runbook import BLOCKS, ELSEWHERE, ENGLISH, JAPANESE, VARIABLES

HERE = Path(__file__).parent
#: The parts of a situation's box, which every situation has, in both languages.
BOX = {ENGLISH: ("**When:**", "**Safe:**", "**Decides:**"), JAPANESE: ("**いつ:**", "**安全:**", "**決める人:**")}
PAGES = pytest.mark.parametrize("page", [ENGLISH, JAPANESE], ids=lambda page: page.name)


def typed() -> set[str]:
    """Return the names of the blocks that the tests beside this one type."""
    found: set[str] = set()
    for path in HERE.glob("test_runbook_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("types", "refused"):
                name = node.args[0]
                assert isinstance(name, ast.Constant), f"{path.name}:{node.lineno}: the name of a block is no literal"
                found.add(str(name.value))
    return found


def headings(page: Path) -> list[tuple[int, str]]:
    return [(len(marks), text) for marks, text in re.findall(r"^(#+) (.+)$", prose_of(page), re.MULTILINE)]


def test_every_block_is_typed_by_a_test_or_listed_as_one_that_cannot_be() -> None:
    assert len(blocks_of(ENGLISH)) == len(BLOCKS), "a block has no name, or the name of another one"
    assert set(BLOCKS) - VARIABLES - typed() == set(ELSEWHERE)
    assert typed() <= set(BLOCKS)
    assert all(name.startswith("elsewhere:") for name in ELSEWHERE)


def test_the_japanese_page_has_the_same_commands_in_the_same_order() -> None:
    assert blocks_of(JAPANESE) == blocks_of(ENGLISH)


def test_the_japanese_page_has_the_same_parts_in_the_same_order() -> None:
    assert [level for level, _ in headings(JAPANESE)] == [level for level, _ in headings(ENGLISH)]
    assert "`drill`" in dict.fromkeys(text for _, text in headings(JAPANESE))


def parts_between_commands(page: Path) -> list[list[str]]:
    """Return what pages are linked in each part of the page, without their anchors and languages."""
    return [
        sorted({target.partition("#")[0].replace(".ja.md", ".md") for target in re.findall(r"\]\(([^)\s]+)\)", part)})
        for part in re.split(r"^#+ .+$", prose_of(page), flags=re.MULTILINE)
    ]


def test_the_japanese_page_leads_to_the_same_pages_in_every_part() -> None:
    assert parts_between_commands(JAPANESE) == parts_between_commands(ENGLISH)


@PAGES
def test_every_situation_says_when_what_is_safe_and_who_decides(page: Path) -> None:
    parts = re.split(r"^## ", prose_of(page), flags=re.MULTILINE)[2:-1]
    assert len(parts) > 20
    for part in parts:
        missing = [word for word in BOX[page] if word not in part]
        assert not missing, f"{part.splitlines()[0]} lacks {missing}"


@PAGES
def test_every_alert_has_words_of_its_own(page: Path) -> None:
    told = [text.strip("`") for level, text in headings(page) if level == 3 and text.startswith("`")]
    assert told == list(get_args(Kind))


@PAGES
def test_every_part_of_the_first_table_leads_into_the_page(page: Path) -> None:
    inside = [target[1:] for target in links_of(page) if target.startswith("#")]
    assert len(inside) > 12
    assert set(inside) <= anchors_of(page)
