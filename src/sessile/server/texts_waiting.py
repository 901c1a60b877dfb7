"""The words about work that waits: parked, or asked for approval; a part of `texts`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    title: str = "Waiting for you"
    intro: str = "What you were at when your session timed out, and what other people ask you to approve."
    parked: str = "Where you left off"
    parked_hint: str = "Your session timed out before this was done. Nothing of it has happened yet."
    none_parked: str = "Nothing is left over"
    none_parked_hint: str = "What you type when a session has timed out is kept here until you are back."
    form: str = "What you typed at {path}"
    since: str = "Kept"
    until: str = "Until"
    resume: str = "Go on with it"
    resume_label: str = "Go on with: {name}"
    drop: str = "Let it go"
    drop_label: str = "Let go: {name}"
    resumed: str = "Here is what you typed. Look it over, and send it."
    dropped: str = "It is gone."
    gone: str = "It does not wait any more."
    asked: str = "You asked for approval"
    asked_hint: str = "Each is bound to the session that asked, and dies with it."
    asked_at: str = "Asked"
    waiting: str = "Waits for another person"
    given: str = "Approved, not used yet"
    to_approve: str = "Asked of you"
    to_approve_hint: str = (
        "Approve only what you have looked into. An approval is used once; it dies if the session that asked, or yours,"
        " is ended."
    )
    nothing_to_approve: str = "Nobody waits for you"
    nothing_to_approve_hint: str = "Here is what other people want a second pair of eyes on."
    by: str = "By"
    context: str = "What exactly"
    approve: str = "Approve"
    approve_label: str = "Approve: {name}, for {person}"
    refuse: str = "Refuse"
    refuse_label: str = "Refuse: {name}, for {person}"
    approved: str = "Approved. It is used once, by the one who asked."
    refused: str = "Refused."
    not_you: str = "This is for another person to approve."
    for_approval: str = "An approval needs a fresh proof that it is you."
    for_resume: str = "To go on with this, confirm that it is you."
    go_on: str = "Go on without it"
    link: str = "Waiting for you: {count}"
