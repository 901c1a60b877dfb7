"""AWS access keys, on moto's server: another implementation of IAM, over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session
from moto.server import ThreadedMotoServer

from sessile import Authority
from sessile.kernel.lease import EndsBy, Outcome
from sessile.nhi.connector import ConnectorFailed
from sessile.nhi.connectors.aws import POLICY, AccessKeys
from sessile.testing import ManualClock
from tests.nhi.outside import leases, operator


class AWS:
    def __init__(self, url: str) -> None:
        self.url = url
        self.iam = self.client("testing", "testing")
        self.iam.create_user(UserName="connector")
        self.own = self.key("connector")

    def client(self, id: str, secret: str, service: str = "iam") -> Any:
        return Session().create_client(
            service, region_name="us-east-1", endpoint_url=self.url, aws_access_key_id=id, aws_secret_access_key=secret
        )

    def key(self, user: str) -> dict[str, str]:
        found: dict[str, str] = self.iam.create_access_key(UserName=user)["AccessKey"]
        return found

    def keys(self, user: str) -> dict[str, str]:
        found = self.iam.list_access_keys(UserName=user)["AccessKeyMetadata"]
        return {one["AccessKeyId"]: one["Status"] for one in found}

    def connector(self, **more: Any) -> AccessKeys:
        return AccessKeys(self.own["AccessKeyId"], self.own["SecretAccessKey"], endpoint_url=self.url, **more)


@pytest.fixture(scope="module")
def aws() -> Iterator[AWS]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield AWS(f"http://{host}:{port}")
    finally:
        server.stop()


@pytest.fixture
def user(aws: AWS, request: pytest.FixtureRequest) -> str:
    name = request.node.name[:60].replace("[", "-").replace("]", "")
    aws.iam.create_user(UserName=name)
    return str(name)


@pytest.mark.parametrize("delete", [True, False])
async def test_a_key_is_ended(aws: AWS, user: str, delete: bool) -> None:
    key, other = aws.key(user), aws.key(user)
    outside = aws.connector(delete=delete)
    described = await outside.describe(key["AccessKeyId"])
    assert described.shown == key["AccessKeyId"]
    assert described.handle == f"{key['AccessKeyId']}/{user}"
    assert await outside.describe(described.handle) == described
    assert await outside.revoke(described.handle) is None
    left = {} if delete else {key["AccessKeyId"]: "Inactive"}
    assert aws.keys(user) == left | {other["AccessKeyId"]: "Active"}
    for handle in (described.handle, key["AccessKeyId"], f"{key['AccessKeyId']}/nobody"):
        assert await outside.revoke(handle) is None, "not found is success"
    await outside.close()


async def test_a_shared_key_is_rotated(aws: AWS, user: str, tmp_path: Path) -> None:
    key = aws.key(user)["AccessKeyId"]
    async with Authority(f"sqlite:///{tmp_path}/sessile.db") as authority:
        held = leases(authority, aws=aws.connector())
        alice = await operator(authority)
        lease = await held.register(alice.active, connector="aws", handle=key, ends_by=EndsBy.ROTATE)
        report = await authority.contain(session=alice.active.session.id, cause="stolen")
        assert await held.work() == 1
        bob = (await operator(authority, "bob")).active
        fresh = await held.take_successor(lease.info.id, by=bob)
        assert aws.keys(user) == {fresh["access_key_id"]: "Active"}
        assert fresh["access_key_id"] != key
        sts = aws.client(fresh["access_key_id"], fresh["secret_access_key"], "sts")
        assert sts.get_caller_identity()["Arn"].endswith(f"user/{user}")
        assert report.id is not None
        closed = await authority.containment(report.id)
        assert (closed.state, closed.leases[0].outcome) == ("closed", Outcome.ROTATED)
        await held.close()


async def test_temporary_credentials_say_until_when_they_live_and_what_a_person_has_to_do(
    aws: AWS, tmp_path: Path
) -> None:
    clock = ManualClock()
    until = (clock.now() + timedelta(hours=1)).replace(microsecond=0)
    async with Authority(f"sqlite:///{tmp_path}/sessile.db", clock=clock) as authority:
        held = leases(authority, aws=aws.connector())
        alice = await operator(authority)
        handle = f"ASIAQWERTYUIOPASDFGH@{until.isoformat()}"
        lease = await held.register(alice.active, connector="aws", handle=handle)
        assert lease.info.expires == until
        report = await authority.contain(session=alice.active.session.id, cause="stolen")
        assert await held.work() == 0
        assert report.id is not None
        (living,) = (await authority.containment(report.id)).living
        assert (living.until, living.shown) == (until, "ASIAQWERTYUIOPASDFGH")
        assert "aws:TokenIssueTime" in living.by_hand
        clock.advance(timedelta(hours=1))
        assert await held.work() == 1
        assert (await authority.containment(report.id)).state == "closed"
        await held.close()


async def test_a_roles_temporary_credentials_are_denied_by_their_issue_time(aws: AWS, tmp_path: Path) -> None:
    """Where the connector is configured to: the way of IAM's console, «Revoke active sessions»."""
    trust = json.dumps({"Version": "2012-10-17", "Statement": []})
    aws.iam.create_role(RoleName="deployer", AssumeRolePolicyDocument=trust)
    arn = "arn:aws:iam::123456789012:role/deployer"
    sts = aws.client("testing", "testing", "sts")
    given = sts.assume_role(RoleArn=arn, RoleSessionName="run")["Credentials"]
    handle = f"{given['AccessKeyId']}@{given['Expiration'].isoformat()}/deployer"
    async with Authority(f"sqlite:///{tmp_path}/sessile.db") as authority:
        held = leases(authority, aws=aws.connector(deny_older=True))
        alice = await operator(authority)
        lease = await held.register(alice.active, connector="aws", handle=handle)
        assert lease.info.by_hand == ""
        report = await authority.contain(session=alice.active.session.id, cause="stolen")
        assert await held.work() == 1
        assert report.id is not None
        closed = await authority.containment(report.id)
        assert (closed.state, closed.leases[0].outcome) == ("closed", Outcome.ENDED)
        await held.close()
    (statement,) = aws.iam.get_role_policy(RoleName="deployer", PolicyName=POLICY)["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"], statement["Resource"]) == ("Deny", ["*"], ["*"])
    until = datetime.fromisoformat(statement["Condition"]["DateLessThan"]["aws:TokenIssueTime"])
    assert abs(until - datetime.now(UTC)) < timedelta(minutes=5)
    denies = aws.connector(deny_older=True)
    assert await denies.revoke(handle.replace("deployer", "gone")) is None, "not found is success"
    for outside, name in ((aws.connector(), "deployer"), (denies, "gone")):
        with pytest.raises(ValueError, match="no role"):
            await outside.describe(handle.replace("deployer", name))
    lives = await aws.connector().revoke(handle)
    assert lives == given["Expiration"], "and without that it says until when it lives"


