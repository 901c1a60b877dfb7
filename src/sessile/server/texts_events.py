"""Words for the audit record: its events, and the causes that Sessile itself gives; a part of `texts`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


def words(**words: str) -> Mapping[str, str]:
    return MappingProxyType(words)


@dataclass(frozen=True, slots=True)
class Events:
    """Words for the audit record's lines, by name, and for causes that Sessile itself gives."""

    by: str = "by {by}"
    because: str = "by {by}: {cause}"
    actors: Mapping[str, str] = field(
        default_factory=lambda: words(anonymous="somebody", cli="an operator", system="Sessile")
    )
    names: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType(
            {
                "session.begun": "Signed in",
                "session.delegated": "Delegation handed out",
                "session.impersonated": "An operator began to act as this person",
                "key.minted": "Key handed out",
                "key.rotated": "Key got a successor",
                "token.leaked": "Token found in the open",
                "resource.touched": "Resource used",
                "access.denied": "Access denied",
                "budget.set": "Budget set",
                "session.elevated": "Confirmed it was you",
                "session.rotated": "Session got a new token",
                "session.bound": "Session bound to its device",
                "session.unrefreshed": "Browser could not prove its device",
                "session.revoked": "Session ended",
                "session.over": "Over with what it hung on",
                "session.contained": "Session ended after a compromise",
                "session.replayed": "An old token was used",
                "session.mismatch": "Session used from another place or browser",
                "sign_in.failed": "Sign-in failed",
                "sign_in.pending": "Password right, second factor asked for",
                "principal.registered": "Account made",
                "principal.changed": "Account changed",
                "team.created": "Team made",
                "team.joined": "Joined a team",
                "team.left": "Left a team",
                "team.deleted": "Team deleted",
                "principal.revoked": "All sessions ended",
                "principal.contained": "Everything ended after a compromise",
                "principal.disabled": "Account disabled",
                "principal.enabled": "Account enabled",
                "principal.deleted": "Account deleted",
                "principal.erased": "Personal data erased",
                "principal.password_set": "Password changed",
                "factor.added": "Way to sign in added",
                "factor.changed": "Way to sign in renamed",
                "factor.removed": "Way to sign in removed",
                "factor.cloned": "A passkey was refused: there may be a copy of it",
                "factor.off": "Tried too often without success, and off since then",
                "factor.refused": "Way to sign in refused while being added",
                "factor.reset": "Ways to sign in taken away",
                "recovery.codes_made": "Recovery codes made",
                "recovery.code_used": "Recovery code used and replaced",
                "sign_in.guessing": "Somebody is guessing",
                "device.added": "Signed in on a new device",
                "device.forgotten": "Device forgotten",
                "recovery.requested": "Link for a new password asked for",
                "recovery.link_made": "Link for a new password made",
                "link.refused": "A link that is over was followed",
                "address.added": "E-mail address added",
                "address.confirmed": "E-mail address confirmed",
                "address.removed": "E-mail address removed",
                "mail.undelivered": "A notice could not be delivered",
                "lease.begun": "Credential in another system handed out",
                "lease.ended": "Credential in another system ended",
                "lease.overdue": "Credential in another system could not be ended yet",
                "lease.successor_taken": "Replaced credential taken over",
                "containment.settled": "Containment accounted for",
                "everyone.revoked": "Everybody signed out",
                "policy.changed": "Policy changed",
                "work.parked": "Work kept after a timeout",
                "work.resumed": "Work taken up again",
                "work.dropped": "Work let go",
                "work.destroyed": "Waiting work destroyed with its session",
                "approval.asked": "Approval asked for",
                "approval.given": "Approval given",
                "approval.refused": "Approval refused",
                "approval.used": "Approval used",
                "requests.denied": "Requests denied",
            }
        )
    )
    causes: Mapping[str, str] = field(
        default_factory=lambda: words(
            logout="signed out",
            replaced="signed in again in the same browser",
            limit="more sessions at once than the policy allows",
            password="password changed",
            recovery="password forgotten",
            compromised="password in other hands",
            withheld="code after a wrong password",
            guessing_off="too many tries without success",
            guessing_account="many tries for this account",
            guessing_strangers="many tries for this account without success",
            guessing_network="many tries from one network",
            guessing_tried="one password tried for many accounts",
            guessing_everybody="many tries altogether",
            replayed="an old token was used",
        )
    )
