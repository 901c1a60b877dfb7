"""The words of the pages on how one signs in; a part of `texts`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Factors:
    title: str = "How you sign in"
    hint: str = "With a second factor, a stolen password alone lets nobody in."
    none_hint: str = (
        "Only your password protects this account. Add a second factor, and a stolen password is not enough."
    )
    password: str = "Password"
    add_totp: str = "Add an authenticator app"
    change: str = "Change"
    change_label: str = "Change {name}"
    last_used: str = "Last used"
    added_at: str = "Added"
    kinds: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType({"totp": "Codes of an authenticator app"})
    )
    name: str = "Name"
    name_hint: str = "What you will know it by, such as “phone”."
    name_wrong: str = "Use 1 to {maximum} printable characters."
    begin: str = "Continue"
    begin_lead: str = "An app on your phone shows a code of six digits that changes every 30 seconds."
    begin_hint: str = "Any app for one-time codes (TOTP) will do. Have it ready; the next page shows a picture for it."
    cancel: str = "Cancel"
    scan_title: str = "Scan this with your app"
    scan: str = "Add an account in the app and let it take this picture."
    picture: str = "QR code with the secret for your app"
    secret: str = "No camera? Type this secret instead"
    secret_hint: str = "Keep it to yourself: whoever has it can make your codes."
    code: str = "Code"
    code_hint: str = "The six digits that the app shows now."
    confirm: str = "Confirm"
    end_others: str = "Also sign out all my other sessions"
    added: str = "Your second factor is added, and you confirmed it is you."
    renamed: str = "The name is changed."
    removed: str = "The second factor is removed. It lets nobody in any more."
    rename: str = "Rename"
    remove_title: str = "Remove it"
    remove_hint: str = (
        "Do this if it is lost or was seen by others. Without a second factor your password alone lets you in."
    )
    remove: str = "Remove"
    needed_title: str = "Set up a second factor"
    needed: str = "Here a password alone is not enough. Add a second factor, and you can go on."
