"""Whether time tells what an answer does not: sign-ins and requests for a link, of names that are known and of others.

Two kinds are asked for in an order that is shuffled, each request by its own name and from its own network, so that no
throttle answers. Mann-Whitney's U over the two kinds of times gives p, how likely they differ so much by chance, and
the chance that a request of the one kind takes longer than one of the other: one half, if time tells nothing. Argon2 is
at its cheapest here, so that whatever differs beside it is not lost in its noise.
"""

from __future__ import annotations

import math
import random
import re
import secrets
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import msgspec
from argon2 import PasswordHasher
from fastapi import FastAPI

from sessile import Method, Policy
from sessile.factors.enrolled import Record
from sessile.kernel.event import SYSTEM
from sessile.kernel.ids import new_id
from sessile.kernel.principal import new_principal
from sessile.server import Settings, create_app
from sessile.server.settings import Mail
from sessile.server.state import Server
from sessile.stores.protocol import Credential

P_GOAL: Final = 0.001
"""Below this, times that say nothing come about once in a thousand comparisons."""
EFFECT_GOAL: Final = 0.05
"""Away from one half: above it, thousands of tries by a neighbour would tell."""
CHEAP: Final = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
RIGHT: Final = "correct horse battery"
ORIGIN: Final = "https://console.example.com"

Ask = Callable[[FastAPI, int], Awaitable[Callable[[], Awaitable[httpx.Response]]]]
"""Does what goes before, and gives the request that is timed."""
WITHHELD: Final = Policy.aal2(assurance=2)
_INSTANT: Final = re.compile(rb"\d{4}-\d\d-\d\dT[0-9:.]+Z")


@dataclass
class Comparison:
    """Seconds of two kinds of requests that are answered alike."""

    name: str
    one: list[float] = field(default_factory=list)
    other: list[float] = field(default_factory=list)

    @property
    def p(self) -> float:
        return mann_whitney(self.one, self.other)[1]

    @property
    def effect(self) -> float:
        """The chance that one of the first kind takes longer."""
        return mann_whitney(self.one, self.other)[0]

    @property
    def medians(self) -> tuple[float, float]:
        """Microseconds."""
        return statistics.median(self.one) * 1e6, statistics.median(self.other) * 1e6

    @property
    def met(self) -> bool:
        return self.p >= P_GOAL or abs(self.effect - 0.5) <= EFFECT_GOAL


