"""A policy in words, a sentence a rule: for the console and for `sessile policy show`."""

from __future__ import annotations

from datetime import timedelta

from sessile.kernel.policy import AtLimit, Policy
from sessile.server.wording import TEXTS

_LIMITS: dict[int, tuple[timedelta, timedelta | None]] = {
    1: (timedelta(days=30), None),
    2: (timedelta(hours=24), timedelta(hours=1)),
    3: (timedelta(hours=12), timedelta(minutes=15)),
}
"""Overall and inactivity by authentication assurance level: NIST SP 800-63B-4, 2.1.3, 2.2.3, 2.3.3."""


def sentences(policy: Policy) -> list[str]:
    """What the policy says, a sentence a rule."""
    rules, limit = TEXTS.rules, TEXTS.limit
    said = [rules.overall.format(overall=limit(policy.overall))]
    if policy.idle is not None:
        said.append(rules.idle.format(idle=limit(policy.idle)))
    said.append(rules.assurance.format(assurance=policy.assurance))
    if policy.max_sessions is None:
        said.append(rules.any_number)
    else:
        then = rules.end_oldest if policy.at_limit is AtLimit.END_OLDEST else rules.refuse
        said.append(rules.at_most.format(n=policy.max_sessions, then=then))
    if policy.rotate_after is None:
        said.append(rules.never_rotates)
    else:
        then = rules.replay_strict if policy.strict_replay else rules.replay
        said.append(rules.rotates.format(after=limit(policy.rotate_after), grace=limit(policy.grace), then=then))
    if policy.binding:
        traits = TEXTS.listing([one.replace("_", " ") for one in sorted(policy.binding)])
        said.append(rules.bound.format(traits=traits, then=rules.mismatch[policy.mismatch]))
    said.append(rules.handed_out.format(key=limit(policy.key_lifetime), depth=policy.max_depth))
    if beyond := beyond_standard(policy):
        said.append(rules.beyond.format(what="; ".join(beyond), reason=policy.reason or rules.no_reason))
    return said


def beyond_standard(policy: Policy) -> list[str]:
    """Where the policy is looser than the standard for its level (its preset's, or the assurance it demands)."""
    rules, limit = TEXTS.rules, TEXTS.limit
    level = max(policy.assurance, int(policy.preset[3]) if policy.preset in ("aal1", "aal2", "aal3") else 1)
    overall, idle = _LIMITS[level]
    beyond = []
    if policy.overall > overall:
        beyond.append(rules.longer.format(level=level, allowed=limit(overall), has=limit(policy.overall)))
    if idle is not None and (policy.idle is None or policy.idle > idle):
        has = rules.no_limit if policy.idle is None else limit(policy.idle)
        beyond.append(rules.idler.format(level=level, allowed=limit(idle), has=has))
    return beyond
