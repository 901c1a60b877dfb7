"""The words of mails: plain text, no link but to the server's own origin, nothing in them that a stranger chose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Notice:
    subject: str
    said: str
    """What happened, as a sentence that ends with where and when."""


@dataclass(frozen=True, slots=True)
class Mails:
    hello: str = "Hello {name},"
    where: str = "on {when}, from {place}"
    when: str = "on {when}"
    sign: str = "{host} sent this mail, since you have an account there. Nobody reads answers to it."
    sign_contact: str = "{host} sent this mail, since you have an account there. Questions: {contact}"
    fine: str = "If this was you, there is nothing to do."
    object: str = (
        "If it was not you: set a new password at once. It ends every session, whoever has it.\n\n    {forgot}\n\n"
        "Then look through how you sign in, and remove what you do not know:\n\n    {account}"
    )
    object_contact: str = "And tell {contact}, also if you cannot get in any more."
    object_operator: str = "And tell whoever runs {host}, also if you cannot get in any more."
    notices: Mapping[str, Notice] = field(
        default_factory=lambda: MappingProxyType(
            {
                "principal.password_set": Notice(
                    "Your password was changed", "The password of your account at {host} was changed {where}."
                ),
                "factor.added": Notice(
                    "A way to sign in was added", "A way to sign in ({method}) was added to your account {where}."
                ),
                "factor.removed": Notice(
                    "A way to sign in was removed",
                    "A way to sign in ({method}) was removed from your account {where}.",
                ),
                "factor.reset": Notice(
                    "Your second factors were taken away",
                    "An operator took away the second factors of your account {where}.",
                ),
                "factor.cloned": Notice(
                    "A passkey of yours was refused",
                    "A passkey of your account was refused {where}: it looks as if there were a copy of it.",
                ),
                "factor.off": Notice(
                    "A way to sign in is off",
                    "A way to sign in ({method}) was tried too often without success, and is off since {when}."
                    " It has to be set anew.",
                ),
                "recovery.codes_made": Notice(
                    "New recovery codes",
                    "New recovery codes were made for your account {where}. The old ones are void.",
                ),
                "recovery.code_used": Notice(
                    "A recovery code was used",
                    "A recovery code of your account was used {where}, and another one was given in its place.",
                ),
                "recovery.link_made": Notice(
                    "A link for a new password was made",
                    "An operator made a link with which a new password can be set for your account {where}.",
                ),
                "session.revoked": Notice(
                    "A session of yours may have been stolen",
                    "An old token of one of your sessions was used {where}. This can mean that somebody copied it:"
                    " the session is over.",
                ),
                "session.replayed": Notice(
                    "A session of yours may have been stolen",
                    "An old token of one of your sessions was used {where}. This can mean that somebody copied it,"
                    " or that a browser went back to an older state: the token is void, the session goes on.",
                ),
                "device.added": Notice(
                    "New sign-in", "Somebody signed in to your account on a device that was not used before, {where}."
                ),
                "sign_in.failed": Notice(
                    "A wrong code for your second factor",
                    "Somebody came as far as your second factor, by your password, a session or a link of yours, and"
                    " gave a wrong code for it {where}.",
                ),
                "sign_in.guessing": Notice(
                    "Somebody is guessing", "Somebody tried to sign in to your account many times, without success,"
                    " last {where}.",
                ),
                "address.added": Notice(
                    "An e-mail address was added", "The address {address} was added to your account {where}."
                ),
                "address.removed": Notice(
                    "An e-mail address was removed", "The address {address} was removed from your account {where}."
                ),
            }
        )
    )  # fmt: skip
    after_failures: Notice = Notice(
        "Signed in after failed tries",
        "Somebody signed in to your account {where}, after several tries that failed.",
    )
    left: Notice = Notice(
        "Your password was given, and no second factor",
        "Somebody gave your password {where}, and did not show your second factor after that. Nobody was let in.",
    )
    after_absence: Notice = Notice(
        "Signed in after a long time",
        "Somebody signed in to your account {where}. Nobody had for months.",
    )
    methods: Mapping[str, str] = field(
        default_factory=lambda: MappingProxyType(
            {
                "password": "a password",
                "totp": "an authenticator app",
                "passkey": "a passkey",
                "hardware_key": "a hardware key",
                "security_key": "a security key",
                "recovery_code": "recovery codes",
            }
        )
    )
    a_factor: str = "a second factor"
    reset_subject: str = "A new password"
    reset: str = (
        "Somebody asked {where} for a link to set a new password for your account at {host}.\n\n"
        "If this was you, open it within {minutes} minutes:\n\n    {link}\n\n"
        "It works once, and ends all your sessions. If you have a second factor, have it ready.\n\n"
        "If this was not you, there is nothing to do: without the link nothing changes. Do not pass it on."
    )
    confirm_subject: str = "Confirm this address"
    confirm: str = (
        "This address was given for your account at {host} {where}, for notices and for links should you forget your"
        " password.\n\nIf this was you, confirm it within {hours} hours:\n\n    {link}\n\n"
        "If this was not you, there is nothing to do: without the link nothing more is sent here."
    )


MAILS: Final = Mails()
