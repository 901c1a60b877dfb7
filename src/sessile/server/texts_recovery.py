"""The words of the pages for a forgotten password, for addresses and for strength; a part of `texts`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Recovery:
    link: str = "Forgot your password?"
    title: str = "Set a new password"
    lead: str = "We send a link to the e-mail addresses of your account. It works once, for 15 minutes."
    username: str = "User name or e-mail address"
    submit: str = "Send the link"
    back: str = "Back to sign in"
    sent_title: str = "Look at your mail"
    sent: str = (
        "If there is an account of that name or address, and it has a confirmed e-mail address, a link is on its way."
        " It takes a minute; look among unwanted mail too."
    )
    sent_nothing: str = "Nothing came? Then ask an operator for a link."
    throttled: str = "This was asked for often enough. Wait {wait}, and look at your mail meanwhile."
    no_mail_title: str = "This server sends no mail"
    no_mail: str = "Ask an operator for a link to set a new password."
    over_title: str = "This link does not work any more"
    over: str = "Links work once, for 15 minutes, and only the account's last password can be replaced by one."
    over_confirm: str = "Links to confirm an address work once, for 24 hours. Add the address again for a new one."
    again: str = "Ask for a new link"
    set_title: str = "Choose a new password"
    set_for: str = "For the account {name}."
    consequence: str = "Every session of this account ends. You sign in anew after this."
    code: str = "Code of your second factor"
    code_hint: str = "The link alone is not enough: a code of your authenticator app, or one of your recovery codes."
    code_missing: str = "Enter a code of your authenticator app, or one of your recovery codes."
    code_passkey: str = (
        "This account has a passkey and no codes. Sign in with the passkey in this browser first, then open the link"
        " again within five minutes."
    )
    code_wrong: str = "This code is wrong, or was used already."
    set_submit: str = "Set the password"
    done_title: str = "Your password is set"
    done: str = "Every session of this account is over. Sign in with the new password."
    replacement: str = "You used a recovery code. This one takes its place: write it down now, it is shown only here."
    sign_in: str = "Sign in"


@dataclass(frozen=True, slots=True)
class Addresses:
    title: str = "Your e-mail addresses"
    intro: str = (
        "Notices about your account go to all of them, and links if you forget your password. Nobody signs in by mail."
    )
    none: str = "No address"
    none_hint: str = "Without one you hear of nothing, and only an operator can help if you forget your password."
    row: str = "E-mail addresses"
    row_none: str = "None: you would not hear of changes to your account."
    change: str = "Change"
    change_label: str = "Change your e-mail addresses"
    confirmed: str = "Confirmed"
    unconfirmed: str = "Not confirmed yet: open the link that was sent there"
    unconfirmed_no_mail: str = "Not confirmed: this server sends no mail"
    added: str = "Added"
    remove: str = "Remove"
    remove_label: str = "Remove {address}"
    add_title: str = "Add an address"
    address: str = "E-mail address"
    address_hint: str = "A link is sent there. It counts once you have opened it."
    wrong: str = "This is no e-mail address. Write it as name@example.org."
    there: str = "This address is there already."
    most: str = "These are as many as there can be. Remove one first."
    submit: str = "Add it"
    back: str = "Back to your account"
    was_added: str = "A link was sent to {address}. Open it within 24 hours."
    was_removed: str = "{address} is removed. A notice of it goes to all your addresses, and to that one."
    confirm_title: str = "Confirm this address"
    confirm: str = "{address} will be told what happens to the account, and can be used to set a new password for it."
    confirm_submit: str = "Confirm"
    confirmed_title: str = "The address is confirmed"
    done: str = "{address} belongs to your account from now on."
    account: str = "Go to your account"


@dataclass(frozen=True, slots=True)
class Strength:
    """What is shown while one types a new password."""

    label: str = "Strength"
    scores: tuple[str, ...] = (
        "Guessed at once. Choose another.",
        "Easy to guess.",
        "Could be guessed with some effort.",
        "Good: hard to guess.",
        "Very good: very hard to guess.",
    )
