"""The words of the operator's console; a part of `texts`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sessile.server.texts_events import words


@dataclass(frozen=True, slots=True)
class Console:
    nav: str = "Console"
    table: str = "Table: {name}"
    tabs: Mapping[str, str] = field(
        default_factory=lambda: words(
            principals="Principals", overview="Overview", audit="Audit", containments="Containments",
            inventory="Inventory", teams="Teams", leases="Leases", policies="Policies",
        )
    )  # fmt: skip
    title: str = "Principals"
    intro: str = "People, services and agents, and how many sessions each has alive."
    search: str = "Search by name"
    search_submit: str = "Search"
    search_clear: str = "Show all"
    name: str = "Name"
    status: str = "Status"
    live: str = "Sessions"
    last_active: str = "Last active"
    never: str = "never"
    away: str = "no session alive"
    more: str = "Next page"
    none: str = "No principal is called “{query}”"
    none_hint: str = "Part of the name is enough. Services begin with service: and agents with agent:."
    empty: str = "No principals yet"
    empty_hint: str = "Make the first with: sessile user add NAME --password-stdin"
    everyone: str = "Everybody"
    everyone_hint: str = (
        "For an emergency: every person is signed out, you too, and every delegation ends. Keys stay, unless you say"
        " so."
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
    switches: str = "Cut access"
    revoke_says: str = "Ends its sessions and every delegation below. New ones may begin."
    disable_says: str = "Ends the same, and keeps it out until somebody enables it."
    contain_says: str = "After a compromise: ends what it handed out too, keys and leases, and reports it."
    delete_says: str = "For good, and the name is free again. Not for emergencies."
    enable_says: str = "It can sign in again. What ended stays ended."
    revoke_one_says: str = "Ends this session and every delegation below it."


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
    rules: str = "What it says"
    everything: str = "whatever its principal may"
    no_events_hint: str = "The audit record has nothing about this session."


@dataclass(frozen=True, slots=True)
class Confirm:
    revoke_session: str = "Revoke this session of {name}?"
    revoke_principal: str = "Revoke all sessions of {name}?"
    revoke_everyone: str = "Sign everybody out?"
    disable: str = "Disable {name}?"
    enable: str = "Enable {name}?"
    ends: str = "This ends {list}."
    ends_nothing: str = "Nothing is alive now. Whatever is handed out meanwhile is refused all the same."
    can_return: str = "New ones may begin at once. To keep them out, disable them instead."
    stays_out: str = "They cannot sign in until somebody enables them. What ended stays ended."
    enable_hint: str = "They can sign in again. Nothing that ended comes back."
    keeps: str = "What stays alive: {list}. The receipt names each."
    cause: str = "Cause"
    cause_hint: str = "A few words for the audit record, such as “laptop stolen” or “left the company”."
    cause_missing: str = "Say why, in a few words: the audit record keeps it."
    cause_long: str = "Use at most {maximum} characters."
    revoke_submit: str = "Revoke"
    revoke_everyone_submit: str = "Sign everybody out"
    keys_too: str = "Also end every key: pipelines and services stop"
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
    subject: str = "About"
    cause: str = "Cause"
    by: str = "By"
    reach: str = "Reach"
    reaches: Mapping[str, str] = field(
        default_factory=lambda: words(
            engine="engine: the one database that all nodes read",
            quorum="quorum: a majority of the database's members",
        )
    )
    durable: str = "On disk"
    durables: Mapping[bool, str] = field(
        default_factory=lambda: {
            True: "Wherever it was acknowledged.",
            False: "In the directory, from which it is applied again; where the sessions are, in memory.",
        }
    )
    sessions: str = "Sessions ended"
    more: str = "and {n} more, in the audit record"
    living: str = "Still alive"
    living_hint: str = "Handed out earlier and not ended by this. Revoke each, or give it another owner."
    back: str = "Back to {name}"
    back_console: str = "Back to the console"


@dataclass(frozen=True, slots=True)
class Rules:
    """A policy, a sentence a rule."""

    overall: str = "Ends {overall} after the last authentication."
    idle: str = "Ends after {idle} without activity."
    assurance: str = "Needs assurance {assurance}."
    any_number: str = "A principal may have any number of sessions at once."
    at_most: str = "A principal may have {n} sessions at once; one sign-in more {then}."
    end_oldest: str = "ends the oldest"
    refuse: str = "is refused"
    never_rotates: str = "Tokens change at authentications only."
    rotates: str = (
        "A browser's token is replaced after {after}; the old one coming back more than {grace} after the new one's"
        " first use {then}."
    )
    replay: str = "ends the token, and the session if the client differs"
    replay_strict: str = "ends the session"
    bound: str = "A session is bound to the client's {traits}. {then}"
    mismatch: Mapping[str, str] = field(
        default_factory=lambda: words(
            refuse="Another client is refused, and the session goes on where it was.",
            note="Another client is let in, and noted.",
            step_up="In another client the person proves itself anew first.",
            end="A request of another client ends it.",
        )
    )
    handed_out: str = "A key lives {key} at most; a chain of delegations has {depth} links."
    beyond: str = "Beyond SP 800-63B-4: {what}. Reason: {reason}."
    no_reason: str = "none given"
    longer: str = "AAL{level} ends a session after {allowed}, this after {has}"
    idler: str = "AAL{level} allows {allowed} of inactivity, this {has}"
    no_limit: str = "has no limit"


@dataclass(frozen=True, slots=True)
class Policies:
    title: str = "Policies"
    intro: str = "The rules in force, for every check of every session."
    version: str = "version {version}, from the preset {preset}"
    why: str = "Why is it denied?"
    why_hint: str = "Enter a session's identifier (ses_…): its page says what a request would be told now, and why."
    session: str = "Session"
    submit: str = "Explain"
    no_session: str = "That is no session's identifier: it begins with ses_ and is in every receipt and every event."


@dataclass(frozen=True, slots=True)
class Overview:
    title: str = "Overview"
    intro: str = "The last 24 hours. It keeps itself up to date."
    numbers: str = "Alive now"
    living: Mapping[str, str] = field(
        default_factory=lambda: words(browser="Sessions", delegated="Delegations", key="Keys", lease="Leases")
    )
    counted: str = "{principals}, counted {when}."
    effective: str = "A revocation is in force on every node {span} after its commit, at the latest."
    at_once: str = "A revocation is in force at once, for every process on this database."
    milliseconds: str = "{n} ms"
    sign_ins: str = "Sign-ins"
    succeeded: str = "succeeded"
    failed: str = "failed"
    endings: str = "Endings"
    ended: str = "ended"
    denied: str = "Denied requests, by reason"
    nothing_denied: str = "None"
    nothing_denied_hint: str = "No request with a token was denied in this time."
    latest: str = "Latest interventions"
    nothing: str = "None yet"
    nothing_hint: str = "Nobody was signed out by another. A principal's page has the switches."
    hour: str = "Hour"
    hours: str = "Hour by hour"
    summary: str = "{n} {what}"
    open_containments: str = "A containment is not closed yet."
    open_containments_link: str = "See containments"
    all_events: str = "All events"


@dataclass(frozen=True, slots=True)
class Audit:
    title: str = "Audit record"
    intro: str = "What happened, to whom, by whom. It is only appended to; sessile audit verify proves it."
    filter: str = "Filter"
    about: str = "About"
    abouts: Mapping[str, str] = field(
        default_factory=lambda: words(
            sign_ins="Sign-ins", endings="Endings", handed_out="Hand-outs", threats="Signs of an attack",
            accounts="Accounts and factors", rules="Policies and everybody",
        )
    )  # fmt: skip
    anything: str = "Anything"
    principal: str = "Principal"
    session: str = "Session"
    since: str = "Since"
    spans: Mapping[str, str] = field(
        default_factory=lambda: words(hour="the last hour", day="the last day", week="7 days", month="30 days")
    )
    ever: str = "ever"
    submit: str = "Show"
    clear: str = "Show all"
    csv: str = "Export CSV"
    jsonl: str = "Export JSON lines"
    when: str = "When"
    event: str = "Event"
    whom: str = "About whom"
    by: str = "By"
    older: str = "Older"
    newest: str = "Newest"
    none: str = "Nothing found"
    none_hint: str = "No event fits. Widen the filter."
    no_principal: str = "No principal is called {name}."
    no_session: str = "That is no session's identifier: it begins with ses_."


@dataclass(frozen=True, slots=True)
class Containing:
    title: str = "Contain {name}"
    session_title: str = "Contain the session {label} of {name}"
    intro: str = "After a compromise: one act ends all of this, delegations and keys too, and reports it."
    button: str = "Contain"
    radius: str = "Blast radius"
    radius_hint: str = (
        "From left to right, what handed out what. Red ends. On a solid line it ends with its giver in any case, on a"
        " dashed one only by a containment."
    )
    would: str = "This ends {list}."
    would_nothing: str = "Nothing of it is alive now. Containing it still cuts whatever is handed out meanwhile."
    stays: str = "What stays, since it was handed out before: {list}."
    of: str = "Whose: {names}."
    since: str = "Handed out since"
    ever: str = "ever"
    show: str = "Show"
    disable: str = "Also disable {name}: no sign-in until somebody enables it"
    submit: str = "Contain now"
    fates: Mapping[str, str] = field(default_factory=lambda: words(ends="would end", stays="stays", over="over before"))
    fated: Mapping[str, str] = field(default_factory=lambda: words(ends="ended", stays="stays", over="over before"))
    more_alike: str = "+ {n} alike"
    more: str = "and {n} more, in the audit record"
    picture: str = "The tree of what was handed out, {n} in all; the list below says the same."
    picture_region: str = "Picture of the blast radius"
    listed: str = "One by one"
    touched: str = "What it touched"
    touched_hint: str = "Resources that these sessions asked for, as far as they were noticed. Look at each."
    resource: str = "Resource"
    decision: str = "Decision"
    times: str = "{n} times"
    outside: str = "In other systems"
    outside_hint: str = "Leased credentials, which are ended there too; what a person has to do stands beside each."
    to_do: str = "To do"
    take_successor: str = "Somebody takes the new secret over: sessile lease list names it"
    what: str = "What"
    whose: str = "Whose"
    fate: str = "Fate"
    handed_out: str = "Handed out"


@dataclass(frozen=True, slots=True)
class Report:
    title: str = "Containment report"
    all: str = "All containments"
    list_title: str = "Containments"
    list_intro: str = "What was cut after a compromise, and how it stands."
    none: str = "None yet"
    none_hint: str = "A principal's or a session's page has the button."
    open: str = "Open the report"
    states: Mapping[str, str] = field(
        default_factory=lambda: words(closed="Closed", partial="Partial", unknown="Being walked")
    )
    said: Mapping[str, str] = field(
        default_factory=lambda: words(
            closed="All that it reached is over.",
            partial="Some of it still lives; see below. This turns to closed by itself.",
            unknown="The root is cut and nothing below it is accepted. What that reached is being counted.",
        )
    )
    ended: str = "{list} ended"
    ended_nothing: str = "Nothing was alive to end"
    cut: str = "Nothing below has been accepted anywhere since"
    settled: str = "Accounted for"
    since: str = "Handed out since"
    id: str = "Report"
    principals: str = "Whose"
    stays: str = "Goes on"
    living: str = "Still alive"
    until: str = "until {when}"
    until_unknown: str = "until it is ended there"
    failed: str = "The last try failed: {why}"
    next_try: str = "Next try {when}"
    by_hand: str = "To end it earlier: {what}"
    print: str = "Print this page for the file."
    not_closed: str = "not closed"


@dataclass(frozen=True, slots=True)
class Inventory:
    title: str = "Inventory"
    intro: str = "Every service and agent: who answers for it, what it holds, and what is wrong, by OWASP's NHI Top 10."
    owner_only: str = "Who answers for it"
    no_purpose: str = "Nobody has said what it is for."
    nobody: str = "Nobody"
    age: str = "Age"
    delegations: str = "Live delegations"
    last_used: str = "Last used"
    held: str = "Keys and leases"
    by: str = "handed out by {name}"
    rotation: str = "Rotation due"
    due: str = "Due"
    rotated_out: str = "Rotated out"
    ends: str = "ends {when}"
    cure: str = "Cure:"
    none: str = "No services and no agents"
    none_hint: str = "Add the first one here, or with: sessile user add service:NAME --owner NAME --purpose TEXT"


@dataclass(frozen=True, slots=True)
class Leases:
    title: str = "Leases"
    intro: str = "Credentials in other systems whose end there is not confirmed yet."
    pending_only: str = "Only what should be over"
    all: str = "All"
    what: str = "Credential"
    state: str = "State"
    states: Mapping[str, str] = field(
        default_factory=lambda: words(
            living="Living", pending="Being ended", lingering="Cannot be ended earlier", confirmed="Confirmed over"
        )
    )
    outcomes: Mapping[str, str] = field(
        default_factory=lambda: words(ended="Ended", expired="Expired", rotated="Rotated", by_hand="Ended by hand")
    )
    overdue: str = "overdue"
    tried: str = "tried {n} times: {error}"
    by_hand: str = "to do by hand: {what}"
    next_try: str = "next try {when}"
    until: str = "Lives until"
    unknown: str = "nobody knows until when"
    none: str = "Nothing to end"
    none_hint: str = "No leased credential lives, and no end is unconfirmed. Applications lease them: docs/leases.md."
