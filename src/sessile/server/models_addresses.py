"""E-mail addresses, as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from sessile.factors.addresses import Address
from sessile.server.models import Output

ADDRESS_ID = r"^adr_[0-9abcdefghjkmnpqrstvwxyz]{26}$"


class AddressOut(Output):
    id: str
    address: str
    added: datetime
    confirmed: datetime | None
    """null: its link was not followed yet, and nothing else is sent there."""

    @classmethod
    def of(cls, address: Address) -> Self:
        return cls(id=address.id, address=address.address, added=address.added, confirmed=address.confirmed)
