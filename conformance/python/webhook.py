"""A webhook as a customer would write it: Python's own HTTP server, and the event models of `azure-eventgrid`.

It answers the validation handshake of both schemas, and keeps what it received. Nothing here knows Gridpost.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from azure.eventgrid import EventGridEvent, SystemEventNames

PATIENCE_SECONDS = 20


@dataclass(frozen=True)
class Request:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def event_grid_events(self) -> list[EventGridEvent]:
        """The body in the Event Grid schema."""
        return [EventGridEvent.from_dict(event) for event in json.loads(self.body)]


class Webhook:
    """A running webhook. `validates`: whether it answers handshakes; `status`: how it answers notifications."""

    def __init__(self, *, validates: bool = True, status: int = 200) -> None:
        self.validates = validates
        self.status = status
        self._requests: list[Request] = []
        self._arrived = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/hook"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, wanted: Callable[[Request], bool], what: str) -> Request:
        """The first request that is wanted, now or soon."""
        with self._arrived:
            found = self._arrived.wait_for(
                lambda: [request for request in self._requests if wanted(request)], PATIENCE_SECONDS
            )
            if not found:
                seen = [(request.method, dict(request.headers), request.body) for request in self._requests]
                raise AssertionError(f"no {what} within {PATIENCE_SECONDS} s; received: {seen}")
            return found[0]

    def wait_for_event(self, wanted: Callable[[EventGridEvent], bool], what: str) -> EventGridEvent:
        """The first Event Grid event that is wanted, now or soon."""

        def events_of(request: Request) -> list[EventGridEvent]:
            if request.headers.get("aeg-event-type") != "Notification":
                return []
            return [event for event in request.event_grid_events() if wanted(event)]

        return events_of(self.wait_for(lambda request: bool(events_of(request)), what))[0]

    def requests(self) -> list[Request]:
        """Everything received so far."""
        with self._arrived:
            return list(self._requests)

    def answer(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        with self._arrived:
            self._requests.append(request)
            self._arrived.notify_all()
        if request.method == "OPTIONS":
            if not self.validates:
                return 200, {}, b""
            origin = request.headers["webhook-request-origin"]
            return 200, {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"}, b""
        if request.headers.get("aeg-event-type") == "SubscriptionValidation":
            return self._validate(request)
        return self.status, {}, b""

    def _validate(self, request: Request) -> tuple[int, dict[str, str], bytes]:
        [event] = request.event_grid_events()
        assert event.event_type == SystemEventNames.EventGridSubscriptionValidationEventName
        if not self.validates:
            return self.status, {}, b""
        answer = {"validationResponse": event.data["validationCode"]}
        return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


def _handler(webhook: Webhook) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, self.path, headers, body)
            status, headers, body = webhook.answer(request)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_OPTIONS = do_GET = _answer

        def log_message(self, *_: object) -> None:
            """Silence: the requests are kept, and a failing test prints them."""

    return Handler
