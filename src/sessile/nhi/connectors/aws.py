"""Access keys of AWS IAM users; and temporary ones of STS, which nobody can end one by one.

The handle is the access key's id: `AKIA…`, or for a temporary one `ASIA…` and, where it is known, `@` and the instant
at which it ends (RFC 3339).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sessile.nhi.connector import SECONDS, ConnectorFailed, Description, Minted

try:
    from botocore.config import Config  # type: ignore[import-untyped]
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
    from botocore.session import Session  # type: ignore[import-untyped]
except ImportError as error:  # pragma: no cover - an install without the extra
    raise ImportError("this connector needs botocore: pip install 'sessile[aws]'") from error

T = TypeVar("T")

_KEY = re.compile(r"(?P<id>A(?:KIA|SIA)[A-Z0-9]{12,124})(?:@(?P<until>\S{10,40}))?")
_LONGEST_TEMPORARY = timedelta(hours=36)
"""What STS gives at most (GetSessionToken)."""
_BY_HAND = (
    "temporary credentials cannot be ended one by one: deny the role whatever was issued before now"
    " (aws:TokenIssueTime; IAM console: Revoke active sessions)"
)


class AccessKeys:
    """See `Connector`, `Rotates`.

    Args:
        access_key_id, secret_access_key: of a user that may list, update, delete and create access keys.
        delete: delete a key, instead of only making it inactive.
    """

    def __init__(
        self, access_key_id: str, secret_access_key: str, *, region: str = "us-east-1", endpoint_url: str | None = None,
        delete: bool = True,
    ) -> None:  # fmt: skip
        session = Session()
        self._delete = delete
        limits = Config(
            connect_timeout=SECONDS / 4, read_timeout=SECONDS / 4, retries={"mode": "standard", "total_max_attempts": 2}
        )
        self._iam, self._sts = [
            session.create_client(
                service, region_name=region, endpoint_url=endpoint_url, aws_access_key_id=access_key_id,
                aws_secret_access_key=secret_access_key, config=limits,
            )
            for service in ("iam", "sts")
        ]  # fmt: skip
        self._own = access_key_id

    async def probe(self) -> None:
        def look() -> None:
            who = self._sts.get_caller_identity()["Arn"]
            user = self._iam.get_access_key_last_used(AccessKeyId=self._own).get("UserName")
            if not user:
                raise ConnectorFailed(f"AWS: {who} is no IAM user's key: give one that may manage access keys")

        await self._run(look)

    async def describe(self, handle: str) -> Description:
        id, until = _parse(handle)
        if id.startswith("ASIA"):
            return Description(shown=id, until=until, by_hand=_BY_HAND)
        if await self._run(lambda: self._user(id)) is None:
            raise ValueError(f"AWS knows no access key {id}")
        return Description(shown=id)

    async def revoke(self, handle: str) -> datetime | None:
        id, until = _parse(handle)
        if id.startswith("ASIA"):
            return until or datetime.now(UTC) + _LONGEST_TEMPORARY
        await self._run(lambda: self._end(id))
        return None

    async def rotate(self, handle: str) -> Minted:
        id, _ = _parse(handle)
        if id.startswith("ASIA"):
            raise ConnectorFailed(_BY_HAND)

        def change() -> Minted:
            user = self._end(id)
            if user is None:
                raise ConnectorFailed(f"AWS knows no access key {id} any more: there is nobody to make a new one for")
            made = self._iam.create_access_key(UserName=user)["AccessKey"]
            return Minted(
                handle=made["AccessKeyId"],
                secret={"access_key_id": made["AccessKeyId"], "secret_access_key": made["SecretAccessKey"]},
            )

        return await self._run(change)

    async def close(self) -> None:
        self._iam.close()
        self._sts.close()

    def _end(self, id: str) -> str | None:
        """Whose it was; None: there is no such key."""
        user = self._user(id)
        if user is None:
            return None
        try:
            # First, because it takes effect sooner.
            self._iam.update_access_key(UserName=user, AccessKeyId=id, Status="Inactive")
            if self._delete:
                self._iam.delete_access_key(UserName=user, AccessKeyId=id)
        except ClientError as error:
            if _code(error) != "NoSuchEntity":
                raise
        return user

    def _user(self, id: str) -> str | None:
        try:
            user: str | None = self._iam.get_access_key_last_used(AccessKeyId=id).get("UserName")
        except ClientError as error:
            # IAM says of a key that it does not know that one may not ask about it.
            if _code(error) in ("NoSuchEntity", "AccessDenied") and self._may_ask():
                return None
            raise
        return user or None

    def _may_ask(self) -> bool:
        """Whether we may ask about keys at all: about our own."""
        try:
            return bool(self._iam.get_access_key_last_used(AccessKeyId=self._own))
        except ClientError:
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except ClientError as error:
            raise ConnectorFailed(f"AWS refuses: {_code(error)}: check the policy of the connector's user") from None
        except BotoCoreError as error:
            raise ConnectorFailed(f"AWS does not answer: {type(error).__name__}") from None


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _parse(handle: str) -> tuple[str, datetime | None]:
    found = _KEY.fullmatch(handle)
    if found is None or (found["until"] and found["id"].startswith("AKIA")):
        raise ValueError("the handle is AKIA… or, of a temporary key, ASIA… with @ and the instant of its end")
    if not found["until"]:
        return found["id"], None
    until = datetime.fromisoformat(found["until"])
    if until.tzinfo is None:
        raise ValueError("the instant after @ has an offset, as 2026-01-31T09:00:00Z")
    return found["id"], until.astimezone(UTC)
