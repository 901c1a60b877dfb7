"""For whoever runs the server: health, metrics, and the API's description."""

from __future__ import annotations

from importlib import metadata
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from starlette.responses import JSONResponse, PlainTextResponse

from sessile.server.access import Ours
from sessile.server.docs import reference
from sessile.server.models import ProblemOut
from sessile.server.pages.render import page
from sessile.web.problem import MEDIA_TYPE

router = APIRouter(include_in_schema=False)

DESCRIPTION: Final = (
    "Sessions that stay on the server and end at once. Sign in to get the cookie, or send a key or a delegated token"
    " as a bearer token; refusals are RFC 9457 problem details. Lists come in pages; times are RFC 3339 in UTC,"
    " lifetimes seconds."
)
_LEASES: Final = {"unconfirmed": "leases", "pending": "leases_pending", "overdue": "leases_overdue"}
_PROBLEM: Final = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemOut"}}}}
_DONE: Final = {"200": "Done.", "201": "Made.", "204": "Done; there is nothing to say."}
_ANSWERS: Final = {
    "400": "The request or its cookie cannot be read.",
    "401": "No live session, or not enough of one: `reason` says why and `cure` what would help.",
    "403": "The session may not do that, or another site made the request.",
    "404": "There is none, or none that this session may know of.",
    "409": "It does not fit what is there by now, or a limit was reached.",
    "413": "The body is too large.",
    "415": "The body is not of the type that this operation takes.",
    "421": "The server does not answer to that host name.",
    "422": "The request does not fit the operation's description.",
    "429": "Too many at once: Retry-After says when.",
    "503": "Sessions cannot be checked now; nobody is signed out.",
}


@router.get("/healthz")
async def alive() -> Response:
    """The process answers."""
    return JSONResponse({"status": "ok"})


@router.get("/readyz")
async def ready(server: Ours) -> Response:
    """The store answers, and so requests can be decided. Raises StoreUnavailable: 503."""
    await server.authority.store.policy("default")
    return JSONResponse({"status": "ok"})


@router.get("/metrics")
async def metrics(server: Ours) -> Response:
    """Prometheus' text format. Counts of checks are this process's; the rest is the store's."""
    counts = await server.authority.store.statistics()
    lines = ["# HELP sessile_sessions Living sessions.", "# TYPE sessile_sessions gauge"]
    kinds = sorted(name for name in counts if name.startswith("sessions_"))
    lines += [f'sessile_sessions{{kind="{name.removeprefix("sessions_")}"}} {counts[name]}' for name in kinds]
    if "log_bytes" in counts:  # SQLite's: a reader that stays for long lets it grow (review 6)
        lines += [
            "# HELP sessile_sqlite_log_bytes Size of the write-ahead log.",
            "# TYPE sessile_sqlite_log_bytes gauge",
            f"sessile_sqlite_log_bytes {counts['log_bytes']}",
        ]
    if "queue_ppm" in counts:  # PostgreSQL's: a listener of anybody's that does not read fills it (review 24)
        lines += [
            "# HELP sessile_postgres_queue_ratio How full the engine's queue of announcements is, from 0 to 1.",
            "# TYPE sessile_postgres_queue_ratio gauge",
            f"sessile_postgres_queue_ratio {counts['queue_ppm'] / 1_000_000}",
        ]
    for name, kind, about in (
        ("principals", "gauge", "Principals that are not deleted."),
        ("events", "counter", "Lines of the audit record."),
        ("journal", "counter", "Number of the last row of the journal of endings and rotations."),
    ):
        total = "_total" if kind == "counter" else ""
        lines += [
            f"# HELP sessile_{name}{total} {about}",
            f"# TYPE sessile_{name}{total} {kind}",
            f"sessile_{name}{total} {counts.get(name, 0)}",
        ]
    waiting = await server.authority.store.waiting_mails()
    lines += ["# HELP sessile_mails_waiting Mails that are still to be handed to the mail server.",
              "# TYPE sessile_mails_waiting gauge", f"sessile_mails_waiting {waiting}"]  # fmt: skip
    lines += ["# HELP sessile_leases Credentials in other systems whose end is not confirmed.",
              "# TYPE sessile_leases gauge"]  # fmt: skip
    # Pending: known to be over, and being ended. Overdue: for longer than it may last; alert on it.
    lines += [f'sessile_leases{{state="{state}"}} {counts.get(name, 0)}' for state, name in _LEASES.items()]
    lines += [
        "# HELP sessile_checks_total Requests by the outcome of their check.",
        "# TYPE sessile_checks_total counter",
    ]
    lines += [f'sessile_checks_total{{outcome="{name}"}} {count}' for name, count in sorted(server.checks.items())]
    return PlainTextResponse("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """The description of the API, OpenAPI 3.1."""
    return JSONResponse(request.app.openapi())


@router.get("/docs")
async def docs(request: Request) -> Response:
    """The same, for people."""
    return page(request, "api_docs.html", api=reference(request.app.openapi()))


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document, made once: FastAPI's, with our problems in the place of its own errors."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes,
            separate_input_output_schemas=False,
        )  # fmt: skip
        schemas = document["components"]["schemas"]
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        schemas["ProblemOut"] = ProblemOut.model_json_schema()
        document["components"]["securitySchemes"]["session"]["name"] = app.state.server.cookie.name
        for operations in document["paths"].values():
            for operation in operations.values():
                for status, said in _DONE.items():
                    if status in operation["responses"]:
                        operation["responses"][status]["description"] = said
                # OAuth's own error object, where an operation is one of OAuth's.
                oauth = operation["responses"].get("400", {}).get("content", {}).get("application/json")
                for status, said in _ANSWERS.items():
                    operation["responses"][status] = {"description": said, **_PROBLEM}
                if oauth is not None:
                    content = {**_PROBLEM["content"], "application/json": oauth}
                    operation["responses"]["400"] = {"description": _ANSWERS["400"], "content": content}
        app.openapi_schema = document
    return app.openapi_schema


def version() -> str:
    return metadata.version("sessile")
