"""The Redis and Valkey store: sessions in an engine, everything durable in a SQL directory beside it.

Where to read: `store` is the whole from above; `layout` says how rows and keys lie, `engine` how they are read and
changed by scripts, `journal` what the directory keeps of endings and `applying` how those come to the engine;
`following` keeps the near cache true, over a `wire` to one of the `servers`. `beginning`, `rotation`, `ending` and
`listing` are the operations.
"""

from __future__ import annotations

from sessile.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
