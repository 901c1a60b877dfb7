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
        default_factory=lambda: MappingProxyType(
            {
                "totp": "Codes of an authenticator app",
                "passkey": "Passkey, which your devices may share",
                "hardware_key": "Passkey that stays on its device",
            }
        )
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
    picture: str = "QR picture with the secret for your app"
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


@dataclass(frozen=True, slots=True)
class Passkey:
    sign_in: str = "Use a passkey"
    refused: str = "This passkey was not accepted. Try again, or sign in with your password."
    refused_here: str = "This passkey was not accepted. Try again, or confirm in another way."
    not_done: str = (
        "The passkey was not used. Try again, or go another way. "
        "Passkeys need a recent browser, and this site's own name in the address."
    )
    script: str = "Passkeys need JavaScript, which is off in this browser."
    add: str = "Add a passkey"
    lead: str = "A passkey lets you in by your finger, your face or your device's PIN. Nobody can trick you out of it."
    hint: str = "Your browser asks where to keep it: on this device, on your phone, or on a security key."
    make: str = "Make the passkey"
    added: str = "Your passkey is added. From now on it signs you in, without name and password."
    use: str = "Use your passkey"


@dataclass(frozen=True, slots=True)
class RecoveryCodes:
    title: str = "Recovery codes"
    what: str = "For the day on which your other ways are lost"
    none: str = "You have none. Make some, and losing your second factor does not keep you out."
    made: str = "Made"
    make: str = "Make recovery codes"
    again: str = "Make new ones"
    again_hint: str = "The codes that you have now count no more once you make new ones."
    lead: str = "Keep these codes on paper or in a safe place, apart from your devices."
    opens: str = (
        "A code stands in for your second factor, together with your password: sign in with both, then take away what "
        "is lost and add something new. Each code counts once, and you get another in its place."
    )
    shown: str = "Write these down, print this page or save the file. They are shown this once."
    keep: str = "Whoever has your password and one of these can sign in as you."
    kept: str = "I have kept them"
    save: str = "Save as a file"
    replaced_title: str = "Your new recovery code"
    replaced: str = "The code you used counts no more. This one takes its place: write it down. It is shown this once."
    code: str = "Recovery code"
    code_hint: str = "One of the codes that you kept. Capitals, spaces and dashes do not matter."
    stolen: str = (
        "Was something of yours lost or stolen? Once you have kept what is above, end your other sessions too."
    )
    end_others: str = "Sign out all my other sessions"
    wrong: str = "This code is wrong, or was used already. Try another of your codes."
    file_head: str = "Recovery codes of {name}, made {when}. Each counts once."


@dataclass(frozen=True, slots=True)
class Second:
    """The second step of a sign-in. It is asked of everybody alike: nothing here may say that the first was right."""

    title: str = "Your second factor"
    lead: str = (
        "Show your second factor too. Whether name, password and this are right is said afterwards, all at once."
    )
    code: str = "Code of your app, or a recovery code"
    code_hint: str = "The six digits that your app shows now, or one of the codes that you kept on paper."
    cancel: str = "Begin again"
    wrong: str = "The user name, the password or the code is wrong. Begin again, and wait for your app's next code."


@dataclass(frozen=True, slots=True)
class FactorReset:
    """For operators."""

    title: str = "Second factors"
    button: str = "Take them away"
    what: str = "Take the second factors of {name} away?"
    gone: str = "All of them and the recovery codes prove nothing from now on, and failed tries are forgotten."
    sure: str = "What is left is the password. Make sure that it is {name} who asks, not somebody who says so."
    submit: str = "Take away"
