"""The sync face: the same authority for code that does not await, such as Flask's and Django's.

The cached path is a plain function and runs in the thread that asks. All else runs on one event loop in a background
thread, one for each process: it is started at the first need, and anew in a forked child (review 5). Nothing is
written twice: each operation below is the authority's own, waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from sessile.authority import Authority
from sessile.checks import run_now
from sessile.data import SessionData
from sessile.errors import StoreUnavailable
from sessile.kernel.decide import NOTHING_MORE, Active, Denied, Requirement
from sessile.kernel.principal import Principal
from sessile.kernel.session import Client
from sessile.nhi.budgets import Budgets
from sessile.nhi.traces import Traces
from sessile.signing_in import SignIn

P = ParamSpec("P")
T = TypeVar("T")

_ABANDONED: list[object] = []
"""What a forked child leaves as it is: closing it would touch what the parent is using."""


class _Loop:
    """The event loop of this process, in a thread of its own."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def wait(self, awaitable: Awaitable[T]) -> T:
        """The result of an awaitable, waited for in this thread. Raises what it raises."""
        loop = self._running()
        if threading.current_thread() is self._thread:
            raise RuntimeError("this runs on the loop of the sync face, which would wait for itself: await it")
        future = asyncio.run_coroutine_threadsafe(_awaited(awaitable), loop)
        try:
            return future.result()
        except BaseException:
            # A worker that is interrupted. An ending that has begun is carried through all the same.
            future.cancel()
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        loop = self._loop
        if loop is None:
            with self._lock:
                loop = self._loop
                if loop is None:
                    loop = asyncio.new_event_loop()
                    # A daemon: it keeps no program from ending. What was acknowledged is in the store by then.
                    self._thread = threading.Thread(target=loop.run_forever, name="sessile-loop", daemon=True)
                    self._thread.start()
                    self._loop = loop
        return loop

    def abandon(self) -> None:
        """In a forked child: the thread stayed behind, the loop's sockets are the parent's too."""
        _ABANDONED.append(self._loop)
        self._lock = threading.Lock()
        self._loop = self._thread = None


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


_LOOP = _Loop()
wait = _LOOP.wait
"""Wait in this thread for anything that is awaited, on the loop of the sync face: `wait(totp.confirm(…))`."""


