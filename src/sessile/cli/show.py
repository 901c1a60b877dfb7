"""Principals, sessions, receipts and events in words and in JSON. The JSON has the names that the HTTP API has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sessile.cli.common import Cli, bold, clean, count, exactly, faint, local, minute, utc
from sessile.kernel.event import Event
from sessile.kernel.principal import OPERATOR, Principal
from sessile.kernel.reason import Reason
from sessile.kernel.session import Client, SessionInfo
from sessile.kernel.work import Work
from sessile.receipt import Receipt
from sessile.stores.protocol import Erased
from sessile.web.client import device_label

SESSION_COLUMNS = ("SESSION", "PRINCIPAL", "KIND", "CLIENT", "BEGAN", "LAST SEEN", "UNTIL", "STATE")


def principal_json(principal: Principal, owner: str | None) -> dict[str, Any]:
    return {
        "id": principal.name,
        "uid": principal.uid,
        "kind": principal.kind,
        "status": principal.status,
        "role": role(principal),
        "scopes": sorted(principal.scopes),
        "policy": principal.policy,
        "owner": owner,
        "purpose": principal.purpose,
        "created": utc(principal.created),
    }


def role(principal: Principal) -> str | None:
    return OPERATOR if OPERATOR in principal.scopes else None


def session_json(session: SessionInfo) -> dict[str, Any]:
    return {
        "id": session.id,
        "principal": session.principal,
        "kind": session.kind,
        "live": session.live,
        "reason": session.reason,
        "parent": session.parent,
        "origin": session.origin,
        "policy": session.policy,
        "assurance": session.assurance,
        "authentications": [{"method": a.method, "at": utc(a.at)} for a in session.authentications],
        "created": utc(session.created),
        "last_seen": utc(session.last_seen),
        "idle_expires": utc(session.idle_expires),
        "expires": utc(session.expires),
        "scopes": sorted(session.scopes),
        "client": client_json(session.client),
        "device_bound": session.client.device_key is not None,
        "label": session.label,
        "ended": utc(session.ended),
        "cause": session.cause,
        "ended_by": session.ended_by,
    }


def client_json(client: Client) -> dict[str, Any]:
    return {"label": client.label, "ip": client.ip, "user_agent": client.user_agent}


def client(session: SessionInfo) -> str:
    """What a person knows the session by."""
    if session.label or session.client.label:
        return session.label or session.client.label
    return device_label(session.client.user_agent) if session.client.user_agent else "-"


def state(session: SessionInfo) -> str:
    """`live`, or how it came to be over."""
    if session.live:
        return "live"
    if session.ended is not None:
        return f"ended: {session.cause}"
    return f"over: {session.reason}"


def until(session: SessionInfo) -> str:
    """The end of it: what was, or the nearer of its limits if nobody acts."""
    if session.ended is None and session.reason not in (None, Reason.IDLE, Reason.EXPIRED):
        return "-"
    return minute(session.ended or min(filter(None, (session.expires, session.idle_expires))))


def session_row(session: SessionInfo) -> tuple[str, ...]:
    return (
        session.id, session.principal or "-", session.kind, client(session), minute(session.created),
        minute(session.last_seen), until(session), state(session),
    )  # fmt: skip


def session_facts(session: SessionInfo) -> dict[str, object]:
    """All of one session, for people."""
    return {
        "session": session.id,
        "state": state(session),
        "principal": session.principal or "nobody (anonymous)",
        "kind": session.kind,
        "client": client(session),
        "address": session.client.ip,
        "assurance": session.assurance,
        "proved by": ", ".join(f"{a.method} at {local(a.at)}" for a in session.authentications),
        "scopes": " ".join(sorted(session.scopes)) or "none",
        "policy": session.policy,
        "parent": session.parent,
        "origin": session.origin if session.origin != session.parent else None,
        "began": local(session.created),
        "last seen": local(session.last_seen),
        "idle until": local(session.idle_expires) if session.live else None,
        "until": local(session.expires) if session.ended is None else None,
        "ended": local(session.ended),
        "ended by": session.ended_by,
    }


def waiting_json(work: Work, names: Mapping[str, str]) -> dict[str, Any]:
    """What waits. What it says is its person's."""
    return {
        "id": work.id,
        "kind": work.kind,
        "principal": names.get(work.uid),
        "name": work.name,
        "type": work.type,
        "session": work.session,
        "begun": utc(work.begun),
        "until": utc(work.until),
        "state": work.state,
        "giver": names.get(work.giver or ""),
        "given": utc(work.given),
    }


