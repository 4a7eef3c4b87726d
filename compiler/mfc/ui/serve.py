"""The server: one page, and answers to what its form says."""

from __future__ import annotations

import json
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from mfc.errors import MfcError, SpecError
from mfc.ui import show
from mfc.ui.guard import Guard
from mfc.ui.state import NOTHING, Desk, asked

_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def application(desk: Desk) -> Starlette:
    """The pages of one desk, guarded by nothing yet."""

    async def page(_: Request) -> Response:
        try:
            text, policy = await run_in_threadpool(show.page, desk)
        except MfcError as error:
            return PlainTextResponse(f"{error}\n", 500, _HEADERS)
        return HTMLResponse(text, headers={**_HEADERS, "Content-Security-Policy": policy})

    async def plan(request: Request) -> Response:
        return await _answer(request, lambda said: _plan(desk, said))

    async def save(request: Request) -> Response:
        return await _answer(request, lambda said: _save(desk, said))

    routes = [
        Route("/", page, methods=["GET"]),
        Route("/plan", plan, methods=["POST"]),
        Route("/save", save, methods=["POST"]),
    ]
    return Starlette(routes=routes)


async def _answer(request: Request, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> Response:
    """An answer as JSON; what is wrong with the question as well."""
    try:
        said = json.loads(await request.body())
        if not isinstance(said, dict):
            raise SpecError("error: a question is a mapping")
        return JSONResponse(await run_in_threadpool(answer, said), headers=_HEADERS)
    except (ValueError, RecursionError):
        return JSONResponse({"error": "no JSON"}, 400, _HEADERS)
    except MfcError as error:
        return JSONResponse({"error": str(error)}, 400, _HEADERS)


def _plan(desk: Desk, said: dict[str, Any]) -> dict[str, Any]:
    wish = asked(said.get("state"))
    before = asked(said["before"]) if said.get("before") is not None else None
    return show.answer(desk, wish, before)


def _save(desk: Desk, said: dict[str, Any]) -> dict[str, Any]:
    wish, digest = asked(said.get("state")), said.get("digest")
    if not isinstance(digest, str):
        raise SpecError("error: a digest is text")
    return {"digest": desk.save(wish, digest)}


def serve(desk: Desk, port: int, say: Callable[[str], None]) -> None:
    """Serve until Ctrl-C. `port` 0 takes a free one; `say` is told the address. Raises SpecError for a port in use."""
    desk.loaded(NOTHING)
    token = secrets.token_urlsafe(24)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        try:
            listening.bind(("127.0.0.1", port))
            listening.listen()
        except OSError as error:
            raise SpecError(f"error: port {port}: {error.strerror}; leave --port out for a free one") from None
        port = listening.getsockname()[1]
        guarded = Guard(application(desk), port, token)
        config = uvicorn.Config(
            guarded,
            log_level="error",
            access_log=False,
            lifespan="off",
            ws="none",
            http="h11",
            h11_max_incomplete_event_size=16 * 1024,
            limit_concurrency=16,
            timeout_graceful_shutdown=1,
            server_header=False,
            proxy_headers=False,
        )
        with suppress(KeyboardInterrupt):
            say(f"http://127.0.0.1:{port}/?token={token}")
            uvicorn.Server(config).run(sockets=[listening])
