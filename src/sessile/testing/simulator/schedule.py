"""A schedule: what happens when, all drawn from the seed before the run begins."""

from __future__ import annotations

from random import Random
from typing import Any, NamedTuple

from sessile.testing.simulator.loop import MS

KINDS = ("calm", "engine", "engine", "quorum", "standbys", "slots")


class Action(NamedTuple):
    at: int
    name: str
    args: tuple[Any, ...]

    def __str__(self) -> str:
        return f"{self.at / MS:10.3f} ms  {self.name}{self.args}"


class Schedule(NamedTuple):
    kind: str
    delta: int
    nodes: int
    beside: bool
    length: int
    actions: tuple[Action, ...]
    recovers: bool
    """Whether, long after the last action, everything is looked at once more."""


def draw(seed: int, kinds: tuple[str, ...] = ()) -> Schedule:
    random = Random(f"schedule {seed}")  # noqa: S311 - chance that can be repeated
    kind = random.choice(kinds or KINDS)
    delta = random.choice((200, 500)) * MS
    beside = kind == "quorum" or (kind != "standbys" and random.random() < 0.5)
    length = 5_000 * MS if kind == "calm" else 5 * delta + 400 * MS
    actions = _ordinary(random, length)
    revocations = [action.at for action in actions if action.name == "revoke"]
    if kind != "calm":
        actions += _trouble(random, kind, delta, revocations)
    elif random.random() < 0.3:
        actions.append(Action(random.randrange(length), "change_delta", (random.choice((100, 300)) * MS,)))
    actions.sort()
    return Schedule(
        kind, delta, random.choice((2, 3)), beside, length, tuple(actions), kind != "calm" and random.random() < 0.06
    )


def _ordinary(random: Random, length: int) -> list[Action]:
    early = 150 * MS
    actions = []
    for _ in range(random.randrange(30, 60)):
        at = random.randrange(early, length if random.random() < 0.3 else length // 2)
        actions.append(Action(at, "check", (random.randrange(3), _session(random), random.random() < 0.3)))
    for _ in range(random.choice((1, 1, 2, 3))):
        at = random.randrange(2 * early, length // 2)
        revoke = (random.choice((-1, -1, 0, 1)), _target(random), _session(random))
        actions.append(Action(at, "revoke", revoke))
        for _ in range(6):
            near = at + random.randrange(-60 * MS, 200 * MS)
            actions.append(Action(near, "check", (random.randrange(3), revoke[2], False)))
        if random.random() < 0.3:  # a second revoker, at nearly the same time
            again = (random.choice((-1, 0, 1)), *revoke[1:])
            actions.append(Action(at + random.randrange(200 * MS), "revoke", again))
        if random.random() < 0.4:  # somebody types a password meanwhile
            thinking = random.randrange(10 * MS, 300 * MS)
            args = (random.randrange(3), random.randrange(2), random.randrange(2), thinking)
            actions.append(Action(max(early, at - random.randrange(300 * MS)), "sign_in", args))
    return actions


def _target(random: Random) -> str:
    return random.choice(("session",) * 6 + ("principal",) * 2 + ("disable", "everyone"))


def _session(random: Random) -> int:
    """Some are asked for more often."""
    return min(random.randrange(8), random.randrange(10))


def _trouble(random: Random, kind: str, delta: int, revocations: list[int]) -> list[Action]:
    """What goes wrong, mostly around a revocation."""
    actions = []
    names = ["stop", "part", "cut", "swap", "fork"]
    if kind == "engine":
        names += random.choice((["restart", "restart"], ["change_delta"], []))
    if kind == "standbys":
        names += ["part_standby", "part_standby"]
    for _ in range(random.choice((1, 2, 3))):
        tight = random.random() < 0.4  # between a revocation's call and its acknowledgement
        near = random.randrange(6 * MS) if tight else random.randrange(-delta, delta // 2)
        at = max(200 * MS, random.choice(revocations) + near)
        duration = random.randrange(delta // 4, 4 * delta)
        name = "part" if tight and random.random() < 0.6 else random.choice(names)
        args: tuple[Any, ...] = {
            "stop": (random.choice((-1, 0, 1, 2)), duration),
            "part": (random.choice((-1, 0, 1, 2)), random.randrange(2), duration),
            "part_standby": (random.randrange(2), duration),
            "cut": (random.randrange(3),),
            "swap": (random.randrange(3),),
            "fork": (random.randrange(3),),
            "restart": (0, random.randrange(MS, delta), random.choice((0.0, random.random()))),
            "change_delta": (random.choice((100, 200, 500, 800)) * MS,),
        }[name]
        actions.append(Action(at, name, args))
        if name == "cut" and random.random() < 0.5:  # while it is set up again
            actions.append(Action(at + random.randrange(25 * MS, 100 * MS), "swap", args))
    if kind == "engine" and random.random() < 0.15:
        actions += _relapse(random, delta, random.choice(revocations) + delta + delta // 5)
    if kind in ("quorum", "standbys"):
        at = max(200 * MS, random.choice(revocations) + random.randrange(-2 * delta, delta // 2))
        lag, demote = random.randrange(2 * delta), random.randrange(delta, 6 * delta)
        actions.append(Action(at, "failover", (random.getrandbits(6), lag, demote)))
        for _ in range(15):  # while nodes turn to the new one
            near = at + max(lag, demote) + random.randrange(-300 * MS, 100 * MS)
            actions.append(Action(near, "check", (random.randrange(3), _session(random), False)))
    if kind == "slots":
        for _ in range(random.choice((1, 2))):
            at = max(
                200 * MS, random.choice(revocations) + random.choice((-4 * MS, random.randrange(-delta, delta // 2)))
            )
            partition = random.randrange(2)
            actions.append(Action(at, "move", (partition,)))
            if random.random() < 0.3:  # and back, before anybody may have noticed
                actions.append(Action(at + random.randrange(2 * MS, delta // 4), "move", (partition,)))
    return actions


def _relapse(random: Random, delta: int, at: int) -> list[Action]:
    """While no node can look, the engine goes back to before a revocation that has returned, and on from there."""
    begins = at + delta // 10
    again = [Action(begins + i * delta // 5, "revoke", (-1, "session", _session(random))) for i in (1, 2, 3)]
    return [
        Action(at, "part_nodes", (0, delta + delta // 2)),
        Action(begins, "restart", (0, 5 * MS, random.random())),
        *again[: random.choice((1, 2, 3))],
    ]
