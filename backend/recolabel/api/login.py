"""The token of a data folder, and the cookie that a browser gets for it."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

from recolabel.settings import Settings


def read_or_make_token(file: Path) -> str:
    """The token in `file`; made with mode 0600 when there is none yet."""
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A name of its own, then a hard link: of two starts at once one wins, and nobody reads half a token.
        draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.write(secrets.token_urlsafe(32) + "\n")
            opened.flush()
            os.fsync(opened.fileno())
        try:
            os.link(draft, file)
        except FileExistsError:
            pass
        except OSError:
            draft.replace(file)  # a file system without hard links
        finally:
            draft.unlink(missing_ok=True)
    file.chmod(0o600)
    return file.read_text(encoding="ascii").strip()


class Login:
    """Knows who may come in."""

    def __init__(self, settings: Settings) -> None:
        self._token = read_or_make_token(settings.token_file)
        # Derived, so that it outlives a restart, and so that a stolen cookie does not tell the token.
        self._cookie = hmac.new(self._token.encode(), b"recolabel browser cookie", hashlib.sha256).hexdigest()

    def is_token(self, text: str) -> bool:
        """Whether this is the token; takes the same time for every wrong one."""
        return hmac.compare_digest(text.encode(), self._token.encode())

    def cookie_header(self, port: int) -> str:
        """The Set-Cookie header that logs a browser in. Cookies ignore ports, so the name carries it."""
        return f"{cookie_name(port)}={self._cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000"

    def admits(self, headers: Iterable[tuple[bytes, bytes]], port: int) -> bool:
        """Whether these request headers carry the token or the cookie."""
        for name, value in headers:
            text = value.decode("latin-1")
            if name == b"authorization":
                scheme, _, token = text.partition(" ")
                # A wrong token is not helped by a cookie: who sends one means to be judged by it.
                return scheme.lower() == "bearer" and self.is_token(token.strip())
        return any(self._is_login_cookie(value.decode("latin-1"), port) for name, value in headers if name == b"cookie")

    def _is_login_cookie(self, header: str, port: int) -> bool:
        try:
            morsel = SimpleCookie(header).get(cookie_name(port))
        except CookieError:
            return False
        return morsel is not None and hmac.compare_digest(morsel.value.encode(), self._cookie.encode())


def cookie_name(port: int) -> str:
    """Name of the cookie of the server at this port."""
    return f"recolabel-{port}"
