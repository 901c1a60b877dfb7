"""The words about known devices; a part of `texts`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Devices:
    title: str = "Known devices"
    hint: str = (
        "Where you signed in before: you are not told anew, and get in while others guess your password. Every sign-in"
        " still asks for all proofs."
    )
    none: str = "No device is known"
    none_hint: str = "The next one on which you sign in will be."
    unknown: str = "A browser"
    this: str = "This device"
    used: str = "Last sign-in {when}"
    added: str = "first {when}"
    forget: str = "Forget"
    forget_label: str = "Forget {label}"
    forgotten: str = "Forgotten. The next sign-in there is told to you as a new one."
    gone: str = "No such device is known any more."
