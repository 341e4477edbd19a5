"""The HTTP server: authentication, idempotency, faults, and the answers of the endpoints."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from billing.sandbox import API_VERSION, control, pages
from billing.sandbox.errors import ApiError, invalid, unauthorized
from billing.sandbox.expansion import expand
from billing.sandbox.faults import Fault
from billing.sandbox.forms import decode
from billing.sandbox.routing import Call, load_resources, match, parse, template_of
from billing.sandbox.sandbox import Sandbox
from billing.sandbox.table import Object

log = logging.getLogger("billing.sandbox")
EMBEDDED = 10
METHODS = ["GET", "POST", "DELETE", "PUT", "PATCH"]


BROKEN_PAGE = "<html><head><title>502 Bad Gateway</title></head><body>Bad Gateway</body></html>"


class Dropped(Response):
    """A response that breaks off, so that the connection closes under the client."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Promise a body and do not send it."""
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000000")]}
        )


def to_json(answer: Object) -> str:
    """An answer's text; embedded lists show their first ten, as Stripe's do."""
    return json.dumps(_shortened(answer), separators=(",", ":"), ensure_ascii=False)


def _shortened(answer: Object) -> Object:
    if answer.get("object") == "list":
        return {**answer, "data": [_shortened(each) for each in answer["data"]]}
    for field in ("lines", "items"):
        inner = answer.get(field)
        if isinstance(inner, dict) and len(inner.get("data", ())) > EMBEDDED:
            return {**answer, field: {**inner, "data": inner["data"][:EMBEDDED], "has_more": True}}
    return answer


