"""Words put together from `texts`: counts, times, and why somebody was signed out.

Templates know it as `t`: ``env.globals["t"] = TEXTS``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sessile.kernel.assurance import Authentication
from sessile.kernel.containment import Reached
from sessile.kernel.decide import Denied
from sessile.kernel.event import Event, EventName
from sessile.kernel.reason import Reason
from sessile.kernel.session import SessionInfo, SessionKind
from sessile.nhi.blast import Living
from sessile.nhi.inventory import Held
from sessile.server.texts import Texts

NOUNS: Final[Mapping[str, str]] = {
    SessionKind.BROWSER: "session", SessionKind.DELEGATED: "delegation", SessionKind.KEY: "key",
    SessionKind.LEASE: "lease",
}  # fmt: skip
"""Keys of `counted`, by kind of session."""
ENDED: Final = (".revoked", ".contained", ".disabled", ".deleted", ".failed", ".refused")
ALARMING: Final = frozenset({"sign_in.guessing", "session.replayed"})


@dataclass(frozen=True, slots=True)
class Wording(Texts):
    """The texts, and what makes sentences of them. Times are aware datetimes, shown in UTC."""

    def count(self, n: int, noun: str) -> str:
        """`1 session`, `14 sessions`. The noun is a key of `counted`."""
        one, many = self.counted[noun]
        return (one if n == 1 else many).format(n=f"{n:,}")

    def listing(self, parts: Sequence[str]) -> str:
        """`a`, `a and b`, `a, b and c`."""
        return self.and_.join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)

    def span(self, length: timedelta) -> str:
        """The length in its largest whole unit, rounded down: `59 minutes`, `3 hours`, `2 days`."""
        n = max(0, int(length.total_seconds()))
        return self._in_units(n, next((size for size in (86400, 3600, 60) if n >= size), 1))

    def limit(self, length: timedelta) -> str:
        """A lifetime of a policy, not rounded: `90 minutes`, `12 hours`."""
        n = int(length.total_seconds())
        return self._in_units(n, next((size for size in (86400, 3600, 60) if n >= size and n % size == 0), 1))

    def _in_units(self, seconds: int, size: int) -> str:
        one, many = {86400: self.days, 3600: self.hours, 60: self.minutes, 1: self.seconds}[size]
        n = seconds // size
        return (one if n == 1 else many).format(n=n)

    def wait(self, length: timedelta) -> str:
        """How long to wait, in its largest unit, rounded up: `2 seconds`, `6 minutes`."""
        n = max(1, int(length.total_seconds()))
        size = next((size for size in (3600, 60) if n > size), 1)
        return self._in_units(-(-n // size) * size, size)

    def ago(self, then: datetime, now: datetime) -> str:
        """`just now`, `5 minutes ago`; never a time to come, whatever the clocks say."""
        length = now - then
        return self.now if length < timedelta(minutes=1) else self.ago_.format(span=self.span(length))

    def ahead(self, then: datetime, now: datetime) -> str:
        """`in 7 hours`, `in less than a minute`, `over`."""
        length = then - now
        if length <= timedelta(0):
            return self.past
        return self.soon if length < timedelta(minutes=1) else self.ahead_.format(span=self.span(length))

    def moment(self, then: datetime, now: datetime) -> str:
        """`24 Nov, 14:03 UTC`; with its year if that is not this one."""
        utc = then.astimezone(UTC)
        year = "" if utc.year == now.astimezone(UTC).year else f" {utc.year}"
        return f"{utc.day} {self.months[utc.month - 1]}{year}, {utc:%H:%M} UTC"

    def instant(self, then: datetime) -> str:
        """As `moment`, to the millisecond, rounded up: a receipt never names too early an instant."""
        utc = then.astimezone(UTC)
        utc += timedelta(microseconds=-utc.microsecond % 1000)
        return f"{utc.day} {self.months[utc.month - 1]} {utc.year}, {utc:%H:%M:%S}.{utc.microsecond // 1000:03} UTC"

    def clock(self, then: datetime, now: datetime) -> str:
        """`14:03 UTC`, or as `moment` if that was not today."""
        utc = then.astimezone(UTC)
        return f"{utc:%H:%M} UTC" if utc.date() == now.astimezone(UTC).date() else self.moment(then, now)

    def iso(self, then: datetime) -> str:
        """RFC 3339 in UTC, for the `datetime` attribute."""
        return then.astimezone(UTC).isoformat().replace("+00:00", "Z")

    def methods(self, authentications: Iterable[Authentication]) -> str:
        """`password and app code`, each method once, in the order of its first use."""
        return self.listing(list(dict.fromkeys(self.session.method[a.method] for a in authentications)))

    def session_name(self, session: SessionInfo) -> str:
        """Its label, or its device's, or who acts by it."""
        if session.impersonation:
            operator = session.chain[-1] if session.chain else ""
            return self.session.impersonation.format(
                operator=operator, principal=session.principal, cause=session.label
            )
        named = session.label or session.client.label
        return named or (
            self.session.unnamed if session.kind == "browser" else session.principal or self.session.unnamed
        )

    def device(self, label: str) -> str:
        """What to draw for a client: a key of the icons."""
        return "phone" if any(name in label for name in ("iPhone", "Android")) else "browser"

    def tone(self, event: Event) -> str:
        """`danger` for what ended something or failed: how its point on a line of events is drawn."""
        name = str(event.name)
        return "danger" if name.endswith(ENDED) or name in ALARMING else ""

    def kinds(self, counts: Mapping[str, int]) -> str:
        """`2 sessions, 3 delegations and 1 key`, of counts by kind of session; empty where there is none."""
        parts = [self.count(counts[kind], noun) for kind, noun in NOUNS.items() if counts.get(kind)]
        return self.listing(parts) if parts else ""

    def listed(self, infos: Sequence[SessionInfo]) -> str:
        """`kinds` of what is listed."""
        return self.kinds(Counter(info.kind for info in infos))

    def kind_of(self, one: Reached | Living | Held) -> str:
        """What it is, in one word: `Session`, `Delegation`, `Key`."""
        one_, _ = self.counted[NOUNS.get(one.kind, "session")]
        return one_.format(n="").strip().capitalize()

    def shortened(self, said: str, most: int) -> str:
        """At most so many characters, for a picture, which cannot wrap."""
        return said if len(said) <= most else said[: most - 1] + "…"

    def cause(self, cause: str) -> str:
        """A cause that Sessile gives, in words; one that a person gave, as it is."""
        return self.events.causes.get(cause, cause)

    def because(self, event: Event) -> str:
        """`by olivia: left the company`; empty where the person did it, or tried to sign in."""
        if event.name is EventName.SIGN_IN_FAILED or event.by.name == event.principal:
            return ""
        by = self.events.actors.get(event.by.name, event.by.name)
        if event.cause:
            return self.events.because.format(by=by, cause=self.cause(event.cause))
        return self.events.by.format(by=by)

    def explain(self, session: SessionInfo, above: Sequence[SessionInfo], now: datetime) -> str:
        """Why a request of this session would be let in, and until when; or why it would be denied."""
        story, name = self.story, session.principal or self.session.unnamed
        if session.live:
            overall = self.ahead(session.expires, now)
            idle = session.idle_expires
            if idle is None or idle >= session.expires:
                return story.until.format(when=overall)
            return story.until_idle.format(when=self.ahead(idle, now), overall=overall)
        if session.ended is not None:
            by = self.events.actors.get(session.ended_by or "", session.ended_by)
            cause = self.cause(session.cause or "")
            return story.ended.format(when=self.ago(session.ended, now), by=by, cause=cause)
        dead = next((one for one in above if not one.live), None) if session.parent is not None else None
        if dead is not None:
            return story.above.format(label=self.session_name(dead), name=dead.principal)
        if session.reason is Reason.IDLE:
            return story.idle.format(when=self.moment(session.last_seen, now))
        if session.reason is Reason.EXPIRED:
            return story.expired.format(when=self.moment(session.expires, now))
        return (story.disabled if session.reason is Reason.DISABLED else story.epoch).format(name=name)

    def why(
        self,
        denied: Denied,
        now: datetime,
        *,
        person: str | None = None,
        device: str = "",
        limit: timedelta | None = None,
    ) -> str:
        """The sentence for the login page.

        Args:
            person: whose session it was.
            device: the label of the client that ended it, where it was ended by the person.
            limit: the idle or overall lifetime that ran out.
        """
        land, when = self.landing, "" if denied.at is None else self.clock(denied.at, now)
        match denied.reason:
            case Reason.MISSING:
                return land.sign_in
            case Reason.IDLE | Reason.EXPIRED if limit is not None:
                return (land.idle if denied.reason is Reason.IDLE else land.expired).format(duration=self.limit(limit))
            case Reason.DISABLED:
                return land.disabled
            case Reason.REPLAYED:
                return land.replayed
            case Reason.UNBOUND:
                return land.unbound
            case Reason.REVOKED if when:
                return self._why_revoked(denied, when, person, device)
        return land.unknown

    def _why_revoked(self, denied: Denied, when: str, person: str | None, device: str) -> str:
        land = self.landing
        known = {"logout": land.signed_out, "replaced": land.replaced, "limit": land.limit, "password": land.password,
                 "recovery": land.password}  # fmt: skip
        if denied.cause in known:
            return known[denied.cause].format(when=when)
        if denied.by is not None and denied.by == person:
            return land.by_you.format(when=when, device=device) if device else land.by_you_somewhere.format(when=when)
        if denied.by is None or not denied.cause:
            return land.parent.format(when=when)
        return land.by_operator.format(when=when, cause=denied.cause)


TEXTS: Final = Wording()
