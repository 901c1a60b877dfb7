"""What the API gives between the two steps of a sign-in."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from sessile.kernel.assurance import Method
from sessile.server.models import Output


class PreSessionOut(Output):
    """The answer to a first step that does not say whether it was right: no session, and nothing but the second step
    is open."""

    kind: Literal["pre_session"] = "pre_session"
    assurance: Literal[0] = 0
    authentications: list[Any] = Field(default_factory=list, max_length=0)
    created: datetime
    expires: datetime
    step_up: list[Method]
    """What the second step may be, the same for everybody: `POST /session/step-up` takes it."""