def mann_whitney(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """U over the number of pairs, and the two-sided p by the normal approximation, with ties."""
    values = sorted([*((value, 0) for value in one), *((value, 1) for value in other)])
    ranks = [0.0, 0.0]
    ties, at = 0.0, 0
    while at < len(values):
        end = at
        while end < len(values) and values[end][0] == values[at][0]:
            end += 1
        for _, kind in values[at:end]:
            ranks[kind] += (at + 1 + end) / 2
        ties += (end - at) ** 3 - (end - at)
        at = end
    n, m = len(one), len(other)
    u = ranks[0] - n * (n + 1) / 2
    spread = math.sqrt(n * m / 12 * ((n + m + 1) - ties / ((n + m) * (n + m - 1))))
    z = (u - n * m / 2) / spread if spread else 0.0
    return u / (n * m), math.erfc(abs(z) / math.sqrt(2))


async def measure_timing(folder: Path, each: int) -> list[Comparison]:
    """`each`: requests of a kind. A database for each comparison: the limit of all tries together is none of it."""
    disabled = right = f"{RIGHT} {{n}}"
    return [
        await _compare(folder, "sign-in: an unknown name, a wrong password", _sign_in("q"), _sign_in("p"), each),
        await _compare(
            folder, "sign-in: a wrong password, a disabled person's right one", _sign_in("p"), _sign_in("d", disabled),
            each,
        ),
        await _compare(folder, "a link: an unknown name, a known one", _forgot("q{n:06}"), _forgot("p{n:06}"), each),
        await _compare(
            folder, "a link: an unknown address, a known one", _forgot("q{n:06}@example.org"),
            _forgot("p{n:06}@example.org"), each,
        ),
        # Where a second factor is demanded (decision 0026).
        *[
            await _compare(folder, name, one, other, each, WITHHELD)
            for name, one, other in (
                ("first step: a wrong password, the right one", _sign_in("p"), _sign_in("p", right)),
                ("first step: an unknown name, the right password", _sign_in("q"), _sign_in("p", right)),
                ("a wrong code: after a wrong password, the right one", _second("p"), _second("p", right)),
                ("a wrong code: of an unknown name, after the right password", _second("q"), _second("p", right)),
            )
        ],
    ]  # fmt: skip


async def _compare(
    folder: Path, name: str, one: Ask, other: Ask, each: int, policy: Policy | None = None
) -> Comparison:  # fmt: skip
    file = folder / f"timing-{secrets.token_hex(4)}.db"
    settings = Settings(
        database=f"sqlite:///{file}", origins=(ORIGIN,), policy=policy,
        mail=Mail(server="smtp://127.0.0.1:9", sender="sessile@example.com"),
    )  # fmt: skip
    app, found = create_app(settings, hasher=CHEAP), Comparison(name)
    order = [(ask, kept, n) for ask, kept in ((one, found.one), (other, found.other)) for n in range(each)]
    random.Random(7).shuffle(order)  # noqa: S311 - an order, no secret
    answers = set()
    async with app.router.lifespan_context(app):
        server: Server = app.state.server
        if server.reaching.courier is not None:
            await server.reaching.courier.close()  # it goes by its own beat: its work is in both kinds alike
        await _people(server, each)
        for ask, kept, n in order:
            asking = await ask(app, n)
            before = time.perf_counter()
            response = await asking()
            kept.append(time.perf_counter() - before)
            answers.add((response.status_code, _INSTANT.sub(b"", response.content)))
    if len(answers) != 1:
        raise AssertionError(f"{name}: answered differently: {answers}")
    return found


async def _people(server: Server, each: int) -> None:
    """`p…`, who have confirmed addresses and an app for codes, and `d…`, who are disabled."""
    store, now = server.authority.store, server.now()
    for letter in "pd":
        for n in range(each):
            person = new_principal(f"{letter}{n:06}", now=now)
            value = CHEAP.hash(f"{RIGHT} {n}").encode()
            await store.register(person, SYSTEM, Credential(uid=person.uid, kind="password", value=value))
            if letter == "d":
                await server.authority.disable(person.name, cause="left")
            else:
                made = await server.addresses.add(person, f"{person.name}@example.org")
                await server.addresses.confirm(await server.addresses.link(person, made.id))
                id = new_id("fct")
                sealed = server.factors.seal.seal(secrets.token_bytes(20), person.uid, Method.TOTP, id)
                record = Record(name="phone", added=now, confirmed=True, sealed=sealed)
                await store.set_credential(
                    Credential(uid=person.uid, kind=Method.TOTP, id=id, value=msgspec.json.encode(record))
                )


def _sign_in(letter: str, password: str = "wronged horse battery {n}") -> Ask:
    async def ask(app: FastAPI, n: int) -> Callable[[], Awaitable[httpx.Response]]:
        body = {"username": f"{letter}{n:06}", "password": password.format(n=n)}
        return lambda: _post(app, n, "/api/v1/session", body)

    return ask


def _second(letter: str, password: str = "wronged horse battery {n}") -> Ask:
    async def ask(app: FastAPI, n: int) -> Callable[[], Awaitable[httpx.Response]]:
        begun = await (await _sign_in(letter, password)(app, n))()
        cookies = dict(begun.cookies)
        return lambda: _post(app, n, "/api/v1/session/step-up", {"method": "totp", "code": "000000"}, cookies)

    return ask


def _forgot(named: str) -> Ask:
    async def ask(app: FastAPI, n: int) -> Callable[[], Awaitable[httpx.Response]]:
        return lambda: _post(app, n, "/api/v1/password/forgot", {"username": named.format(n=n)})

    return ask


async def _post(
    app: FastAPI, n: int, path: str, body: dict[str, str], cookies: dict[str, str] | None = None
) -> httpx.Response:  # fmt: skip
    client = (f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}", 50_000)
    transport = httpx.ASGITransport(app=app, client=client)
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, cookies=cookies) as asking:
        return await asking.post(path, json=body)
