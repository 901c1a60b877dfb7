"""The words about known devices; a part of `texts`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Devices:
    title: str = "Known devices"
    hint: str = (
        "You signed in here before. That spares you a mail at each sign-in, and keeps a way in while others guess your"
        " password. It replaces no proof: every sign-in asks for all of them."
    )
    none: str = "No device is known"
    none_hint: str = "The next one on which you sign in will be."
    unknown: str = "A browser"
    this: str = "This one"
    added: str = "Since"
    used: str = "Last sign-in"
    forget: str = "Forget"
    forget_label: str = "Forget {label}"
    forgotten: str = "Forgotten. The next sign-in there is told to you as a new one."
    gone: str = "No such device is known any more."
