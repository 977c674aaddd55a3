"""Who is asking."""

from __future__ import annotations

from recolabel.contract.projects import Contract


class User(Contract):
    """The person behind a token. A laptop has one: `local`."""

    user_id: str
    name: str
