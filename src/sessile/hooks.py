"""Hooks: callables of the application that are told what happened, after the change was committed."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from sessile.kernel.event import Event, EventName
from sessile.stores.protocol import Directory

logger = logging.getLogger("sessile")

Told = Callable[[Event], Awaitable[None] | None]
ToldT = TypeVar("ToldT", bound=Told)

WAITING: Final = 1_000
"""Events that wait for one callable at most; what comes then is dropped, and logged."""
SECONDS: Final = 60.0
"""How long one callable may take for one event."""
CLOSING_SECONDS: Final = 5.0
"""How long `close` waits for what is still to be told."""


class _Hook:
    def __init__(self, told: Told, names: frozenset[EventName]) -> None:
        self.told = told
        self.names = names
        self.start()

    def start(self) -> None:
        self.waiting: asyncio.Queue[Event] = asyncio.Queue(WAITING)
        self.task: asyncio.Task[None] | None = None

    def put(self, event: Event) -> None:
        if self.names and event.name not in self.names:
            return
        try:
            self.waiting.put_nowait(event)
        except asyncio.QueueFull:
            logger.error("a hook is too slow, event %d (%s) is not told to it: %s", event.seq, event.name, self.told)

    async def tell_forever(self) -> None:
        while True:
            event = await self.waiting.get()
            try:
                answer = self.told(event)
                if inspect.isawaitable(answer):
                    await asyncio.wait_for(answer, SECONDS)
            except Exception:  # the change stands, whatever became of the telling
                logger.exception("a hook failed at event %d (%s)", event.seq, event.name)
            finally:
                self.waiting.task_done()


class Hooks:
    """The hooks of one open store. Each is told on its own, in the order of the record."""

    def __init__(self, hooks: Sequence[_Hook], store: Directory) -> None:
        self._hooks = list(hooks)
        self._store = store
        self._loop = asyncio.get_running_loop()
        for hook in self._hooks:
            self._start(hook)
        store.hear = self._heard

    def add(self, hook: _Hook) -> None:
        self._hooks.append(hook)
        self._loop.call_soon_threadsafe(self._start, hook)

    def _start(self, hook: _Hook) -> None:
        hook.start()
        hook.task = self._loop.create_task(hook.tell_forever())

    def _heard(self, events: Sequence[Event]) -> None:
        """Called by the store, on whichever loop asked for the change."""
        if self._hooks and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._put, events)

    def _put(self, events: Sequence[Event]) -> None:
        for hook in self._hooks:
            for event in events:
                hook.put(event)

    async def close(self) -> None:
        """Tell what waits, for a moment, then stop."""
        self._store.hear = None
        await asyncio.sleep(0)  # what was heard just now is put before this goes on
        told = [asyncio.ensure_future(hook.waiting.join()) for hook in self._hooks]
        if told:
            _, late = await asyncio.wait(told, timeout=CLOSING_SECONDS)
            for one in late:
                one.cancel()
        tasks = [hook.task for hook in self._hooks if hook.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Telling:
    """The part of `Authority` that tells."""

    def __init__(self) -> None:
        self._told: list[_Hook] = []
        self._hooks: Hooks | None = None

    def on(self, *names: EventName | str) -> Callable[[ToldT], ToldT]:
        """Register a callable that is told of events of these names (none: of all)::

            @authority.on("session.begun", "principal.password_set")
            async def tell(event: Event) -> None: ...

        It is told after the change was committed, in order, once, of changes that this process made through this
        authority. It may be a coroutine function (it has `SECONDS` seconds for each event) or a function that does
        not block. What it raises is logged and undoes nothing; it may act on the authority. A process that dies tells
        nothing more, and one that cannot keep up loses events (`WAITING`): what must not miss any reads the record
        instead, page by page (`authority.store.events`).

        Raises:
            ValueError: no event has that name.
        """
        wanted = frozenset(EventName(name) for name in names)

        def register(told: ToldT) -> ToldT:
            hook = _Hook(told, wanted)
            self._told.append(hook)
            if self._hooks is not None:
                self._hooks.add(hook)
            return told

        return register

    def _start_telling(self, store: Directory) -> None:
        self._hooks = Hooks(self._told, store)

    async def _stop_telling(self) -> None:
        hooks, self._hooks = self._hooks, None
        if hooks is not None:
            await hooks.close()
