"""Passwords that attackers try first (NIST SP 800-63B-4, 3.1.1.2; ASVS V6.2.4, V6.2.11, V6.2.12). Needs zxcvbn.

The list is zxcvbn's: 30,000 passwords of known breaches by how common they are, and the names and words that stand in
the same tables. A password is compared as a whole: as it is, without digits and signs around it, and as the stretch
that it repeats, so that `password2026!` and `passwordpassword` are found, and a phrase with a listed word in it is not.
A file of one's own adds to it, one password a line.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Final

LARGEST: Final = 64 * 1024 * 1024
"""Bytes of a file of one's own."""
_SHORTEST: Final = 4
_EXAMPLES: Final = frozenset({"correct horse battery staple", "correcthorsebatterystaple"})
"""Famous as examples of good ones."""
_SHORTEST_CUT: Final = 6
_DRESS: Final = "0123456789 !?.,;:-_#*+=@$%&/()[]{}<>|~^'\"\\`"
_SPELLED: Final = str.maketrans("@4301!5$7", "aaeoiisst")
"""How letters are written to look clever."""


class Blocklist:
    """What nobody may take as a password.

    Args:
        more: further ones, in any case of letters.
    """

    def __init__(self, more: Iterable[str] = ()) -> None:
        self._more = frozenset(line for one in more if (line := one.strip().casefold()))

    def __repr__(self) -> str:
        return f"Blocklist({len(self._more)} more)"

    @classmethod
    def read(cls, path: Path) -> Blocklist:
        """With the lines of a file. Raises OSError; ValueError: it is larger than `LARGEST`."""
        if path.stat().st_size > LARGEST:
            raise ValueError(f"{path} is larger than {LARGEST // 1024 // 1024} MiB: take a shorter list")
        return cls(path.read_text(encoding="utf-8", errors="replace").splitlines())

    def __contains__(self, password: str) -> bool:
        text = password.casefold()
        listed = _listed()
        return any(form in self._more or form in listed or form in _EXAMPLES for form in _forms(text))


@lru_cache(maxsize=1)
def _listed() -> frozenset[str]:
    # Read when first needed: the tables are large, and not every process judges passwords.
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(one for table in FREQUENCY_LISTS.values() for one in table if len(one) >= _SHORTEST)


def _forms(text: str) -> set[str]:
    """What a password comes down to: itself, and itself without what is put around a word to make it fit a rule."""
    found = {text, "".join(char for char in text if char.isalnum())}
    for one in (text, text.translate(_SPELLED)):
        bare = one.strip(_DRESS)
        found |= {bare, "".join(char for char in bare if char.isalnum())}
    found |= {_stretch(one) for one in list(found)}
    # A listed one with digits of its own, and more behind it.
    tail = len(text) - len(text.rstrip(_DRESS))
    found |= {text[: len(text) - cut] for cut in range(1, tail + 1) if len(text) - cut >= _SHORTEST_CUT}
    return {one for one in found if len(one) >= _SHORTEST}


def _stretch(text: str) -> str:
    """The shortest stretch that the text is a repetition of; the text itself, if it is none."""
    again = (text + text).find(text, 1)
    return text[:again] if text else text
