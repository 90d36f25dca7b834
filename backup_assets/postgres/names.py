"""Quoting of SQL names and literals, and the cutting of a script into its statements."""

from __future__ import annotations

from collections.abc import Iterator


def quote_name(name: str) -> str:
    """Return ``name`` as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Return ``text`` as an SQL string constant, right under either setting of standard_conforming_strings."""
    escaped = text.replace("'", "''")
    if "\\" in escaped:
        return "E'" + escaped.replace("\\", "\\\\") + "'"
    return "'" + escaped + "'"


def split_table(name: str) -> tuple[str, str]:
    """Return schema and table of a configured name; ``public`` where no schema is given."""
    schema, dot, table = name.partition(".")
    return (schema, table) if dot else ("public", schema)


def statements(script: str) -> Iterator[str]:
    """Yield the statements of an SQL script, each without its closing semicolon; psql's own commands are left out.

    Knows quotes, E'' strings, quoted names, dollar quotes and both kinds of comment (which are dropped).
    """
    current: list[str] = []
    position, length = 0, len(script)
    while position < length:
        character = script[position]
        if character == "\\" and not "".join(current).strip():
            position = _after(script, "\n", position)
        elif script.startswith("--", position):
            position = _after(script, "\n", position)
            current.append("\n")
        elif script.startswith("/*", position):
            position = _after_comment(script, position)
            current.append(" ")  # a comment parts words
        elif character in "'\"":
            end = _end_of_quoted(script, position, escapes=_is_escape_string(script, position))
            current.append(script[position:end])
            position = end
        elif character == "$" and (tag := _dollar_tag(script, position)):
            end = _after(script, tag, position + len(tag))
            current.append(script[position:end])
            position = end
        elif character == ";":
            if text := "".join(current).strip():
                yield text
            current = []
            position += 1
        else:
            current.append(character)
            position += 1
    if text := "".join(current).strip():
        yield text


def is_plain(statement: str) -> bool:
    """Tell whether psql hands a statement over as it is: everything closed, no command of psql's own in it."""
    script = statement + "\n;"
    position, end = 0, len(statement) + 1
    while position < end:
        character = script[position]
        if character == "\\":
            return False
        if script.startswith("--", position):
            position = _after(script, "\n", position)
        elif script.startswith("/*", position):
            position = _after_comment(script, position)
        elif character in "'\"":
            position = _end_of_quoted(script, position, escapes=_is_escape_string(script, position))
        elif character == "$" and (tag := _dollar_tag(script, position)):
            position = _after(script, tag, position + len(tag))
        else:
            position += 1
    return position == end


def _after(script: str, mark: str, position: int) -> int:
    found = script.find(mark, position)
    return len(script) if found < 0 else found + len(mark)


def _after_comment(script: str, position: int) -> int:
    # They nest, unlike those of C.
    depth = 0
    while position < len(script):
        if script.startswith("/*", position):
            depth += 1
            position += 2
        elif script.startswith("*/", position):
            depth -= 1
            position += 2
            if depth == 0:
                return position
        else:
            position += 1
    return position


def _is_escape_string(script: str, position: int) -> bool:
    if script[position - 1 : position] not in ("E", "e"):
        return False
    before = script[position - 2 : position - 1]
    return not (before.isalnum() or before == "_")


def _end_of_quoted(script: str, position: int, *, escapes: bool) -> int:
    quote = script[position]
    position += 1
    while position < len(script):
        if escapes and script[position] == "\\":
            position += 2
        elif script[position] == quote:
            if script[position + 1 : position + 2] != quote:
                return position + 1
            position += 2
        else:
            position += 1
    return len(script)


def _dollar_tag(script: str, position: int) -> str | None:
    before = script[position - 1 : position]
    if before.isalnum() or before in ("_", "$"):
        return None  # within a name or after a number: $ is an ordinary character of names
    end = position + 1
    while end < len(script) and (script[end].isalnum() or script[end] == "_"):
        end += 1
    if end < len(script) and script[end] == "$" and not script[position + 1 : position + 2].isdigit():
        return script[position : end + 1]
    return None
