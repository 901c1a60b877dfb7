"""The application's data of a session: typed or a dict, bounded, never part of what a check reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessile import Authority, Conflict, LimitExceeded, Reason
from sessile.data import MAX_DATA_BYTES
from tests.authority.asking import active, cached, denied, happened, in_one_loop


class Cart(msgspec.Struct):
    items: list[str] = []
    note: str = ""


@dataclass
class Visits:
    pages: dict[str, int] = field(default_factory=dict)


async def test_a_value_of_ones_own(authority: Authority) -> None:
    issued, other = await authority.begin("alice"), await authority.begin("alice")
    async with authority.data(issued.active, Cart) as cart:
        assert cart == Cart()
        cart.items.append("apples")
    async with authority.data(await active(authority, issued.token), Cart) as cart:
        assert cart.items == ["apples"]
        cart.note = "ripe"
    async with authority.data(issued.active, Cart) as cart:
        assert cart == Cart(["apples"], "ripe")
    async with authority.data(other.active, Visits) as visits:
        assert visits.pages == {}
        visits.pages["/"] = 1
    async with authority.data(other.active, Visits) as visits:
        assert visits == Visits({"/": 1})


async def test_what_raises_saves_nothing(authority: Authority) -> None:
    issued = await authority.begin("alice")

    async def fail() -> None:
        async with authority.data(issued.active, Cart) as cart:
            cart.note = "half done"
            raise KeyError("the application's own")

    with pytest.raises(KeyError):
        await fail()
    async with authority.data(issued.active, Cart) as cart:
        assert cart == Cart()


async def test_another_request_that_saved_meanwhile(authority: Authority) -> None:
    issued = await authority.begin("alice")

    async def slow() -> None:
        async with authority.data(issued.active, Cart) as mine:
            mine.note = "mine"
            async with authority.data(issued.active, Cart) as theirs:
                theirs.note = "theirs"

    with pytest.raises(Conflict):
        await slow()
    async with authority.data(issued.active, Cart) as cart:
        assert cart.note == "theirs"


async def test_reading_alone_writes_nothing(authority: Authority) -> None:
    issued = await authority.begin("alice")
    async with authority.data(issued.active, Cart):
        pass
    assert await authority.store.read_data(issued.active.session.id) == (0, b"")


async def test_a_session_that_ended_meanwhile(authority: Authority) -> None:
    issued = await authority.begin("alice")

    async def late() -> None:
        async with authority.data(issued.active, Cart) as cart:
            cart.note = "late"
            await authority.revoke(session=issued.active.session.id, cause="logout")

    with pytest.raises(Conflict):
        await late()
    values = authority.session_data(issued.active)
    values["late"] = True
    assert not await values.save(authority.store, issued.active.session.id)
    assert await authority.store.read_data(issued.active.session.id) == (0, b"")
    assert (await denied(authority, issued.token)).reason is Reason.REVOKED


async def test_data_is_bounded(authority: Authority) -> None:
    issued = await authority.begin("alice")
    session = issued.active.session.id
    fits = "x" * (MAX_DATA_BYTES - len('{"items":[],"note":""}'))

    async def write(note: str) -> None:
        async with authority.data(issued.active, Cart) as cart:
            cart.note = note

    await write(fits)
    with pytest.raises(LimitExceeded):
        await write(fits + "x")
    values = authority.session_data((other := await authority.begin("alice")).active)
    values["k"] = "x" * MAX_DATA_BYTES
    with pytest.raises(LimitExceeded):
        await values.save(authority.store, other.active.session.id)
    assert len((await authority.store.read_data(session))[1]) == MAX_DATA_BYTES
    assert await authority.store.read_data(other.active.session.id) == (0, b"")


async def test_data_of_another_shape(authority: Authority) -> None:
    issued = await authority.begin("alice")
    async with authority.data(issued.active, Visits) as visits:
        visits.pages["/"] = 1

    class Count(msgspec.Struct):
        pages: int = 0

    async def read() -> None:
        async with authority.data(issued.active, Count):
            pytest.fail("read as something else")

    with pytest.raises(ValueError, match="pages"):
        await read()


async def test_a_write_of_data_leaves_the_cache_alone(authority: Authority) -> None:
    """Review 24: Django writes it at every request; it must cost no session its entry, and no event."""
    issued = await authority.begin("alice")
    entry = await cached(authority, issued.token)
    before = await happened(authority)
    async with authority.data(issued.active, Cart) as cart:
        cart.note = "x"
    assert authority.peek(issued.token) is entry
    assert await happened(authority) == before


# -- the dict ------------------------------------------------------------------------------------------------------


async def test_two_requests_that_set_different_keys_both_get_their_way(authority: Authority) -> None:
    issued = await authority.begin("alice")
    session = issued.active.session.id
    first = authority.session_data(issued.active)
    first.update({"kept": 1, "dropped": 2, "both": 0})
    assert await first.save(authority.store, session)

    one, two = authority.session_data(issued.active), authority.session_data(issued.active)
    one["one"], one["both"] = [1], 1
    del one["dropped"]
    two["two"], two["both"] = {"deep": {"er": 2}}, 2
    assert one.changed
    assert await one.save(authority.store, session)
    assert await two.save(authority.store, session)
    assert dict(authority.session_data(issued.active)) == {
        "kept": 1, "one": [1], "two": {"deep": {"er": 2}}, "both": 2,
    }  # fmt: skip


async def test_a_change_deep_inside_is_a_change(authority: Authority) -> None:
    issued = await authority.begin("alice")
    values = authority.session_data(issued.active)
    assert not values.changed
    values["cart"] = {"items": []}
    await values.save(authority.store, issued.active.session.id)
    again = authority.session_data(issued.active)
    assert "cart" in again
    assert not again.changed
    again["cart"]["items"].append("apples")
    assert again.changed
    await again.save(authority.store, issued.active.session.id)
    assert authority.session_data(issued.active)["cart"] == {"items": ["apples"]}


async def test_what_is_no_json(authority: Authority) -> None:
    issued = await authority.begin("alice")
    values = authority.session_data(issued.active)
    wrong: Any = 1
    with pytest.raises(TypeError):
        values[wrong] = "x"
    values["x"] = object()
    with pytest.raises(TypeError):
        await values.save(authority.store, issued.active.session.id)
    assert await authority.store.read_data(issued.active.session.id) == (0, b"")


async def test_its_repr_shows_keys_and_no_values(authority: Authority) -> None:
    values = authority.session_data((await authority.begin("alice")).active)
    assert repr(values) == "SessionData(not read)"
    values["secret"] = "hunter2"
    assert repr(values) == "SessionData(['secret'])"


def test_two_writers_in_any_way(url: str) -> None:
    """What each changed is there; where both changed a key, the later one's; what neither touched is untouched."""
    keys = st.sampled_from("abcd")
    values = st.integers(0, 3) | st.none() | st.lists(st.integers(0, 2), max_size=2)
    edits = st.dictionaries(keys, st.just("delete") | st.tuples(values), max_size=4)

    def story(run: Any) -> None:
        authority = run(Authority(url).open())

        @given(st.dictionaries(keys, values), edits, edits)
        def merged(start: dict[str, Any], mine: dict[str, Any], theirs: dict[str, Any]) -> None:
            issued = run(authority.begin("alice"))
            session = issued.active.session.id
            first = authority.session_data(issued.active)
            first.update(start)
            run(first.save(authority.store, session))
            expected = dict(start)
            writers = [authority.session_data(issued.active) for _ in range(2)]
            assert [dict(writer) for writer in writers] == [start, start]  # both have read before either writes
            for writer, edit in zip(writers, (mine, theirs), strict=True):
                for key, change in edit.items():
                    if change == "delete":
                        writer.pop(key, None)
                    else:
                        writer[key] = change[0]
                for key in start.keys() - dict(writer).keys():
                    expected.pop(key, None)
                expected |= {k: v for k, v in dict(writer).items() if k not in start or start[k] != v}
                assert run(writer.save(authority.store, session))
            assert dict(authority.session_data(issued.active)) == expected

        merged()
        run(authority.close())

    in_one_loop(story)
