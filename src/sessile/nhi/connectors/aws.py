"""Access keys of AWS IAM users; and temporary ones of STS, which nobody can end one by one.

The handle is the access key's id, `AKIA…`; kept is `AKIA…/user`, so that its end does not depend on finding out whose
it is. For a temporary one it is `ASIA…` and, where it is known, `@` and the instant at which it ends (RFC 3339). With
`/` and its role's name all that the role gave out before is denied when it ends, this one among it (`deny_older`).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

from sessile.nhi.connector import SECONDS, ConnectorFailed, Description, Minted

try:
    from botocore.config import Config  # type: ignore[import-untyped]
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]
    from botocore.session import Session  # type: ignore[import-untyped]
except ImportError as error:  # pragma: no cover - an install without the extra
    raise ImportError("this connector needs botocore: pip install 'sessile[aws]'") from error

T = TypeVar("T")

_KEY = re.compile(r"(?P<id>AKIA[A-Z0-9]{12,124})(?:/(?P<user>[\w+=,.@-]{1,64}))?", re.ASCII)
_TEMPORARY = re.compile(
    r"(?P<id>ASIA[A-Z0-9]{12,124})(?:@(?P<until>[^\s/]{10,40}))?(?:/(?P<role>[\w+=,.@-]{1,64}))?", re.ASCII
)
POLICY = "SessileRevokeOlderSessions"
"""The inline policy of a role that denies what was issued before an instant, as IAM's console does it."""
_LONGEST_TEMPORARY = timedelta(hours=36)
"""What STS gives at most (GetSessionToken)."""
_BY_HAND = (
    "temporary credentials cannot be ended one by one: deny the role whatever was issued before now"
    " (aws:TokenIssueTime; IAM console: Revoke active sessions)"
)


class _Key(NamedTuple):
    id: str
    user: str | None
    until: datetime | None
    temporary: bool
    role: str | None = None


class AccessKeys:
    """See `Connector`, `Rotates`.

    Args:
        access_key_id, secret_access_key: of a user that may list, update, delete and create access keys.
        delete: delete a key, instead of only making it inactive.
        deny_older: a temporary key that names its role ends with all that the role gave out before. The user may put
            policies on roles.
    """

    def __init__(
        self, access_key_id: str, secret_access_key: str, *, region: str = "us-east-1", endpoint_url: str | None = None,
        delete: bool = True, deny_older: bool = False,
    ) -> None:  # fmt: skip
        session = Session()
        self._delete = delete
        self._deny = deny_older
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
        key = _parse(handle)
        if key.temporary:
            if key.role is not None and not await self._run(lambda: self._may_deny(key.role or "")):
                raise ValueError(f"AWS knows no role {key.role}, or this connector does not deny what roles gave out")
            by_hand = _BY_HAND if key.role is None else ""
            return Description(shown=key.id, until=key.until, by_hand=by_hand)
        user = await self._run(lambda: self._user(key.id))
        if user is None or key.user not in (None, user):
            raise ValueError(f"AWS knows no such access key {key.id}")
        return Description(shown=key.id, handle=f"{key.id}/{user}")

    async def revoke(self, handle: str) -> datetime | None:
        key = _parse(handle)
        if key.temporary and key.role is not None and self._deny:
            await self._run(lambda: self._deny_older(key.role or ""))
            return None
        if key.temporary:
            return key.until or datetime.now(UTC) + _LONGEST_TEMPORARY
        await self._run(lambda: self._end(key))
        return None

    async def rotate(self, handle: str) -> Minted:
        key = _parse(handle)
        if key.temporary:
            raise ConnectorFailed(_BY_HAND)

        def change() -> Minted:
            user = self._end(key)
            if user is None:
                raise ConnectorFailed(f"AWS knows no access key {key.id} any more: there is nobody to make one for")
            made = self._iam.create_access_key(UserName=user)["AccessKey"]
            return Minted(
                handle=made["AccessKeyId"],
                secret={"access_key_id": made["AccessKeyId"], "secret_access_key": made["SecretAccessKey"]},
            )

        return await self._run(change)

    async def close(self) -> None:
        self._iam.close()
        self._sts.close()

    def _end(self, key: _Key) -> str | None:
        """Whose it was; None: there is no such key, and nobody knows whose it was."""
        user = key.user or self._user(key.id)
        if user is None:
            return None
        try:
            # First, because it takes effect sooner.
            self._iam.update_access_key(UserName=user, AccessKeyId=key.id, Status="Inactive")
            if self._delete:
                self._iam.delete_access_key(UserName=user, AccessKeyId=key.id)
        except ClientError as error:
            if _code(error) != "NoSuchEntity":
                raise
        return user

    def _may_deny(self, role: str) -> bool:
        try:
            self._iam.get_role(RoleName=role)
        except ClientError as error:
            if _code(error) == "NoSuchEntity":
                return False
            raise
        return self._deny

    def _deny_older(self, role: str) -> None:
        """Deny the role's sessions that were issued before now; those that come after are none of them."""
        # Instants of issue are in whole seconds: one that was issued in this second is among them.
        now = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        statement = {
            "Effect": "Deny", "Action": ["*"], "Resource": ["*"],
            "Condition": {"DateLessThan": {"aws:TokenIssueTime": now}},
        }  # fmt: skip
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        try:
            self._iam.put_role_policy(RoleName=role, PolicyName=POLICY, PolicyDocument=document)
        except ClientError as error:
            if _code(error) != "NoSuchEntity":  # with the role went what it gave out
                raise

    def _user(self, id: str) -> str | None:
        """Whose a key is; None: there is none. That one may not ask is another matter: it raises."""
        try:
            user: str | None = self._iam.get_access_key_last_used(AccessKeyId=id).get("UserName")
        except ClientError as error:
            if _code(error) == "NoSuchEntity":
                return None
            raise
        return user or None

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except ClientError as error:
            raise ConnectorFailed(f"AWS refuses: {_code(error)}: check the policy of the connector's user") from None
        except BotoCoreError as error:
            raise ConnectorFailed(f"AWS does not answer: {type(error).__name__}") from None


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def _parse(handle: str) -> _Key:
    if found := _KEY.fullmatch(handle):
        return _Key(found["id"], found["user"], None, False)
    if not (found := _TEMPORARY.fullmatch(handle)):
        raise ValueError(
            "the handle is AKIA… or, of a temporary key, ASIA…, @ and the instant of its end, / and a role"
        )
    if not found["until"]:
        return _Key(found["id"], None, None, True, found["role"])
    until = datetime.fromisoformat(found["until"])
    if until.tzinfo is None:
        raise ValueError("the instant after @ has an offset, as 2026-01-31T09:00:00Z")
    return _Key(found["id"], None, until.astimezone(UTC), True, found["role"])
