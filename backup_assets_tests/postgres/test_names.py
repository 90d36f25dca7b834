from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup_assets.postgres.cluster import Cluster
from backup_assets.postgres.names import quote_literal, quote_name, split_table, statements
from backup_assets.postgres.session import one_value, open_session
from backup_assets_tests.sources import Source

#: What a server takes in a value: everything but NUL and halves of surrogate pairs.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40)
NASTY = st.text(st.sampled_from("'\"\\;-$a/* \n%E"), max_size=20)

PIECES = st.one_of(
    st.sampled_from(["SELECT 1", "a", "1", "(x)", "+", "E'\\';'", "e'it\\\\'", "'it''s;'", "$1", "'\\'"]),
    TEXT.filter(lambda t: "\\" not in t).map(quote_literal),
    NASTY.map(quote_literal),
    NASTY.filter(bool).map(quote_name),
    st.builds(
        "{0}{1}{0}".format, st.sampled_from(["$$", "$tag$", "$_1$"]), st.sampled_from(["a;b", "'", "--", "$x$;"])
    ),
)


@settings(deadline=None)
@given(st.lists(st.lists(PIECES, min_size=1, max_size=4).map(" ".join), max_size=5))
def test_a_script_is_cut_exactly_where_its_statements_were_joined(parts: list[str]):
    assert list(statements(" ;\n".join(parts) + ";")) == parts


@settings(deadline=None)
@given(st.lists(st.sampled_from(["-- a;b'\n", "/* x; ' */", "/* a /* b; */ c; */", "\\echo ;\n", "\n"]), max_size=5))
def test_comments_and_commands_of_psql_are_no_statements(noise: list[str]):
    assert list(statements("".join(noise) + "SELECT 1;\n" + "".join(noise))) == ["SELECT 1"]


def test_a_comment_parts_words():
    (statement,) = statements("SELECT/* really */1 -- one\nFROM t")

    assert statement.split() == ["SELECT", "1", "FROM", "t"]


def test_a_dollar_within_a_name_begins_no_string():
    assert list(statements("SELECT a$b$ FROM t; SELECT c$b$ FROM t")) == ["SELECT a$b$ FROM t", "SELECT c$b$ FROM t"]


@pytest.mark.parametrize("script", ["", " \n", ";;", "-- nothing", "/* open", "\\connect x"])
def test_a_script_without_statements_has_none(script: str):
    assert list(statements(script)) == []


def test_what_is_left_open_ends_with_the_script():
    assert list(statements("SELECT 'open; ")) == ["SELECT 'open;"]
    assert list(statements("SELECT $$open; ")) == ["SELECT $$open;"]


@pytest.mark.parametrize("conforming", ["on", "off"])
def test_a_quoted_literal_comes_back_from_a_server_as_it_was(an_empty_database: Source, conforming: str):
    with open_session(an_empty_database.server, an_empty_database.name) as session:
        session.execute(f"SET standard_conforming_strings = {conforming}")
        session.execute("SET escape_string_warning = off")

        @settings(max_examples=60, deadline=None)
        @given(st.one_of(TEXT, NASTY))
        def check(text: str) -> None:
            assert one_value(session, f"SELECT {quote_literal(text)}") == text

        check()


def test_a_quoted_name_is_one_column_of_a_server(an_empty_database: Source):
    with open_session(an_empty_database.server, an_empty_database.name) as session:

        @settings(max_examples=60, deadline=None)
        @given(st.one_of(TEXT, NASTY).filter(lambda text: 0 < len(text.encode()) < 64))
        def check(name: str) -> None:
            header, row = list(session.rows(f"SELECT 1 AS {quote_name(name)}", header=True))
            assert (header, row) == ((name,), ("1",))

        check()


def test_a_table_without_a_schema_is_in_public():
    assert split_table("invoices") == ("public", "invoices")
    assert split_table("erp.invoices") == ("erp", "invoices")


def test_statements_of_a_real_script_run_one_by_one(a_cluster: Cluster, an_empty_database: Source):
    script = """
    -- a comment; with a semicolon
    CREATE TABLE "a;b" (x text DEFAULT ';'); /* and; another /* nested; */ one */
    CREATE FUNCTION f() RETURNS text LANGUAGE plpgsql AS $body$ BEGIN RETURN ';'; END; $body$;
    INSERT INTO "a;b" VALUES (E'it\\'s; fine'), (f());
    """
    with open_session(an_empty_database.server, an_empty_database.name) as session:
        for statement in statements(script):
            session.execute(statement)
        assert list(session.rows('SELECT x FROM "a;b"')) == [("it's; fine",), (";",)]
