"""A sign-in under way: what was in force before the credential was looked at must still be when the session begins."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sessile.kernel.assurance import Method
from sessile.kernel.decide import Active
from sessile.kernel.event import Actor, Event, EventName
from sessile.kernel.issue import Fence, Idle, positive
from sessile.kernel.principal import Principal, check_scopes
from sessile.kernel.session import Client, SessionKind
from sessile.kernel.token import TokenKind
from sessile.receipt import Issued

if TYPE_CHECKING:
    from sessile.authority import Authority


class SignIn:
    """A fenced attempt to sign in: `principal` is who it is about, None for a name that is new."""

    def __init__(
        self, authority: Authority, begin: Callable[..., Awaitable[Issued]], name: str, principal: Principal | None,
        fence: Fence | None,
    ) -> None:  # fmt: skip
        self._authority = authority
        self._begin = begin
        self._fence = fence
        self.name = name
        self.principal = principal

    async def begin(
        self, *, method: Method | str, second: Method | str | None = None, client: Client | None = None,
        scopes: Iterable[str] | None = None, replaces: Active | None = None, lifetime: timedelta | None = None,
        proved: datetime | None = None, resumes: Idle | None = None, wait: bool = False,
    ) -> Issued:  # fmt: skip
        """The person has proved itself by `method`, and by `second` where that was asked for too: begin the session.

        `replaces`: the session that this browser presented; it ends, so that none is left dangling. `wait`: return when
        no node accepts any more what this ended (that one, and those for which the policy leaves no room); otherwise
        `effective` names the instant. `proved`: when the person did, if not just now (an import): an aware instant,
        from which freshness and the overall limit count.
        `resumes`: what `Authority.idle` said of the token that this browser presented. If it is this person's session
        at assurance 2, over by inactivity alone, a password is enough to be at assurance 2 again, until that session's
        overall limit (63B-4, 2.2.3). It is a new session all the same: what hung on the old one is over.

        Raises:
            Conflict: the principal was disabled, or its password or epoch changed since the attempt began.
            Refused, LimitExceeded, ValueError: see `Authority.begin`.
        """
        methods = (Method(method),) if second is None else (Method(method), Method(second))
        if proved is not None and proved.tzinfo is None:
            raise ValueError("proved is an aware instant, such as datetime.now(UTC)")
        if self.principal is None:
            self.principal = await self._authority.register(self.name)
        return await self._begin(
            SessionKind.BROWSER, TokenKind.BROWSER, uid=self.principal.uid, methods=methods,
            scopes=None if scopes is None else check_scopes(scopes), client=client, fence=self._fence,
            replaces=replaces.session.id if replaces else resumes.session if resumes else None,
            resumes=resumes.digest if resumes and not replaces else None, lifetime=positive(lifetime), proved=proved,
            wait=wait,
        )  # fmt: skip

    async def failed(self, cause: str, *, client: Client | None = None) -> None:
        """Record that the credential was wrong."""
        known = self.principal
        await self._authority.store.record(
            Event(
                name=EventName.SIGN_IN_FAILED,
                principal=known.name if known else None,
                uid=known.uid if known else None,
                by=Actor(name=self.name, uid=known.uid if known else None, client=client or Client()),
                cause=cause,
            )
        )
