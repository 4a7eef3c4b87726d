"""Who may ask: a page of this server's own, opened with its token, on this machine.

A page of another site can make a browser send requests here, and a name that a stranger resolves to 127.0.0.1 (DNS
rebinding) can make them look like this server's own. So the Host has to be a loopback address with the port, changes
have to come from a page with that origin, and everything has to carry a token that only the terminal shows.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers, QueryParams
from starlette.responses import PlainTextResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Scope]]
Send = Callable[[Scope], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADER = "x-mfc-token"
MOST = 64 * 1024  # bytes of a request


class Guard:
    """An application that only asks the one within it what passes."""

    def __init__(self, app: App, port: int, token: str) -> None:
        self._app, self._token = app, token
        self._hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":  # no sockets; the lifespan is off
            return
        if (refusal := self._refusal(scope)) is not None:
            code, why = refusal
            await PlainTextResponse(f"{why}\n", code, {"Cache-Control": "no-store"})(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the reason of a request that does not pass."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if host not in self._hosts:
            return 421, "this server answers on this machine alone"
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, "asked for by another site"
        if headers.get("origin", f"http://{host}") != f"http://{host}":
            return 403, "asked for by another site"
        if scope["method"] not in ("GET", "POST"):
            return 405, "GET and POST alone"
        if scope["method"] == "GET":
            given = QueryParams(scope["query_string"]).get("token", "")
        elif headers.get("origin") is None:
            return 403, "asked for by no page"
        else:
            given = headers.get(HEADER, "")
            length = headers.get("content-length", "")
            if not length.isdigit() or int(length) > MOST:  # no body without its length: HTTP/1.1 holds it to that
                return 413, "too long"
            if headers.get("content-type", "") != "application/json":
                return 415, "JSON alone"
        if not hmac.compare_digest(given.encode(), self._token.encode()):
            return 403, "open the address that the terminal shows"
        return None
