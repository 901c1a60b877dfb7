"""Conformance: a person comes back to a session that is over by inactivity (SP 800-63B-4, 2.2.3 and 2.3.3)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from sessile.kernel.assurance import Method
from sessile.kernel.event import SYSTEM
from sessile.kernel.policy import Trait
from sessile.kernel.principal import Principal
from sessile.kernel.reason import Reason
from sessile.kernel.session import Client, SessionKind
from sessile.stores.protocol import End
from sessile.testing.world import HOUR, MINUTE, SECOND, Holder, Node, World, new_digest

BOTH = (Method.PASSWORD, Method.TOTP)


class Resuming:
    async def test_after_inactivity_a_password_is_enough_until_the_overall_limit(self, world: World) -> None:
        alice = await world.person()
        held = await world.sign_in(alice, methods=BOTH)
        service = await world.person("service:ci")
        given = await world.delegate(held, service)
        began = world.clock.now()
        world.clock.advance(HOUR)
        assert await world.reason(held) is Reason.IDLE
        back = await world.sign_in(alice, replaces=held.id, resumes=held.digest)
        now = world.clock.now()
        assert [(event.method, event.at) for event in back.session.authentications] == [
            (Method.TOTP, began), (Method.PASSWORD, now),
        ]  # fmt: skip
        assert (back.session.assurance, back.session.created, back.session.last_seen) == (2, now, now)
        assert back.session.expires == began + timedelta(hours=24), "the overall limit stays"
        assert await world.alive(back, held, given) == [True, False, False]
        world.clock.advance(HOUR)
        again = await world.sign_in(alice, replaces=back.id, resumes=back.digest)
        assert (again.session.assurance, again.session.expires) == (2, began + timedelta(hours=24))

    async def test_it_is_gone_on_with_once(self, world: World, nodes: list[Node]) -> None:
        alice = await world.person()
        for _ in range(20):
            held = await world.sign_in(alice, methods=BOTH)
            world.clock.advance(HOUR)
            drafts = [world.draft(alice.uid, replaces=held.id, resumes=held.digest) for _ in nodes]
            begun = await asyncio.gather(
                *[node.store.begin(draft) for node, draft in zip(nodes, drafts, strict=True)]
            )  # fmt: skip
            assert sorted(one.snapshot.session.assurance for one in begun) == [*[1] * (len(nodes) - 1), 2]

    async def test_nothing_else_is_gone_on_with(self, world: World) -> None:
        alice, bob = await world.person(), await world.person("bob")

        async def begins(
            held: Holder, digest: bytes | None = None, who: Principal = alice, **more: Any
        ) -> int:  # fmt: skip
            back = await world.sign_in(who, **{"replaces": held.id, "resumes": digest or held.digest, **more})
            return back.session.assurance

        def idle(held: Holder) -> Holder:
            world.clock.advance(HOUR)
            return held

        one = await world.sign_in(alice, methods=(Method.TOTP,))
        assert await begins(idle(one)) == 1, "only one factor was proved there"
        strong = await world.sign_in(alice, methods=(Method.HARDWARE_KEY,))
        assert await begins(idle(strong)) == 1, "at assurance 3 it takes all that it took at first"
        both = await world.sign_in(alice, methods=BOTH)
        assert await begins(idle(both), who=bob) == 1, "another's"
        both = await world.sign_in(alice, methods=BOTH)
        assert await begins(idle(both), methods=(Method.TOTP,)) == 1, "something one has does not do"
        both = await world.sign_in(alice, methods=BOTH)
        assert await begins(idle(both), new_digest()) == 1, "not the token"
        both = await world.sign_in(alice, methods=BOTH)
        await world.store.end(End(session=both.id, cause="logout"))
        assert await begins(idle(both)) == 1, "it was ended"
        both = await world.sign_in(alice, methods=BOTH)
        await world.store.end(End(uid=alice.uid, cause="password"))
        assert await begins(idle(both)) == 1, "the epoch changed"
        both = await world.sign_in(alice, methods=BOTH)
        await world.store.end(End(everyone=frozenset({SessionKind.BROWSER}), cause="emergency"))
        assert await begins(idle(both)) == 1, "everybody was ended"
        both = await world.sign_in(alice, methods=BOTH)
        world.clock.advance(timedelta(hours=24))
        assert await begins(both) == 1, "the overall limit"
        both, live = [await world.sign_in(alice, methods=BOTH) for _ in range(2)]
        newer = new_digest()
        await world.store.replace(both.digest, newer, None, SYSTEM)
        assert await begins(live) == 1, "it is alive"
        assert await begins(idle(both)) == 1, "an old token"
        assert await begins(both, newer) == 1, "and the session that came with it is replaced by now"

    async def test_a_bound_session_is_gone_on_with_by_its_own_client(self, world: World) -> None:
        await world.policy(binding=frozenset({Trait.USER_AGENT}))
        alice = await world.person()
        mine, other = Client(user_agent="mine"), Client(user_agent="another")
        for client, assurance in ((other, 1), (mine, 2)):
            held = await world.sign_in(alice, methods=BOTH, client=mine)
            world.clock.advance(HOUR + MINUTE + SECOND)
            back = await world.sign_in(alice, replaces=held.id, resumes=held.digest, client=client)
            assert back.session.assurance == assurance
