"""The words of a person's leaving: what is theirs, and what becomes of each; a part of `texts`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Offboarding:
    button: str = "Offboard"
    says: str = "They leave. Hands over or ends their agents, services, keys and leases, each as you say."
    title: str = "Offboard {name}"
    intro: str = (
        "What {name} answers for is handed over or ends; keys and leases that {name} handed out or saw end, or go on"
        " and are to be rotated. Nothing is done before you have seen it all."
    )
    theirs: str = "Agents and services"
    theirs_hint: str = "{name} alone answers for these. What nobody takes over is disabled with {name}."
    nothing: str = "{name} answers for no agent or service that others do not answer for too."
    to: str = "Who takes over"
    to_hint: str = "A person, or team:NAME. It answers for all of them that name nobody else below."
    to_one: str = "Somebody else for {name}"
    or_empty: str = "as above"
    end_one: str = "End {name} instead"
    end_short: str = "End it"
    holds: str = "holds {list}"
    holds_nothing: str = "holds nothing"
    secrets: str = "Keys and leases"
    secrets_hint: str = "{name} handed these out, or was shown their secret. What does not end is to be rotated."
    no_secrets: str = "{name} handed out no key or lease that lives, and saw no secret of one."
    of: str = "of {principal}"
    handed_out: str = "handed out by {name}"
    saw: str = "{name} was shown the secret"
    end_key: str = "End {label} of {principal}"
    preview: str = "Show what happens"
    sure: str = "This happens when {name} is offboarded"
    out: str = "{name} cannot sign in any more, and every session of {name} ends."
    takes: str = "{heir} answers for {list}."
    ends_too: str = "{list} is disabled, and all that it holds ends."
    end_too: str = "{list} are disabled, and all that they hold ends."
    key_ends: str = "{key} of {principal} ends."
    key_stays: str = "{key} of {principal} goes on: rotate it."
    submit: str = "Offboard {name}"
    change: str = "Change something"
    no_heir: str = "There is no {to}: name a person, or a team as team:NAME."
    done: str = "{name} is offboarded"
    handed: str = "Handed over"
    handed_to: str = "{principal} to {heir}"
    disabled: str = "Disabled"
    ended: str = "Ended"
    rotate: str = "To be rotated"
    rotate_hint: str = "These go on, and {name} knows or handed out their secrets."
    all_done: str = "Nothing is left to be rotated."
