"""The words of deleting and erasing a principal; a part of `texts`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Leaving:
    delete: str = "Delete"
    delete_what: str = "Delete {name} for good?"
    delete_submit: str = "Delete"
    gone: str = (
        "Passwords and factors are removed. Nobody can sign in as them again, and the name is free for somebody else."
    )
    record: str = "Sessions that are over stay for their days, and the audit record keeps the name."
    erase_instead: str = "Delete and erase instead"
    erase_what: str = "Delete {name} for good, and erase what names them?"
    erase_submit: str = "Delete and erase"
    erase_what_goes: str = (
        "Their name, addresses, user agents and labels go from sessions, reports and the audit record. What happened"
        " stays there, under their identifier. This cannot be undone."
    )
    erase_first: str = "To keep the record of what somebody did under their name, delete them without erasing."
    lock: str = "To keep them out for a while, disable them: that is the lock, and it can be lifted."
    erased_of: str = "Erased"
    erased: str = "in {sessions} and {events}; what is left of who it was is the identifier {uid}"
