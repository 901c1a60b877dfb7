"""Tokens and identifiers."""

from __future__ import annotations

import hashlib
import re
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessile.kernel import token as tokens
from sessile.kernel.ids import (
    ALPHABET,
    PARTITIONS,
    check_session_id,
    new_id,
    new_session_id,
)
from sessile.kernel.ids import partition_of as partition_of_id
from sessile.kernel.token import (
    TOKEN_LENGTH,
    TOKEN_PATTERN,
    Token,
    TokenKind,
    derive,
    digest,
    kind_of,
    new_token,
    partition_of,
    partition_of_digest,
    placed,
    rotation_seed,
    well_formed,
)

kinds = st.sampled_from(TokenKind)
partitions = st.sampled_from(ALPHABET)
issued = st.builds(derive, st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), kinds, partitions)


@given(kind=kinds, partition=partitions)
def test_form(kind: TokenKind, partition: str) -> None:
    token = new_token(kind, partition)
    assert well_formed(token)
    assert (kind_of(token), partition_of(token), len(token)) == (kind, partition, TOKEN_LENGTH)
    assert re.fullmatch(TOKEN_PATTERN, token)
    assert token.startswith(("slb_", "sld_", "slk_"))
    assert token.isascii()
    assert len(token.encode()) < 100, "far below the 4096 bytes of a cookie"


@pytest.mark.requirement("ASVS V7.2.2", "ASVS V7.2.3", "63B-4 5.1-i2")
def test_every_token_is_new() -> None:
    """256 random bits from the secure source: no two alike, and every bit takes both values."""
    drawn = {new_token(TokenKind.BROWSER, "0") for _ in range(2000)}
    assert len(drawn) == 2000
    values = [int.from_bytes(bytes_of(token)) for token in drawn]
    for bit in range(256):
        ones = sum(value >> bit & 1 for value in values)
        assert 700 < ones < 1300, f"bit {bit}"


def bytes_of(token: str) -> bytes:
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number = 0
    for character in token[5:48]:
        number = number * 62 + digits.index(character)
    return number.to_bytes(32)


@pytest.mark.requirement("ASVS V7.2.3", "63B-4 5.1-i2")
def test_the_secure_source_is_the_one_that_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def source(count: int) -> bytes:
        asked.append(count)
        return bytes(range(count))

    monkeypatch.setattr(secrets, "token_bytes", source)
    token = tokens.new_token(TokenKind.KEY, "k")
    assert asked == [32]
    assert bytes_of(token) == bytes(range(32)), "and all of it is in the token"


@given(token=issued, place=st.integers(0, TOKEN_LENGTH - 1), character=st.characters())
def test_a_typo_is_found_without_a_look_up(token: Token, place: int, character: str) -> None:
    if character != token[place]:
        assert not well_formed(token[:place] + character + token[place + 1 :])


@given(token=issued, place=st.integers(0, TOKEN_LENGTH - 2))
def test_two_characters_changed_about_are_found(token: Token, place: int) -> None:
    swapped = token[:place] + token[place + 1] + token[place] + token[place + 2 :]
    assert well_formed(swapped) == (swapped == token)


@given(token=issued, more=st.text(min_size=1, max_size=3), cut=st.integers(1, TOKEN_LENGTH))
def test_longer_and_shorter_are_malformed(token: Token, more: str, cut: int) -> None:
    assert not well_formed(token + more)
    assert not well_formed(more + token)
    assert not well_formed(token[cut:])
    assert not well_formed(token[:-cut])


@given(anything=st.text(max_size=200) | st.text(alphabet="slbdk_" + ALPHABET, min_size=54, max_size=54))
def test_what_was_not_issued_is_malformed(anything: str) -> None:
    """A look-alike passes the checksum once in four thousand million."""
    assert not well_formed(anything)


@pytest.mark.requirement("63B-4 5.1-g")
@given(seed=st.binary(min_size=32, max_size=32), salt=st.binary(min_size=32, max_size=32), kind=kinds, place=partitions)
def test_derived_successors(seed: bytes, salt: bytes, kind: TokenKind, place: str) -> None:
    """Review 18: every holder of the old token derives the same one, and nobody else does."""
    successor = derive(seed, salt, kind, place)
    assert successor == derive(seed, salt, kind, place)
    assert well_formed(successor)
    assert (kind_of(successor), partition_of(successor)) == (kind, place)
    others = {
        derive(seed, bytes(32), kind, place), derive(bytes(32), salt, kind, place), derive(salt, seed, kind, place)
    }  # fmt: skip
    if bytes(32) not in (seed, salt) and seed != salt:
        assert successor not in others


@given(token=issued)
def test_neither_digest_nor_seed_gives_the_token_away(token: Token) -> None:
    hashed = hashlib.sha256(token.encode()).digest()
    assert digest(token) == placed(hashed, partition_of(token))
    assert digest(token)[1:] == hashed[1:]
    assert digest(token)[0] >> 5 == hashed[0] >> 5
    assert partition_of_digest(digest(token)) == partition_of(token)
    assert rotation_seed(token) != digest(token)
    assert len(rotation_seed(token)) == 32
    assert not well_formed(digest(token).hex())


@given(garbage=st.text())
def test_anything_has_a_digest(garbage: str) -> None:
    assert len(digest(garbage)) == 32
    assert len(digest("\ud800" + garbage)) == 32, "lone surrogates, as WSGI passes them"


@given(token=issued)
def test_a_repr_hides_the_token(token: Token) -> None:
    for shown in (repr(token), f"{token!r}", repr([token]), repr({"token": token})):
        assert f"Token({token[:4]}…)" in shown


@pytest.mark.parametrize("partition", ["", "i", "O", "00", "é"])
def test_partitions_are_bounded(partition: str) -> None:
    with pytest.raises(ValueError, match="partition"):
        new_token(TokenKind.BROWSER, partition)


# --- identifiers -------------------------------------------------------------------------------------------------


@given(place=partitions)
def test_session_ids(place: str) -> None:
    one, two = new_session_id(place), new_session_id(place)
    assert one != two
    assert check_session_id(one) == one
    assert partition_of_id(one) == place
    assert re.fullmatch(r"ses_[0-9a-z]{27}", one)


def test_partitions_are_drawn() -> None:
    assert PARTITIONS == len(set(ALPHABET)) == 32
    assert len({partition_of_id(new_session_id()) for _ in range(2000)}) == PARTITIONS


def test_other_ids() -> None:
    drawn = {new_id("prn") for _ in range(1000)}
    assert len(drawn) == 1000
    assert all(re.fullmatch(r"prn_[0-9a-z]{26}", each) for each in drawn)


@given(value=st.none() | st.integers() | st.binary() | st.text() | st.just("alice") | st.just("prn_" + "0" * 26))
def test_what_is_no_session_id_raises(value: object) -> None:
    """Review 15: a name where an id belongs is an error, not 'nothing revoked'."""
    with pytest.raises(ValueError, match="session id"):
        check_session_id(value)


@given(place=st.integers(0, 30), character=st.characters())
def test_a_session_id_has_its_alphabet(place: int, character: str) -> None:
    value = "ses_" + "0" * 27
    changed = value[:place] + character + value[place + 1 :]
    if changed[:4] != "ses_" or character not in ALPHABET + "ses_"[place : place + 1]:
        with pytest.raises(ValueError, match="session id"):
            check_session_id(changed)
    for edge in (value + "\n", value + "0", value[:-1]):
        with pytest.raises(ValueError, match="session id"):
            check_session_id(edge)
