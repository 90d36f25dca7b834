from __future__ import annotations

from pathlib import Path

import pytest

from backup_assets.settings_tree import Problem, settings_from_tree, shown, suggestion


def problems(tree: dict[str, object]) -> tuple[Problem, ...]:
    outcome = settings_from_tree(tree, Path("/base"), {})
    assert outcome.settings is None
    return outcome.problems


def test_a_tree_that_is_right_has_settings_and_no_problems() -> None:
    tree = {"databases": {"erp4": {"server": {"password": {"env": "PW"}}}}}
    outcome = settings_from_tree(tree, Path("/base"), {"PW": "x"})
    assert outcome.problems == ()
    assert outcome.settings is not None
    assert outcome.settings.database("erp4").database == "erp4"
    assert outcome.secret_variables == {"PW"}


@pytest.mark.parametrize(
    ("fields", "loc", "said"),
    [
        ({"server": "db"}, ("server",), "expected a mapping of fields"),
        ({"server": None}, ("server",), "found nothing"),
        ({"tier": None}, ("tier",), "found nothing"),
        ({"important_tables": None}, ("important_tables",), "found nothing"),
        ({"server": {"password": None}}, ("server", "password"), "a secret is never written here"),
        ({"important_tables": "invoices"}, ("important_tables",), "expected a list"),
        ({"important_tables": [["a"]]}, ("important_tables", 0), "expected one value, found a list"),
        ({"server": {"port": True}}, ("server", "port"), "no whole number"),
        ({"server": {"port": "x"}}, ("server", "port"), "expected a whole number"),
        ({"database": {"a": 1}}, ("database",), "expected one value, found a mapping"),
        ({"integrity_sql": " "}, ("integrity_sql",), "empty path"),
        ({"server": {"container": {}}}, ("server", "container", "name"), "missing"),
        ({"dump": {"timeout_hours": float("inf")}}, ("dump", "timeout_hours"), "finite"),
        ({"<<": {}}, ("<<",), "merge keys"),
    ],
)
def test_a_wrong_value_is_one_problem_at_its_own_place(
    fields: dict[str, object], loc: tuple[str | int, ...], said: str
) -> None:
    (problem,) = problems({"databases": {"erp4": fields}})
    assert problem.loc == ("databases", "erp4", *loc)
    assert said in problem.text


def test_what_is_shown_is_short_and_no_url() -> None:
    assert shown("postgres://u:pw@db") == "a URL"
    assert len(shown("x" * 100)) == 60


def test_a_suggestion_is_made_only_for_what_looks_alike() -> None:
    assert suggestion("Databse", ["database", "tier"]) == "; did you mean database?"
    assert suggestion("zzz", ["database", "tier"]) == ""
