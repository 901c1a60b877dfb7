"""`sessile user`: who may sign in, and who may not."""

from __future__ import annotations

import getpass
import sys
from typing import Annotated

import typer

from sessile.authority import Authority
from sessile.cli.common import BadUsage, Cli, by, command, every, group, local, minute
from sessile.cli.counting import counting
from sessile.cli.show import erased_json, principal_json, role, say_erased, say_receipt
from sessile.errors import Conflict, NotFound
from sessile.factors.addresses import Addresses, check_address
from sessile.factors.links import LIVES, Links, Purpose
from sessile.factors.password import MAXIMUM, MINIMUM, Passwords
from sessile.kernel.principal import EVERYTHING, OPERATOR, Principal, PrincipalKind, canonical, kind_of
from sessile.web.hosts import configured_origin

HERE = "http://localhost:8000"
"""Where a server is that was started without more."""
app = group("People, services and agents: who may sign in.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="alice, service:ci, agent:deploy", show_default=False)]
PasswordStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")
]


@command(app, "add")
async def add(
    cli: Cli, name: Name, password_stdin: PasswordStdin = False,
    roles: Annotated[list[str], typer.Option("--role", metavar="operator", help="May do all, to everybody.")] = [],  # noqa: B006
    scopes: Annotated[list[str], typer.Option("--scope", metavar="SCOPE", help="Only these. Repeat it.")] = [],  # noqa: B006
    owner: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who answers for a service or an agent: a person, or team:NAME.")
    ] = None,
    purpose: Annotated[str, typer.Option(metavar="TEXT", help="What a service or an agent is for.")] = "",
    emails: Annotated[list[str], typer.Option("--email", metavar="ADDRESS", help="For notices. Repeat it.")] = [],  # noqa: B006
) -> None:  # fmt: skip
    """Add somebody. A person gets a password; a service or an agent gets an owner and a purpose instead.

    Makes the database if there is none. The password is asked for twice, or read with --password-stdin; it is
    never part of the command. A server with mail sends a link to each address, which counts once it was opened.
    """
    name = canonical(name)
    emails = [check_address(one) for one in emails]
    person = kind_of(name) is PrincipalKind.HUMAN
    if unknown := set(roles) - {OPERATOR}:
        raise BadUsage(f"there is one role, {OPERATOR}; for {', '.join(sorted(unknown))} use --scope")
    if not person and (password_stdin or roles):
        raise BadUsage("services and agents have no password and no role: people hand them keys and delegations")
    if not person and scopes:
        raise BadUsage("services and agents hold no scope of their own: `sessile key mint --scope` gives a key its")
    if not person and emails:
        raise BadUsage("services and agents have no address: whoever answers for them has")
    if person and (owner or purpose):
        raise BadUsage("people answer for themselves: --owner and --purpose go with a service or an agent")
    if not person and not owner:
        raise BadUsage("every service and agent has an owner: say who answers for it, --owner NAME or team:NAME")
    if not person and not purpose.strip():
        raise BadUsage('say what it is for, in a few words: --purpose "builds and tests every push"')
    async with cli.authority(create=True) as authority:
        if await authority.store.principal(name=name) is not None:
            raise Conflict(f"{name} exists: `sessile user passwd {name}` sets a new password")
        passwords = Passwords(authority)
        # Asked and judged before anything is written.
        password = passwords.check_rules(_ask(name, stdin=password_stdin), name=name) if person else None
        held = set(scopes) | ({OPERATOR} if roles else set())
        if roles and not scopes:
            held.add(EVERYTHING)
        principal = await authority.register(name, scopes=held or None, owner=owner, purpose=purpose, by=by())
        for one in emails:
            await Addresses(authority, Links(authority)).add(principal, one, by=by())
        if password is not None:
            await passwords.set(name, password, by=by())
        if cli.json:
            cli.emit(principal_json(principal, await _owner(authority, principal)))
        elif person:
            cli.say(f"{name} can sign in{' as an operator' if roles else ''}.")
        else:
            cli.say(f"{name} is registered. A key for it: sessile key mint --owner {name} --scope … --by YOU")