def waiting_row(work: Work, names: Mapping[str, str]) -> tuple[str, ...]:
    state = work.state if work.giver is None else f"given by {names.get(work.giver, '-')}"
    return (
        work.id, work.kind, names.get(work.uid, "-"), work.name, minute(work.begun), minute(work.until), state,
    )  # fmt: skip


def receipt_json(receipt: Receipt, subject: str) -> dict[str, Any]:
    return {
        "subject": subject,
        "revoked": receipt.revoked,
        "cause": receipt.cause,
        "by": receipt.by,
        "at": utc(receipt.at),
        "effective": utc(receipt.effective),
        "reach": receipt.reach,
        "durable": receipt.durable,
        "sessions": list(receipt.sessions),
        "answers_for": list(receipt.answers_for),
        "handed_out": [session_json(session) for session in receipt.handed_out],
        "erased": None if receipt.erased is None else erased_json(receipt.erased),
    }


def erased_json(erased: Erased) -> dict[str, Any]:
    return {"uid": erased.uid, "sessions": erased.sessions, "events": erased.events, "at": utc(erased.at)}


def say_erased(cli: Cli, erased: Erased) -> None:
    """What was erased of somebody."""
    cli.say(
        f"Erased what named {erased.uid}: in {count(erased.sessions, 'session')} and {count(erased.events, 'event')}."
        " What the record shows of it by now is this identifier."
    )


def say_receipt(cli: Cli, receipt: Receipt, subject: str) -> None:
    """The receipt of an ending: how many, since when, and how far it reaches."""
    if cli.json:
        cli.emit(receipt_json(receipt, subject))
        return
    cli.say(bold(_ended(receipt, subject)))
    reach = {"engine": "every process on this database", "quorum": "every node, by a majority of the database"}
    cli.facts(
        {
            "accepted nowhere since": exactly(receipt.effective),
            "reach": f"{receipt.reach}: {reach[receipt.reach]}",
            "durable": "yes" if receipt.durable else "in the directory; where the sessions are, in memory",
            "cause": receipt.cause,
            "by": receipt.by,
        }
    )
    if receipt.handed_out:
        cli.say()
        cli.say(f"Still alive, handed out earlier: {count(len(receipt.handed_out), 'key or lease')}.")
        for session in receipt.handed_out:
            cli.say(clean(f"  {session.id}  {session.kind} of {session.principal}, until {local(session.expires)}"))
        cli.say("End one with: sessile sessions revoke ID")
    if receipt.answers_for:
        cli.say()
        cli.say(clean(f"Nobody answers now for: {' '.join(receipt.answers_for)}"))
        cli.say(f"Give each another owner with: sessile user change {receipt.answers_for[0]} --owner NAME")
    if receipt.erased is not None:
        say_erased(cli, receipt.erased)


def _ended(receipt: Receipt, subject: str) -> str:
    n = receipt.revoked
    if n == 0:
        return f"Nothing of {subject} was alive."
    if subject.startswith("ses_"):
        # Here the descendants are in the count, with a principal they are not.
        below = f", and {count(n - 1, 'session')} below it" if n is not None and n > 1 else ""
        return f"{subject} is over{below}."
    what = "All sessions" if n is None else count(n, "session")
    one = n == 1
    return f"{what} of {subject} {'is' if one else 'are'} over, and whatever hung on {'it' if one else 'them'}."


def event_json(event: Event) -> dict[str, Any]:
    return {
        "seq": event.seq,
        "at": utc(event.at),
        "name": event.name,
        "principal": event.principal,
        "uid": event.uid,
        "session": event.session,
        "by": {"name": event.by.name, "session": event.by.session, "client": client_json(event.by.client)},
        "cause": event.cause,
        "details": event.details,
    }


def event_line(event: Event) -> str:
    """One line: when, what, to whom, by whom and why."""
    about = event.principal or ("everybody" if event.name.startswith("everyone") else "-")
    by = event.by.name if event.by.name != event.principal else ""
    rest = [
        f"by {by}" if by else "",
        event.cause or "",
        event.session or "",
        event.by.client.ip or "",
        " ".join(f"{key}={_plain(value)}" for key, value in event.details.items() if key != "sessions"),
    ]
    line = f"{local(event.at)}  {event.name:<22}  {about:<16}  "
    return clean(line) + faint(clean("  ".join(part for part in rest if part)))


def _plain(value: str | int | list[str]) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)
