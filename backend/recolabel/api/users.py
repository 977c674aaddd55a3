"""Who is asking."""

from __future__ import annotations

from fastapi import APIRouter

from recolabel.api.deps import UserDep
from recolabel.contract.users import User

router = APIRouter(tags=["users"])


@router.get("/users/me")
def who_am_i(user: UserDep) -> User:
    """The person behind the token."""
    return user
