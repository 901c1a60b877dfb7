"""The statements of `stores.sql` in PostgreSQL's words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import psycopg

from sessile.stores.sql.transaction import Cursor

_NUMBERED = ("seq", "session")
"""Columns whose lists hold numbers."""


@lru_cache(maxsize=512)
def translated(sql: str) -> bytes:
    """One statement. All of them are ours: neither `?` nor `:name` stands in a text."""

    def listed(found: re.Match[str]) -> str:
        kind = "bigint" if found[1].rpartition(".")[2] in _NUMBERED else "text"
        return f"{found[1]} = ANY (ARRAY(SELECT json_array_elements_text({found[2]}::json))::{kind}[])"

    sql = re.sub(r"([\w.]+) IN \(SELECT value FROM json_each\((\?|:\w+)\)\)", listed, sql)
    sql = sql.replace("json_each(?) wanted", "json_array_elements_text(?::json) AS wanted (value)")
    # SQLite takes the order of a CROSS JOIN as an order; PostgreSQL finds its own.
    sql = re.sub(r"CROSS JOIN (session \w|session_data \w) ON", r"JOIN \1 ON", sql)
    sql = re.sub(r"\+(?=s\.)", "", sql)
    sql = re.sub(r"(?<![:\w]):([a-z]\w*)", r"%(\1)s", sql)
    return sql.replace("?", "%s").encode()


class Db:
    """A connection in a transaction that sees one instant, or holds its locks."""

    in_transaction = True

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, sql: str, values: Sequence[Any] | Mapping[str, Any] = (), /) -> Cursor:
        return self._connection.execute(translated(sql), values)
