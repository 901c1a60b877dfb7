"""Passwords that attackers try first."""

from __future__ import annotations

from pathlib import Path

import pytest
from argon2 import PasswordHasher
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from sessile import Authority
from sessile.factors.blocklist import LARGEST, Blocklist
from sessile.factors.password import MINIMUM, Passwords, WeakPassword

CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.mark.requirement("ASVS V6.2.4", "63B-4 3.1.1.2-f", "ASVS V6.2.12")
def test_the_commonest_that_fit_are_refused_as_they_are_and_dressed_up() -> None:
    listed = Blocklist()
    fitting = [one for one in FREQUENCY_LISTS["passwords"] if len(one) >= 8]
    assert len(fitting) > 3_000
    assert [one for one in fitting if one not in listed] == []
    dressed = [f"{one}{'1234567890123'[: max(0, MINIMUM - len(one))]}" for one in fitting[:3_000]]
    assert [one for one in dressed if one not in listed] == []


@pytest.mark.parametrize(
    "text",
    [
        "password", "PassWord2026!!!", "p@ssw0rd12345678", "passwordpassword", "letmein! letmein!", "iloveyouiloveyou1",
        "administrator1234", "correct horse battery staple", "CorrectHorseBatteryStaple", "qwertyuiopasdfghjkl",
        "1qaz2wsx3edc4rfv", "mnbvcxzlkjhgfdsa",
    ],
)  # fmt: skip
def test_no_dress_helps(text: str) -> None:
    passwords = Passwords(Authority("memory:"), hasher=CHEAP)
    with pytest.raises(WeakPassword) as refused:
        passwords.check_rules(text.ljust(MINIMUM, "1"))
    assert refused.value.rule in ("common", "known")
    assert text not in str(refused.value)


@pytest.mark.requirement("63B-4 3.1.1.2-f")
@pytest.mark.parametrize(
    "text",
    ["monkey in the middle", "my password is long enough", "correct horse battery", "dragons do not eat shadows"],
)
def test_a_phrase_with_a_listed_word_in_it_is_none(text: str) -> None:
    assert text not in Blocklist()


@pytest.mark.requirement("ASVS V6.2.12")
def test_a_list_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "breached.txt"
    file.write_bytes(b"Tr0ub4dor & three\r\n\n  blue lamps, red lamps\n\xff\xfe\n")
    passwords = Passwords(Authority("memory:"), hasher=CHEAP, blocklist=Blocklist.read(file))
    for listed in ("tr0ub4dor & three", "TR0UB4DOR & THREE", "blue lamps, red lamps", "blue lamps, red lamps 2"):
        with pytest.raises(WeakPassword):
            passwords.check_rules(listed)
    passwords.check_rules("blue lamps and red lamps")
    with file.open("r+b") as opened:
        opened.truncate(LARGEST + 1)
    with pytest.raises(ValueError, match="larger"):
        Blocklist.read(file)
