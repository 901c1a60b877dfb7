"""The tree of commands."""

from __future__ import annotations

from sessile.cli import (
    audit,
    bench,
    contain,
    demo,
    doctor,
    factors,
    inventory,
    key,
    lease,
    offboarding,
    policy,
    revoke,
    serve,
    sessions,
    team,
    user,
)
from sessile.cli.common import command, group

app = group("Sessile: the login stays on the server, and access ends at once.", top=True)
command(app, "demo")(demo.demo)
command(app, "serve")(serve.serve)
command(user.app, "factors")(factors.factors)
for verb in (offboarding.holdings, offboarding.handover, offboarding.offboard, offboarding.budget):
    command(user.app, verb.__name__)(verb)
app.add_typer(user.app, name="user")
app.add_typer(team.app, name="team")
app.add_typer(sessions.app, name="sessions")
command(app, "revoke")(revoke.revoke)
command(app, "contain")(contain.contain)
app.add_typer(key.app, name="key")
app.add_typer(lease.app, name="lease")
command(app, "inventory")(inventory.inventory)
app.add_typer(audit.app, name="audit")
app.add_typer(policy.app, name="policy")
command(app, "doctor")(doctor.doctor)
command(app, "bench")(bench.bench)
