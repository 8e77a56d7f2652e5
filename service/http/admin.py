"""The admin server: liveness of all web workers, readiness and metrics, on a port of their own.

It is a process of its own, so that nothing that the web workers are busy with delays it.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from flask import Flask

from service import logs
from service.http.flask_pool import call_wsgi, wsgi_environ
from service.http.front import READY_SECONDS, Disconnected, alive_response
from service.http.gate import Refusal, finished_response, refusal_response, refuse
from service.http.message import Request, Response
from service.http.site import Site

FORWARDED = ("/readyz", "/metrics")

log = logging.getLogger("vigie.web")


class AdminFront:
    """Answers the operator's probes. It asks for no key: only the operator's machines should reach its port."""

    def __init__(self, app: Flask, workers_alive: Callable[[], bool], site: Site) -> None:
        self._app, self._workers_alive, self._site = app, workers_alive, site
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="flask")
        self._draining = False

    async def run(self) -> None:
        """Do nothing until cancelled: there is no cache."""
        await asyncio.Event().wait()

    def drain(self) -> None:
        """Be no longer ready."""
        self._draining = True

    def answer_from_cache(self, request: Request) -> Response | None:
        """Return None: nothing is cached."""
        return None

    async def answer(self, request: Request, disconnected: Disconnected) -> Response:
        """Answer a request."""
        request.request_id = secrets.token_hex(8)
        token = logs.request_id.set(request.request_id)
        try:
            return finished_response(request, await self._respond(request))
        except Refusal as refusal:
            return finished_response(request, refusal_response(refusal))
        except Exception:
            log.exception("a request failed")
            return finished_response(request, refusal_response(Refusal(500, [])))
        finally:
            logs.request_id.reset(token)

    async def _respond(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise Refusal(405, [("Allow", "GET, HEAD")])
        if request.path == "/healthz":
            return alive_response([], alive=self._workers_alive())
        if request.path not in FORWARDED:
            raise Refusal(404, [])
        # Probes name any host. A page of another site could read the metrics by DNS rebinding.
        if request.path == "/metrics" and not self._site.answers_to_host(request):
            refuse("unknown-host")
        if request.path == "/readyz" and self._draining:
            refuse("draining", ("Retry-After", "5"))
        environ = wsgi_environ(request)
        call = asyncio.get_running_loop().run_in_executor(self._threads, call_wsgi, self._app, environ)
        try:
            return await asyncio.wait_for(call, READY_SECONDS)
        except TimeoutError:
            refuse("unreadable-store", ("Retry-After", "5"))