@command(app, "list")
async def list_(
    cli: Cli,
    kind: Annotated[PrincipalKind | None, typer.Option(help="Only these.")] = None,
    search: Annotated[str, typer.Option(metavar="TEXT", help="Only names with this in them.")] = "",
) -> None:  # fmt: skip
    """List principals by name."""
    async with cli.authority() as authority:
        found = [
            one async for one in every(lambda after: authority.store.principals(kind=kind, search=search, after=after))
        ]
        owners = {one.uid: await _owner(authority, one) for one in found}
    if cli.json:
        cli.emit({"items": [principal_json(one, owners[one.uid]) for one in found], "next": None})
    else:
        cli.table(
            ("NAME", "KIND", "STATUS", "ROLE", "OWNER", "SINCE"),
            (
                (one.name, one.kind, one.status, role(one) or "-", owners[one.uid] or "-", minute(one.created))
                for one in found
            ),
        )


@command(app, "show")
async def show(cli: Cli, name: Name) -> None:
    """Show one principal, and how many live sessions it has."""
    async with cli.authority() as authority:
        one = await authority.principal(name)
        owner = await _owner(authority, one)
        live = 0
        async for _ in every(lambda after: authority.sessions(principal=one.name, after=after)):
            live += 1
        answers_for = [other.name for other in await authority.owned(one.uid)]
        teams = [team.name async for team in every(lambda after: authority.store.teams(member=one.uid, after=after))]
    if cli.json:
        cli.emit(principal_json(one, owner) | {"live_sessions": live, "answers_for": answers_for, "teams": teams})
    else:
        cli.facts(
            {
                "name": one.name,
                "kind": one.kind,
                "status": one.status,
                "role": role(one),
                "scopes": " ".join(sorted(one.scopes)) or "none of its own",
                "owner": owner,
                "purpose": one.purpose,
                "answers for": " ".join(answers_for),
                "teams": " ".join(teams),
                "policy": one.policy,
                "since": local(one.created),
                "identifier": one.uid,
                "live sessions": live,
            }
        )


@command(app, "disable")
async def disable(
    cli: Cli, name: Name,
    cause: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")] = "disabled",
) -> None:  # fmt: skip
    """Keep somebody out: no sign-in, and every session is over. Living keys it handed out are named."""
    async with cli.authority() as authority:
        say_receipt(cli, await authority.disable(name, cause=cause, by=by()), canonical(name))
    cli.say(f"Let in again with: sessile user enable {canonical(name)}")


@command(app, "enable")
async def enable(cli: Cli, name: Name) -> None:
    """Let somebody sign in again. What had ended stays ended."""
    async with cli.authority() as authority:
        await authority.enable(name, by=by())
        one = await authority.principal(name)
        if cli.json:
            cli.emit(principal_json(one, await _owner(authority, one)))
    cli.say(f"{one.name} can sign in again. What had ended stays ended.")


@command(app, "delete")
async def delete(
    cli: Cli, name: Name,
    erase: Annotated[bool, typer.Option("--erase", help="Also take what names it out of all that is kept.")] = False,
    cause: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")] = "deleted",
) -> None:  # fmt: skip
    """Remove somebody for good: no sign-in, every session over, passwords and factors gone, the name free again.

    What somebody did stays in the record under the name. With --erase, names, addresses, user agents and labels go from
    there and from everywhere else; the identifier stays, and `sessile audit verify` still proves the record. It cannot
    be undone. Of somebody who was deleted before, give the identifier (prn_…) instead of the name.
    """
    async with cli.authority() as authority:
        if name.startswith("prn_") and await authority.store.principal(name=canonical(name)) is None:
            if not erase:
                raise BadUsage(f"nobody is named {name}: an identifier goes with --erase")
            erased = await authority.erase(name, cause=cause, by=by())
            if cli.json:
                cli.emit(erased_json(erased))
            else:
                say_erased(cli, erased)
        else:
            say_receipt(cli, await authority.delete(name, cause=cause, erase=erase, by=by()), canonical(name))