async def test_what_is_no_key_is_refused(aws: AWS) -> None:
    outside = aws.connector()
    for handle in (
        "", "alice", "AKIA1", "AKIAQWERTYUIOPASDFGH@2026-01-01T00:00:00Z", "ASIAQWERTYUIOPASDFGH@tomorrow-at",
        "ASIAQWERTYUIOPASDFGH@2026-01-01T00:00:00",
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"."):
            await outside.revoke(handle)
    for handle in ("AKIAQWERTYUIOPASDFGH", f"{aws.own['AccessKeyId']}/somebody"):
        with pytest.raises(ValueError, match="no such access key"):
            await outside.describe(handle)
    with pytest.raises(ConnectorFailed, match="any more"):
        await outside.rotate("AKIAQWERTYUIOPASDFGH")
    unknown = await outside.revoke("ASIAQWERTYUIOPASDFGH")
    assert unknown is not None
    assert timedelta(hours=35) < unknown - datetime.now(UTC) <= timedelta(hours=36)


async def test_the_configuration_is_tried(aws: AWS) -> None:
    await aws.connector().probe()
    with pytest.raises(ConnectorFailed, match=r"no IAM user's key|InvalidClientTokenId|NoSuchEntity"):
        await AccessKeys("AKIAQWERTYUIOPASDFGH", "x", endpoint_url=aws.url).probe()
    with pytest.raises(ConnectorFailed, match="does not answer"):
        await AccessKeys("AKIAQWERTYUIOPASDFGH", "x", endpoint_url="http://127.0.0.1:9").probe()
