"""All English that the pages show, in one place, and no logic: `wording` puts it together.

Every value is frozen. A sentence with a name in braces is filled with :meth:`str.format`; whatever is
filled in is escaped by the template.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sessile.server.texts_console import (
    Audit,
    Confirm,
    Console,
    Containing,
    Inventory,
    Leases,
    Overview,
    Policies,
    Principal,
    Receipt,
    Report,
    Rules,
    Story,
)
from sessile.server.texts_devices import Devices
from sessile.server.texts_events import Events
from sessile.server.texts_factors import FactorReset, Factors, Passkey, RecoveryCodes, Second
from sessile.server.texts_leaving import Leaving
from sessile.server.texts_offboarding import Offboarding
from sessile.server.texts_places import Places
from sessile.server.texts_recovery import Addresses, Recovery, Strength
from sessile.server.texts_teams import Owned, Teams
from sessile.server.texts_waiting import Waiting


def _words(**words: str) -> Mapping[str, str]:
    return MappingProxyType(words)


@dataclass(frozen=True, slots=True)
class Shell:
    product: str = "Sessile"
    skip: str = "Skip to the content"
    nav: str = "Main"
    account: str = "Account"
    console: str = "Console"
    sign_in: str = "Sign in"
    sign_out: str = "Sign out"
    sign_out_says: str = "This session ends in every tab, and with it what agents were to do by it. Keys stay."
    signed_in_as: str = "Signed in as"
    tagline: str = "Your login stays on the server."
    api: str = "API reference"
    error_prefix: str = "Error: "
    form_error: str = "This was not accepted. Please put it right:"


@dataclass(frozen=True, slots=True)
class Live:
    """What the script of open tabs says; it puts the time in for `left`."""

    idle: str = "You will be signed out in {left}, since nothing was done here for a while."
    stay: str = "Stay signed in"
    overall: str = "This session reaches its limit in {left}. Confirm it is you to begin another."
    again: str = "Confirm and go on"
    prove: str = "The rules have changed: confirm it is you to go on."
    confirm: str = "Confirm"


@dataclass(frozen=True, slots=True)
class Login:
    title: str = "Sign in"
    username: str = "User name"
    password: str = "Password"
    submit: str = "Sign in"
    wrong: str = "The user name or the password is wrong. Check both and try again."
    off: str = "This was tried too often without success, and is off for safety. Ask an operator to set it anew."
    throttled: str = "Too many attempts. Wait {wait}, then try again."
    refused: str = "This form was open too long or came from another site. Please send it again."
    insecure_title: str = "Signing in will not work on this address"
    insecure: str = (
        "This page came over plain http, and browsers keep Sessile's cookie only over https or on localhost. "
        "You would be asked to sign in again and again, and your password would travel unprotected."
    )
    insecure_cure: str = (
        "Open this server by https, through a proxy with a certificate; or, on the machine it runs on, "
        "as http://localhost."
    )
    demo_title: str = "This is a demo. Come in as anybody."
    demo_hint: str = "Everything here is thrown away when the demo stops."
    demo_sign_in: str = "Sign in as {name}"
    demo_password: str = "Password"


@dataclass(frozen=True, slots=True)
class Landing:
    """Sentences that say why somebody landed on the login page; one per cause. `when` is a clock time."""

    sign_in: str = "Sign in to go on."
    signed_out: str = "You signed out."
    idle: str = "You were signed out after {duration} without activity."
    expired: str = "This session reached its limit of {duration}. Sign in to begin another."
    by_you: str = "This session was ended at {when} by you, from another tab ({device})."
    by_you_somewhere: str = "This session was ended at {when} by you, from another session."
    by_operator: str = "This session was ended at {when} by an operator. The cause given: {cause}."
    everyone: str = "Everybody was signed out at {when} by an operator. Please sign in again."
    password: str = "The password was changed at {when}, which ended this session. Sign in with the new one."
    replaced: str = "You signed in again in this browser, so its earlier session was ended."
    limit: str = "This session was ended at {when}: you signed in elsewhere, and reached the number allowed at once."
    parent: str = "This session was ended at {when} together with the one it hung on."
    replayed: str = (
        "An old token of this session was used, which can mean that it was stolen. "
        "Sign in again and look through your sessions."
    )
    disabled: str = "This account is disabled. Ask an operator to enable it."
    unbound: str = (
        "This session is tied to the device where it began, and this browser did not show that it is there. "
        "Try again in a moment, or sign in."
    )
    unknown: str = "Your session is not known here any more. Please sign in again."


@dataclass(frozen=True, slots=True)
class Account:
    title: str = "Your sessions"
    intro: str = "Everywhere you are signed in. End what you do not recognise, then change your password."
    sessions: str = "Signed in"
    end_others: str = "Sign out all other sessions"
    only_one: str = "You are signed in here and nowhere else."
    step_up_first: str = "You signed in a while ago, so you will be asked for your password before anything ends."
    handed_out: str = "What you handed out"
    handed_out_hint: str = (
        "A delegation ends with the session that made it. A key outlives your sessions until you end it here."
    )
    nothing_handed_out: str = "Nothing handed out"
    nothing_handed_out_hint: str = "Delegations to agents and keys for services will be listed here."
    events: str = "Recent security events"
    events_hint: str = "What happened on your account. If one of these was not you, change your password."
    no_events: str = "Nothing to report"
    no_events_hint: str = "Sign-ins, password changes and endings will be listed here."
    change_password: str = "Change password"
    ended: str = "The session is over. No node has accepted it since {when}."
    ended_others: str = "{count} ended. No node has accepted them since {when}."
    password_changed: str = "Your password is changed, and {count} ended."


@dataclass(frozen=True, slots=True)
class SessionWords:
    this_one: str = "This one"
    bound: str = "Bound to its device"
    end: str = "End"
    sign_out: str = "Sign out"
    end_label: str = "End {label}"
    unnamed: str = "Unknown device"
    impersonation: str = "{operator} acts as {principal}: {cause}"
    last_active: str = "Last active"
    signed_in: str = "Signed in"
    never_used: str = "Never used"
    active: str = "Active {when}"
    begun: str = "signed in {when}"
    given: str = "handed out {when}"
    by: str = "by {methods}, {assurance}"
    ends: str = "Ends {when}"
    ends_idle: str = "Ends {when} without activity, {overall} at the latest"
    scopes: str = "May:"
    from_session: str = "from {label}"
    assurance: Mapping[int, str] = field(
        default_factory=lambda: MappingProxyType(
            {
                1: "one factor (assurance 1)",
                2: "two factors (assurance 2)",
                3: "two factors with hardware (assurance 3)",
            }
        )
    )
    kind: Mapping[str, str] = field(
        default_factory=lambda: _words(
            browser="Browser",
            delegated="Delegated to {principal}",
            key="Key of {principal}",
            lease="Lease for {principal}",
            anonymous="Not signed in",
        )
    )
    method: Mapping[str, str] = field(
        default_factory=lambda: _words(
            password="password",
            totp="app code",
            recovery_code="recovery code",
            security_key="security key",
            passkey="passkey",
            hardware_key="hardware key",
            federated="another provider",
        )
    )


@dataclass(frozen=True, slots=True)
class Password:
    title: str = "Change password"
    current: str = "Current password"
    new: str = "New password"
    again: str = "New password again"
    hint: str = "At least {minimum} characters, at most {maximum}. Any characters will do: a few words make a good one."
    consequence: str = "Every other session of yours ends when you change it. You stay signed in here."
    submit: str = "Change password"
    cancel: str = "Cancel"
    wrong: str = "This is not your current password. Check it and try again."
    short: str = "This has {length} characters. Use at least {minimum}; a few words together will do."
    long: str = "This has {length} characters. Use at most {maximum}."
    common: str = "This password is on lists that attackers try first. Choose another."
    known: str = "This password is too close to your user name or the name of this service. Choose another."
    differ: str = "The two new passwords differ. Enter the same one twice."
    same: str = "This is the password you have now. Choose another."


@dataclass(frozen=True, slots=True)
class StepUp:
    title: str = "Confirm it is you"
    hint: str = "Your session stays as it is."
    password: str = "Password"
    submit: str = "Confirm"
    cancel: str = "Cancel"
    wrong: str = "The password is wrong. Try again."
    for_end_session: str = "You are about to end a session. Enter your password first."
    for_end_others: str = "You are about to sign out all your other sessions. Enter your password first."
    for_password: str = "You are about to change your password. Enter the current one first."
    for_operator: str = "This acts on other people's access. Prove first that it is you."
    for_factor: str = "You are about to change how you sign in. Prove first that it is you."
    for_second_factor: str = "Your password is right. One more step, and you are in."
    for_anything: str = "Prove once more that it is you, and you go straight on."
    code: str = "Code of your authenticator app"
    code_hint: str = "The six digits that it shows now. Each code counts once."
    wrong_code: str = "This code is wrong, or was used already. Wait for the next one and try again."
    instead: Mapping[str, str] = field(
        default_factory=lambda: _words(
            passkey="Use your passkey instead",
            password="Use your password instead",
            totp="Use a code of your app instead",
            recovery_code="Use a recovery code instead",
        )
    )


@dataclass(frozen=True, slots=True)
class Problem:
    what_to_do: str = "What to do"
    status: str = "Error {status}"
    reason: str = "Reason"
    home: str = "Go to your account"
    sign_in: str = "Sign in"
    cure: Mapping[str, str] = field(
        default_factory=lambda: _words(
            sign_in="Sign in, and you can go on.",
            step_up="Confirm it is you with one more step, and you can go on.",
            retry="Try again: load the page once more.",
            none="There is nothing you can do from here. If you expected to get in, ask an operator.",
        )
    )
    title: Mapping[int, str] = field(
        default_factory=lambda: MappingProxyType(
            {
                400: "That request could not be read",
                401: "Please sign in",
                403: "This is not open to you",
                404: "There is nothing here",
                405: "That cannot be done here",
                413: "That was too much at once",
                421: "This server does not answer to that name",
                429: "Too many attempts",
                500: "Something broke on our side",
                503: "Sessions cannot be checked just now",
            }
        )
    )
    detail: Mapping[int, str] = field(
        default_factory=lambda: MappingProxyType(
            {
                403: "You are signed in, but this needs rights that you do not have.",
                404: "The address is wrong, or what it named has been removed.",
                421: "The address you used is not on this server's list of hosts.",
                500: "Nothing was changed. The operator finds the cause in the server's log.",
                503: "The database does not answer. You are still signed in: this is not a sign-out.",
            }
        )
    )


@dataclass(frozen=True, slots=True)
class ApiDocs:
    title: str = "API reference"
    contents: str = "Contents"
    version: str = "Version {version}"
    document: str = "OpenAPI document"
    parameters: str = "Parameters"
    name: str = "Name"
    place: str = "In"
    type: str = "Type"
    meaning: str = "Meaning"
    required: str = "required"
    request: str = "Request body"
    responses: str = "Answers"
    example: str = "Example"
    refusals: str = "Refusals: {statuses}"


@dataclass(frozen=True, slots=True)
class Texts:
    """The whole: a field per page, and the words for counts and times."""

    shell: Shell = field(default_factory=Shell)
    live: Live = field(default_factory=Live)
    login: Login = field(default_factory=Login)
    landing: Landing = field(default_factory=Landing)
    account: Account = field(default_factory=Account)
    events: Events = field(default_factory=Events)
    factors: Factors = field(default_factory=Factors)
    factor_reset: FactorReset = field(default_factory=FactorReset)
    passkey: Passkey = field(default_factory=Passkey)
    recovery_codes: RecoveryCodes = field(default_factory=RecoveryCodes)
    second: Second = field(default_factory=Second)
    leaving: Leaving = field(default_factory=Leaving)
    offboarding: Offboarding = field(default_factory=Offboarding)
    teams: Teams = field(default_factory=Teams)
    owned: Owned = field(default_factory=Owned)
    waiting: Waiting = field(default_factory=Waiting)
    devices: Devices = field(default_factory=Devices)
    places: Places = field(default_factory=Places)
    recovery: Recovery = field(default_factory=Recovery)
    addresses: Addresses = field(default_factory=Addresses)
    strength: Strength = field(default_factory=Strength)
    session: SessionWords = field(default_factory=SessionWords)
    password: Password = field(default_factory=Password)
    step_up: StepUp = field(default_factory=StepUp)
    console: Console = field(default_factory=Console)
    principal: Principal = field(default_factory=Principal)
    story: Story = field(default_factory=Story)
    confirm: Confirm = field(default_factory=Confirm)
    receipt: Receipt = field(default_factory=Receipt)
    rules: Rules = field(default_factory=Rules)
    policies: Policies = field(default_factory=Policies)
    overview: Overview = field(default_factory=Overview)
    audit: Audit = field(default_factory=Audit)
    containing: Containing = field(default_factory=Containing)
    report: Report = field(default_factory=Report)
    inventory: Inventory = field(default_factory=Inventory)
    leases: Leases = field(default_factory=Leases)
    problem: Problem = field(default_factory=Problem)
    api: ApiDocs = field(default_factory=ApiDocs)
    days: tuple[str, str] = ("{n} day", "{n} days")
    hours: tuple[str, str] = ("{n} hour", "{n} hours")
    minutes: tuple[str, str] = ("{n} minute", "{n} minutes")
    seconds: tuple[str, str] = ("{n} second", "{n} seconds")
    months: tuple[str, ...] = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
    now: str = "just now"
    ago_: str = "{span} ago"
    ahead_: str = "in {span}"
    soon: str = "in less than a minute"
    past: str = "over"
    and_: str = " and "
    counted: Mapping[str, tuple[str, str]] = field(
        default_factory=lambda: MappingProxyType(
            {
                "session": ("{n} session", "{n} sessions"),
                "event": ("{n} event", "{n} events"),
                "delegation": ("{n} delegation", "{n} delegations"),
                "key": ("{n} key", "{n} keys"),
                "lease": ("{n} lease", "{n} leases"),
                "finding": ("{n} finding", "{n} findings"),
                "principal": ("{n} principal", "{n} principals"),
            }
        )
    )
