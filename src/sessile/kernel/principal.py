"""Who acts."""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

import msgspec

from sessile.kernel.ids import new_id

EPOCH_BYTES = 16
EVERYTHING = "*"
"""The scope of one who may do all that the application offers. It does not cover the reserved scopes."""
OPERATOR = "operator"
INTROSPECT = "introspect"
RESERVED_SCOPES = frozenset({OPERATOR, INTROSPECT})
"""Rights over Sessile itself, which `*` does not give. `operator` is held by name; it covers `introspect`."""

ERASED = "erased"
"""Stands where a name was, once it was erased."""
RESERVED_NAMES = frozenset({"system", "cli", "anonymous", ERASED})
"""Actors of the audit record that are nobody's name."""

_NAME = re.compile(r"(?:(service|agent):)?[^\s:/\\\x00-\x20\x7f]{1,120}")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}")  # scope-token of RFC 6749, section 3.3


class PrincipalKind(StrEnum):
    HUMAN = "human"
    SERVICE = "service"
    AGENT = "agent"


class Status(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"
    DELETED = "deleted"
    """A tombstone: the name may be taken again, by another principal with another uid."""


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """A person, a service account or an agent.

    `uid` is immutable and never used twice; sessions, epochs and events refer to it. `epoch` is an opaque
    random value: sessions carry the one of their issue, and a change of it ends them all.
    """

    uid: str
    name: str
    kind: PrincipalKind
    created: datetime
    status: Status = Status.ACTIVE
    epoch: bytes
    policy: str = "default"
    scopes: frozenset[str] = frozenset()
    owner: str | None = None
    """uid of the person or the team that answers for this one; None for people, and for agents and services from
    before every one had to have one."""
    purpose: str = ""
    contained_since: datetime | None = None
    contained_at: datetime | None = None
    """What this principal handed out from `contained_since` to `contained_at` is over, by whichever tie."""


def new_principal(
    name: str,
    *,
    now: datetime,
    scopes: frozenset[str] | None = None,
    owner: str | None = None,
    purpose: str = "",
) -> Principal:
    """A new principal; its kind follows from the name (`alice`, `service:ci`, `agent:deploy`).

    People may do all that the application offers unless `scopes` says less; services and agents hold no
    scope of their own: their keys and delegations carry what they were handed.

    Raises:
        ValueError: not a name, not a scope; a service or an agent without `owner`, or a person with one.
    """
    name = canonical(name)
    kind = kind_of(name)
    if wrong := ownerless(kind, owner):
        raise ValueError(f"{name}: {wrong}")
    if scopes is None:
        scopes = frozenset({EVERYTHING}) if kind is PrincipalKind.HUMAN else frozenset()
    return Principal(
        uid=new_id("prn"), name=name, kind=kind, created=now, epoch=new_epoch(),
        scopes=check_scopes(scopes), owner=owner, purpose=purpose,
    )  # fmt: skip


def ownerless(kind: PrincipalKind, owner: str | None) -> str | None:
    """What is wrong with having that owner, or none; None: nothing."""
    if kind is PrincipalKind.HUMAN:
        return None if owner is None else "people answer for themselves: an owner goes with a service or an agent"
    if owner is None:
        return "every service and agent has an owner: name a person or a team (owner NAME, or team:NAME)"
    return None


def new_epoch() -> bytes:
    return secrets.token_bytes(EPOCH_BYTES)


def canonical(name: object) -> str:
    """The one form in which a name is stored and looked up: NFKC, case folded.

    Raises:
        ValueError: not a name (empty, too long, white space, control characters, `/`, `\\`, a `:` other than
            that of `service:` and `agent:`).
    """
    if not isinstance(name, str) or len(name) > 256:
        raise ValueError("a principal's name is a string of at most 120 characters")
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    if folded in RESERVED_NAMES:
        raise ValueError(f"{folded!r} stands for Sessile itself in the audit record: choose another name")
    if not _NAME.fullmatch(folded) or any(unicodedata.category(c)[0] == "C" for c in folded):
        raise ValueError(
            "a principal's name has 1 to 120 characters, no white space, control character, '/', '\\' or ':'"
            " (services and agents are named service:NAME and agent:NAME)"
        )
    return folded


def kind_of(name: str) -> PrincipalKind:
    prefix, colon, _ = name.partition(":")
    return PrincipalKind(prefix) if colon else PrincipalKind.HUMAN


def check_scopes(scopes: Iterable[object]) -> frozenset[str]:
    """The scopes as a set.

    Raises:
        ValueError: one is not a scope-token (RFC 6749, 3.3), or there are over 100.
    """
    if isinstance(scopes, str):
        raise ValueError("scopes is a set of strings, not a string")
    checked = set()
    for scope in scopes:
        if not isinstance(scope, str) or not _SCOPE.fullmatch(scope):
            raise ValueError("a scope has 1 to 100 visible ASCII characters, no quote or backslash (RFC 6749, 3.3)")
        checked.add(scope)
        if len(checked) > 100:
            raise ValueError("at most 100 scopes")
    return frozenset(checked)


def covers(held: frozenset[str], wanted: frozenset[str]) -> bool:
    """Whether a holder of `held` may do, and hand out, `wanted`."""
    missing = wanted - held
    if OPERATOR in held:
        missing -= {INTROSPECT}
    return not missing or (EVERYTHING in held and not missing & RESERVED_SCOPES)