def waits(method: Callable[Concatenate[Any, P], Awaitable[T]], of: str) -> Callable[Concatenate[Any, P], T]:
    """The sync form of a method of the object that is `self`'s attribute `of`: the same signature and description."""

    def waiting(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return wait(method(getattr(self, of), *args, **kwargs))

    functools.update_wrapper(waiting, method)
    return waiting


class SyncSignIn:
    """A fenced attempt to sign in; see `sessile.SignIn`."""

    def __init__(self, attempt: SignIn) -> None:
        self.attempt = attempt

    @property
    def name(self) -> str:
        return self.attempt.name

    @property
    def principal(self) -> Principal | None:
        """Who it is about; None for a name that is new."""
        return self.attempt.principal

    begin = waits(SignIn.begin, "attempt")
    failed = waits(SignIn.failed, "attempt")


class SyncAuthority:
    """An `Authority` for code that does not await: `SyncAuthority(Authority("sqlite:///sessile.db"))`.

    Making it does no I/O. It opens itself at the first need; `with authority:` opens and closes it. Any thread may
    call, and any number of these may stand on one authority, which must not be used on another event loop besides.
    What is not named here is `authority.wait(authority.authority.…)`.
    """

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        _OPEN.add(self)

    def wait(self, awaitable: Awaitable[T]) -> T:
        """See `sessile.sync.wait`."""
        return wait(awaitable)

    # -- life ---------------------------------------------------------------------------------------------------

    def open(self) -> Self:
        """See `Authority.open`."""
        wait(self.authority.open())
        return self

    close = waits(Authority.close, "authority")

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def is_open(self) -> bool:
        return self.authority.is_open

    # -- checking -----------------------------------------------------------------------------------------------

    def peek(
        self, token: str | None, *, client: Client | None = None, requirement: Requirement = NOTHING_MORE,
        touch: bool = True,
    ) -> Active | None:  # fmt: skip
        """The cached path of `check`, in this thread: Active, or None for «ask `check`». Never raises."""
        return self.authority.peek(token, client=client, requirement=requirement, touch=touch)

    def check(
        self, token: str | None, *, client: Client | None = None, requirement: Requirement = NOTHING_MORE,
        touch: bool = True,
    ) -> Active | Denied:  # fmt: skip
        """See `Authority.check`. Only what the near cache does not know leaves this thread."""
        active = self.authority.peek(token, client=client, requirement=requirement, touch=touch)
        if active is not None:
            return active
        return wait(self.authority.check(token, client=client, requirement=requirement, touch=touch))

    # -- the rest -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def sign_in(self, name: str) -> Iterator[SyncSignIn]:
        """See `Authority.sign_in`."""
        with entered(self.authority.sign_in(name)) as attempt:
            yield SyncSignIn(attempt)

    @contextlib.contextmanager
    def data(self, active: Active, type: type[T]) -> Iterator[T]:
        """See `Authority.data`."""
        with entered(self.authority.data(active, type)) as value:
            yield value

    def session_data(self, active: Active) -> SessionData:
        """The session's data as a dict of JSON values, read when first used."""
        return SessionData(self._read_data, active.session.id)

    def _read_data(self, session_id: str) -> tuple[int, bytes]:
        store = self.authority.store
        if store.local:
            with contextlib.suppress(StoreUnavailable):  # busy: it has to be waited for
                return run_now(store.read_data(session_id))
        return wait(store.read_data(session_id))

    begin = waits(Authority.begin, "authority")
    delegate = waits(Authority.delegate, "authority")
    mint_key = waits(Authority.mint_key, "authority")
    rotate_key = waits(Authority.rotate_key, "authority")
    impersonate = waits(Authority.impersonate, "authority")
    budget = waits(Authority.budget, "authority")
    set_budget = waits(Authority.set_budget, "authority")
    last_uses = waits(Authority.last_uses, "authority")
    rotate = waits(Authority.rotate, "authority")
    elevate = waits(Authority.elevate, "authority")
    touch = waits(Authority.touch, "authority")
    revoke = waits(Authority.revoke, "authority")
    contain = waits(Authority.contain, "authority")
    containment = waits(Authority.containment, "authority")
    disable = waits(Authority.disable, "authority")
    enable = waits(Authority.enable, "authority")
    delete = waits(Authority.delete, "authority")
    erase = waits(Authority.erase, "authority")
    end = waits(Authority.end, "authority")
    sessions = waits(Authority.sessions, "authority")
    session = waits(Authority.session, "authority")
    principal = waits(Authority.principal, "authority")
    register = waits(Authority.register, "authority")
    set_policy = waits(Authority.set_policy, "authority")
    park = waits(Authority.park, "authority")
    parked = waits(Authority.parked, "authority")
    resume = waits(Authority.resume, "authority")
    drop = waits(Authority.drop, "authority")
    ask_approval = waits(Authority.ask_approval, "authority")
    approvals = waits(Authority.approvals, "authority")
    approval = waits(Authority.approval, "authority")
    approve = waits(Authority.approve, "authority")
    refuse = waits(Authority.refuse, "authority")
    use_approval = waits(Authority.use_approval, "authority")

    def _after_fork(self) -> None:
        """Closed, as far as this process knows: the next call opens it on a loop of its own. What was counted in the
        parent is the parent's to report, and a lock of then may be held by a thread that stayed there."""
        authority = self.authority
        _ABANDONED.append(dict(vars(authority)))
        authority._upkeep = None
        authority._opening = asyncio.Lock()
        authority.traces, authority.budgets = Traces(authority.clock), Budgets(authority.clock)


@contextlib.contextmanager
def entered(context: contextlib.AbstractAsyncContextManager[T]) -> Iterator[T]:
    """An async context manager, entered and left from this thread."""
    value = wait(context.__aenter__())
    try:
        yield value
    except BaseException:
        if not wait(context.__aexit__(*sys.exc_info())):
            raise
    else:
        wait(context.__aexit__(None, None, None))


_OPEN: weakref.WeakSet[SyncAuthority] = weakref.WeakSet()


def _in_child() -> None:
    _LOOP.abandon()
    for one in tuple(_OPEN):
        one._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
