"""The words of the operator's console; a part of `texts`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sessile.server.texts_events import words


@dataclass(frozen=True, slots=True)
class Console:
    title: str = "Principals"
    intro: str = "People, services and agents, and how many sessions each has alive."
    search: str = "Search by name"
    search_submit: str = "Search"
    search_clear: str = "Show all"
    name: str = "Name"
    status: str = "Status"
    live: str = "Sessions"
    last_active: str = "Last active"
    never: str = "never active"
    more: str = "Next page"
    none: str = "No principal is called “{query}”"
    none_hint: str = "Part of the name is enough. Services begin with service: and agents with agent:."
    empty: str = "No principals yet"
    empty_hint: str = "Make the first with: sessile user add NAME --password-stdin"
    everyone: str = "Everybody"
    everyone_hint: str = (
        "For an emergency: every person is signed out, every delegation ends. Keys stay, unless you say so."
    )
    everyone_button: str = "Sign everybody out"
    kinds: Mapping[str, str] = field(default_factory=lambda: words(human="Person", service="Service", agent="Agent"))
    statuses: Mapping[str, str] = field(
        default_factory=lambda: words(active="Active", disabled="Disabled", deleted="Deleted")
    )
    operator: str = "Operator"


@dataclass(frozen=True, slots=True)
class Principal:
    back: str = "All principals"
    facts: str = "Facts"
    kind: str = "Kind"
    role: str = "Role"
    created: str = "Created"
    policy: str = "Policy"
    owner: str = "Answers for it"
    purpose: str = "Purpose"
    uid: str = "Identifier"
    sessions: str = "Live sessions"
    sessions_hint: str = "What hangs below a session was delegated from it, and ends with it."
    none: str = "No live sessions"
    none_hint: str = "Nobody acts as this principal now."
    revoke: str = "Revoke"
    revoke_label: str = "Revoke {label}, {id}"
    revoke_all: str = "Revoke all sessions"
    disable: str = "Disable"
    enable: str = "Enable"
    disabled: str = "Disabled. It cannot sign in, and none of its sessions is accepted."


@dataclass(frozen=True, slots=True)
class Story:
    """One session, for operators: what a request of it would be told now, and what became of it."""

    title: str = "Session: {name}"
    live: str = "Live"
    over: str = "Over"
    now: str = "What a request would be told now"
    let_in: str = "It would be let in."
    denied: str = "It would be denied: {reason}."
    until: str = "It ends {when} at the latest."
    until_idle: str = "It ends {when} if nobody acts in it, and {overall} at the latest."
    idle: str = "Nobody acted in it for as long as its policy allows, since {when}."
    expired: str = "It reached its limit, {when}."
    disabled: str = "{name} is disabled."
    ended: str = "It was ended {when} by {by}: {cause}."
    above: str = "It went with {label} of {name}, which it hung on."
    epoch: str = "All sessions of {name}, or everybody's, were ended after it began: the audit record says by whom."
    proved: str = "Proved by"
    client: str = "Client"
    scopes: str = "May"
    from_: str = "Handed out by"
    further: str = "and that by"
    handed_out: str = "What it handed out"
    handed_out_hint: str = "Delegations end with it. Keys outlive it."
    nothing: str = "Nothing alive"
    nothing_hint: str = "No delegation or key of this session is alive."
    open: str = "Open"
    open_label: str = "Open {label}, {id}"
    events: str = "Its story"
    no_events_hint: str = "The audit record has nothing about this session."
    rule_overall: str = "Ends {overall} after the last authentication."
    rule_idle: str = "Ends after {idle} without activity."
    rule_assurance: str = "Needs assurance {assurance}."


@dataclass(frozen=True, slots=True)
class Confirm:
    revoke_session: str = "Revoke this session of {name}?"
    revoke_principal: str = "Revoke all sessions of {name}?"
    revoke_everyone: str = "Sign everybody out?"
    disable: str = "Disable {name}?"
    enable: str = "Enable {name}?"
    ends: str = "This ends {list}."
    ends_nothing: str = "Nothing is alive now. Whatever is handed out meanwhile is refused all the same."
    can_return: str = "They can sign in again at once. To keep them out, disable them instead."
    stays_out: str = "They cannot sign in until somebody enables them. What ended stays ended."
    enable_hint: str = "They can sign in again. Nothing that ended comes back."
    keeps: str = "What stays alive: {list}. The receipt names each."
    cause: str = "Cause"
    cause_hint: str = "A few words for the audit record, such as “laptop stolen” or “left the company”."
    cause_missing: str = "Say why, in a few words: the audit record keeps it."
    cause_long: str = "Use at most {maximum} characters."
    revoke_submit: str = "Revoke"
    revoke_everyone_submit: str = "Sign everybody out"
    disable_submit: str = "Disable"
    enable_submit: str = "Enable"
    cancel: str = "Cancel"


@dataclass(frozen=True, slots=True)
class Receipt:
    title: str = "Receipt"
    ended: str = "{count} ended"
    ended_unknown: str = "All sessions ended"
    ended_none: str = "Nothing was alive to end"
    since: str = "No node has accepted them since"
    from_: str = "No node will accept them from"
    since_none: str = "Nothing of it has been accepted since"
    facts: str = "What was done"
    subject: str = "Principal or session"
    cause: str = "Cause"
    by: str = "By"
    reach: str = "Reach"
    reaches: Mapping[str, str] = field(
        default_factory=lambda: words(
            engine="engine: the one database that all nodes read",
            quorum="quorum: a majority of the database's members",
        )
    )
    sessions: str = "Sessions ended"
    more: str = "and {n} more, in the audit record"
    living: str = "Still alive"
    living_hint: str = "Handed out earlier and not ended by this. Revoke each, or give it another owner."
    back: str = "Back to {name}"
    back_console: str = "Back to the console"
