"""The PostgreSQL store: any number of nodes on one engine, each with a near cache that is proved.

Where to read: `store` is the whole from above; `listening` keeps the near cache true; `reading` is the one statement
of a check; `writing` runs transactions; `stores.sql` is what they do; `schema/` is the tables.
"""

from __future__ import annotations

try:
    import psycopg
except ImportError:
    raise ImportError("PostgreSQL needs psycopg: pip install 'sessile[postgres]'") from None

from sessile.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore", "psycopg"]
