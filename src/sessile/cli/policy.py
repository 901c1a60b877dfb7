"""`sessile policy`: the rules in words, and what they make of a session."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import msgspec
import typer

from sessile.cli.common import Cli, bold, command, group, local
from sessile.cli.show import session_json, state
from sessile.errors import NotFound
from sessile.kernel.policy import Policy
from sessile.kernel.reason import Reason
from sessile.kernel.session import SessionInfo
from sessile.server.rules import sentences

app = group("Policies: the rules in force.")


@command(app, "show")
async def show(
    cli: Cli,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this one.", show_default=False)] = None,
) -> None:
    """Say the policies in words."""
    async with cli.authority() as authority:
        policies = [policy for policy in await authority.store.policies() if name in (None, policy.name)]
    if not policies:
        raise NotFound(f"no policy is named {name!r}: `sessile policy show` lists them")
    if cli.json:
        cli.emit({"items": [policy_json(policy) for policy in policies], "next": None})
        return
    for n, policy in enumerate(policies):
        if n:
            cli.say()
        cli.say(bold(f"{policy.name}, version {policy.version}, from the preset {policy.preset}"))
        for sentence in sentences(policy):
            cli.say(f"  {sentence}")


@command(app, "explain")
async def explain(
    cli: Cli, session: Annotated[str, typer.Argument(metavar="ID", help="ses_…", show_default=False)]
) -> None:
    """Say why a session is alive, or why it is not."""
    chain: list[SessionInfo] = []
    async with cli.authority() as authority:
        found = await authority.session(session)
        above = found.parent
        while above is not None and len(chain) < 8:
            chain.append(await authority.session(above))
            above = chain[-1].parent
        policy = await authority.store.policy(found.policy)
    why = _why(found, chain)
    if cli.json:
        cli.emit(
            {
                "live": found.live,
                "reason": found.reason,
                "cure": found.reason.cure if found.reason else None,
                "because": why,
                "session": session_json(found),
                "ancestors": [session_json(one) for one in chain],
                "policy": None if policy is None else policy_json(policy),
            }
        )
        return
    if found.reason is None:
        cli.say(bold(f"{found.id} is live."))
    else:
        cli.say(bold(f"{found.id} is denied: {found.reason} (cure: {found.reason.cure})."))
    for line in why:
        cli.say(f"  {line}")
    for one in chain:
        cli.say(f"  It hangs on {one.id} ({one.principal}), which is {state(one)}.")


def _why(session: SessionInfo, chain: list[SessionInfo]) -> list[str]:
    if session.reason is None:
        lines = [f"It ends at {local(session.expires)} at the latest."]
        if session.idle_expires is not None:
            lines.append(
                f"Without an act of {session.principal or 'its holder'} it ends at {local(session.idle_expires)}."
            )
        return lines
    if session.ended is not None:
        return [f"It was ended at {local(session.ended)} by {session.ended_by}: {session.cause}."]
    dead = next((one for one in chain if not one.live), None)
    if dead is not None:
        return [f"It died with {dead.id} of {dead.principal}: {state(dead)}."]
    return [
        {
            Reason.IDLE: f"Nobody acted in it since {local(session.last_seen)}; it went idle at"
            f" {local(session.idle_expires)}.",
            Reason.EXPIRED: f"It reached its limit at {local(session.expires)}.",
            Reason.DISABLED: f"{session.principal} is disabled: `sessile user enable` lets it sign in anew.",
            Reason.REVOKED: f"All sessions of {session.principal}, or everybody's, were ended after it began:"
            f" `sessile audit tail --principal {session.principal}` says when and by whom.",
        }.get(session.reason, "Its record or that of a session it hangs on is gone.")
    ]


def policy_json(policy: Policy) -> dict[str, object]:
    """All fields, lifetimes in seconds."""
    return {
        name: value.total_seconds() if isinstance(value, timedelta) else value
        for name, value in msgspec.structs.asdict(policy).items()
    }