@command(app, "passwd")
async def passwd(
    cli: Cli, name: Name, password_stdin: PasswordStdin = False,
    link: Annotated[bool, typer.Option("--link", help="Set none: print a link to set one with.")] = False,
    void: Annotated[bool, typer.Option("--void", help="With --link: the old one lets nobody in from now on.")] = False,
    origin: Annotated[str, typer.Option(metavar="URL", help="With --link: where browsers reach the server.")] = HERE,
) -> None:  # fmt: skip
    """Set a person's password. Every session of the person ends.

    With --link nobody but the person knows it: the link works once, for 15 minutes, and whoever has a second factor
    needs it as well. Hand it over by a way that you trust. With --void as well, for a password that is in other hands:
    it counts no more, whether or not the link is followed, and every session is over at once.
    """
    if link and password_stdin:
        raise BadUsage("a link sets no password by itself: leave out --password-stdin")
    if not link and (void or origin != HERE):
        raise BadUsage("--origin and --void go with --link")
    async with cli.authority() as authority:
        one = await authority.principal(name)
        if one.kind is not PrincipalKind.HUMAN:
            raise BadUsage("services and agents have no password")
        if link:
            if void:
                await Passwords(authority, throttle=await counting(cli, authority)).void(one.name, by=by())
            # Only here: it brings what second factors need, and no other of these commands does.
            from sessile.factors.reset import operators_link

            url = f"{configured_origin(origin)}/reset/{await operators_link(authority, one.name, by=by())}"
            minutes = int(LIVES[Purpose.PASSWORD].total_seconds() // 60)
            if cli.json:
                cli.emit({"link": url, "minutes": minutes})
            else:
                cli.say(url)
                cli.note(f"for {one.name} alone: it works once, for {minutes} minutes, and ends every session")
            return
        password = _ask(one.name, stdin=password_stdin)
        passwords = Passwords(authority, throttle=await counting(cli, authority))
        receipt = await passwords.set(one.name, password, by=by())
    cli.say(f"{one.name} has a new password.")
    say_receipt(cli, receipt, one.name)


@command(app, "change")
async def change(
    cli: Cli, name: Name,
    owner: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who answers for it from now on: a person, or team:NAME.")
    ] = None,
    purpose: Annotated[str | None, typer.Option(metavar="TEXT", help="What it is for.")] = None,
) -> None:  # fmt: skip
    """Change who answers for a service or an agent, and what it is for. Ends nothing."""
    async with cli.authority() as authority:
        one = await authority.principal(name)
        if owner is not None and one.kind is PrincipalKind.HUMAN:
            raise BadUsage("people answer for themselves: --owner goes with a service or an agent")
        if owner is None and purpose is None:
            raise BadUsage("say what is to change: --owner NAME, --purpose TEXT")
        one = await authority.describe(name, owner=owner, purpose=purpose, by=by())
        named = await _owner(authority, one)
    if cli.json:
        cli.emit(principal_json(one, named))
    cli.say(f"{named or 'Nobody'} answers for {one.name}.")


async def _owner(authority: Authority, principal: Principal) -> str | None:
    owner = await authority.owner(principal)
    return None if owner is None else owner.name


def ask_once(name: str, *, stdin: bool) -> str:
    """A password that exists. Raises BadUsage without a way to ask."""
    if stdin:
        return _line()
    if not sys.stdin.isatty():
        raise BadUsage("there is no terminal to ask for the password at: pipe it in with --password-stdin")
    return getpass.getpass(f"Password of {name}: ")


def _ask(name: str, *, stdin: bool) -> str:
    """A new password: twice at a terminal, so that a slip of the finger locks nobody out."""
    if stdin or not sys.stdin.isatty():
        return ask_once(name, stdin=stdin)
    print(f"At least {MINIMUM} characters, at most {MAXIMUM}; a few words together make a good one.", file=sys.stderr)
    first = getpass.getpass(f"New password of {name}: ")
    if getpass.getpass("The same again: ") != first:
        raise BadUsage("the two differ: nothing was changed")
    return first


def _line() -> str:
    read = sys.stdin.readline(8 * 1024)
    if not read:
        raise NotFound("standard input is empty: pipe the password in, one line")
    return read.rstrip("\r\n")