class Api:
    """Answers `/v1/…`."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    async def answer(self, request: Request) -> Response:
        """One call, from its key to its log line."""
        sandbox, method, path = self.sandbox, request.method, request.url.path
        body = (await request.body()).decode("utf-8", "replace")
        key = request.headers.get("idempotency-key") if method == "POST" else None
        id = f"req_{sandbox.world.secret(14)}"
        headers = {
            "Request-Id": id,
            "Stripe-Version": request.headers.get("stripe-version") or API_VERSION,
            "Content-Type": "application/json",
            "Date": formatdate(time.time() + sandbox.world.settings.get("date_offset", 0), usegmt=True),
        }
        if key:
            headers["Idempotency-Key"] = key
        template = template_of(method, path)
        fault: Fault | None = None
        status, text, outcome = 0, "", "ok"
        try:
            self._authorize(request)
            if reason := sandbox.limits.exceeded(
                f"{method} {template}", sandbox.world.settings.get("rate_limits")
            ):
                headers["Stripe-Rate-Limited-Reason"] = reason
                outcome = reason
                raise _busy()
            fault = sandbox.faults.take(method, path, f"{request.url.query}&{body}")
            outcome = fault.kind if fault else "ok"
            if fault and fault.kind == "timeout_before":
                await self._hold(request, fault)
                raise ApiError(504, "api_error", "The request timed out.", stored=False)
            if fault and fault.kind == "drop_connection":
                return Dropped()
            if fault and fault.kind == "error_400":
                raise ApiError(400, "invalid_request_error", "This cannot be done now.", stored=False)
            if fault and fault.kind == "error_429":
                if fault.retry_after is not None:
                    headers["Retry-After"] = f"{fault.retry_after:g}"
                raise _busy()
            status, text, original = await self._once(request, path, body, key, id, fault)
            if original:
                headers["Idempotent-Replayed"] = "true"
                headers["Original-Request"] = original
                outcome = "replayed" if outcome == "ok" else outcome
            if fault and fault.kind == "timeout_after":
                await self._hold(request, fault)
            if fault and fault.kind == "drop_connection_after":
                return Dropped()
        except ApiError as refusal:
            status, text = refusal.status, self._refusal(refusal, id)
        finally:
            self._log(request, template, key, id, status, outcome)
            if sandbox.record:
                sandbox.record.call(method, template, path, request.url.query, body, status, text)
        if status in (409, 429) or status >= 500:
            headers["Stripe-Should-Retry"] = "true" if status != 500 else "false"
        if fault and fault.kind == "truncated_body":
            text = text[: len(text) // 2]
        if fault and fault.kind == "not_json":
            text, headers["Content-Type"] = BROKEN_PAGE, "text/html"
        return Response(text, status, headers)

    def _authorize(self, request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            import base64

            key = base64.b64decode(key + "==").decode("utf-8", "replace").partition(":")[0]
        if not key.startswith(("sk_test_", "rk_test_")):
            raise unauthorized(key)

    async def _once(
        self, request: Request, path: str, body: str, key: str | None, id: str, fault: Fault | None
    ) -> tuple[int, str, str | None]:
        """The answer, and the request that it is a replay of."""
        keys, world = self.sandbox.keys, self.sandbox.world
        self.sandbox.tick(most=2**62)
        if key is not None:
            known = keys.begin(key, path, f"{request.url.query}\n{body}", world.now())
            if known:
                return known.status, known.body, known.request
        stored = True
        try:
            if fault and fault.kind == "latency":
                await asyncio.sleep(fault.wait(1))
            try:
                if fault and fault.kind == "error_500":
                    raise _broken()
                text = self._perform(request, path, body, key, id)
                if fault and fault.kind == "error_500_after":
                    raise _broken()
                status = 200
            except ApiError as refusal:
                status, text, stored = refusal.status, self._refusal(refusal, id), refusal.stored
            except Exception:
                log.exception("%s %s failed", request.method, path)
                status, text = 500, self._refusal(_broken(), id)
        except BaseException:
            stored = False
            raise
        finally:
            if key is not None and not stored:
                keys.abandon(key)
        if key is not None and stored:
            keys.finish(key, status, text, id)
        return status, text, None

    def _perform(self, request: Request, path: str, body: str, key: str | None, id: str) -> str:
        """Parse, let the endpoint act, expand. All of it happens or none."""
        endpoint, ids = match(request.method, path)
        values = decode(request.url.query)
        if body:
            values.update(decode(body))
        params = parse(endpoint, values)
        wanted = params.pop("expand", [])
        call = Call(self.sandbox.world, path, [unquote(each) for each in ids], params)
        with self.sandbox.world.transaction({"id": id, "idempotency_key": key}):
            answer = endpoint.handler(call)
            if wanted:
                answer = expand(self.sandbox.world, answer, wanted)
            return to_json(answer)

    def _refusal(self, refusal: ApiError, id: str) -> str:
        error = {**refusal.body}
        if refusal.status not in (401,):
            error["request_log_url"] = f"https://dashboard.stripe.com/test/workbench/logs?object={id}"
        return json.dumps({"error": error}, indent=2)

    async def _hold(self, request: Request, fault: Fault) -> None:
        until = time.monotonic() + fault.wait(120)
        while time.monotonic() < until and not await request.is_disconnected():
            await asyncio.sleep(0.05)

    def _log(
        self, request: Request, template: str | None, key: str | None, id: str, status: int, outcome: str
    ) -> None:
        self.sandbox.calls.append(
            {
                "method": request.method,
                "path": request.url.path,
                "endpoint": template,
                "query": request.url.query,
                "key": key,
                "request": id,
                "status": status,
                "outcome": outcome,
                "simulated": self.sandbox.world.now(),
                "real": time.time(),
            }
        )


def _busy() -> ApiError:
    return ApiError(
        429,
        "invalid_request_error",
        "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
        code="rate_limit",
        stored=False,
    )


def _broken() -> ApiError:
    return ApiError(500, "api_error", "An unknown error occurred.")


async def _keep_time(sandbox: Sandbox) -> None:
    """Let due things happen by themselves, and keep the state file fresh."""
    swept = time.monotonic()
    while True:
        done = sandbox.tick()
        sandbox.save_if_changed()
        if time.monotonic() > swept + 60:
            swept = time.monotonic()
            sandbox.world.forget_old_events()
            sandbox.keys.sweep(sandbox.world.now())
        await asyncio.sleep(0.05 if done else 0)


def create_app(sandbox: Sandbox) -> Starlette:
    """The whole server for one sandbox."""
    load_resources()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(sandbox.deliveries.run()), asyncio.create_task(_keep_time(sandbox))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            sandbox.save()

    async def unknown(request: Request) -> Response:
        text = json.dumps(
            {"error": invalid(f"Unrecognized request URL ({request.method}: {request.url.path}).").body}
        )
        return Response(text, 404, {"Content-Type": "application/json"})

    api = Api(sandbox)
    routes = [
        Route("/v1/{path:path}", api.answer, methods=METHODS),
        *control.routes(sandbox),
        *pages.routes(sandbox),
        Route("/{path:path}", unknown, methods=METHODS),
    ]
    return Starlette(routes=routes, lifespan=lifespan)
