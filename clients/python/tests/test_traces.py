"""Whose trace a request belongs to: that of OpenTelemetry's current span, else what the caller says, else nobody's."""

from __future__ import annotations

import asyncio
import http.server
import threading
import time
from collections.abc import Iterator
from typing import Any

import house
import pytest
from askers import Asker
from conftest import House
from neverstale import AsyncClient, reads, traces, writes
from neverstale.openwebui.middleware import Middleware
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from test_broken_servers import ANSWER, Server, server

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACER = TracerProvider().get_tracer("tests")


@pytest.fixture
def shown() -> Iterator[Server]:
    """A server that shows what it is asked."""

    def play(server: Server, connection: Any, _: int) -> None:
        while True:
            server.request(connection)
            connection.sendall(ANSWER)

    with server(play) as asked:
        yield asked


def headers(request: bytes) -> dict[str, str]:
    lines = request.decode("ascii").split("\r\n\r\n")[0].split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines)


def test_a_request_without_a_trace_names_none(kind: str, shown: Server) -> None:
    with Asker(kind, shown.url) as asker:
        asker.read(reads.user("u1"))
    assert "traceparent" not in headers(shown.requests[0])


def test_what_the_caller_says_is_sent_with_each_kind_of_request(kind: str, shown: Server) -> None:
    with Asker(kind, shown.url) as asker, traces.within(PARENT, "vendor=1"):
        asker.read(reads.user("u1"))
        asker.answer(reads.user("u1"), timeout=3)
        asker.position()
    with Asker(kind, shown.url) as asker, traces.within(PARENT, "vendor=1"):
        asker.write(writes.config("a", 1), None)
    for request in shown.requests:
        sent = headers(request)
        assert (sent["traceparent"], sent["tracestate"]) == (PARENT, "vendor=1"), request
    assert len(shown.requests) == 4


def test_the_current_span_comes_first(kind: str, shown: Server) -> None:
    with Asker(kind, shown.url) as asker, traces.within(PARENT), TRACER.start_as_current_span("request") as span:
        asker.read(reads.user("u1"))
        context = span.get_span_context()
        with traces.within(None):
            assert "traceparent" in traces.lines()
    sent = headers(shown.requests[0])
    assert sent["traceparent"] == f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
    assert traces.lines() == ""


def test_tasks_have_traces_of_their_own(shown: Server) -> None:
    other = PARENT.replace("0af7", "0af8")

    async def ask(client: AsyncClient, parent: str) -> None:
        with traces.within(parent):
            await asyncio.sleep(0)
            await client.read(reads.user("u1"))

    async def both() -> None:
        async with AsyncClient(shown.url) as client:
            await ask(client, PARENT)
            await asyncio.gather(ask(client, other), asyncio.sleep(0))

    asyncio.run(both())
    assert [headers(request)["traceparent"] for request in shown.requests] == [PARENT, other]


@pytest.mark.parametrize(
    "wrong", ["", "00", PARENT.upper(), PARENT + "\r\nhost: x", PARENT.replace("b7ad6b7169203331", "0" * 16)]
)
def test_what_is_no_header_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="traceparent"):
        traces.within(wrong)
    with pytest.raises(ValueError, match="tracestate"):
        traces.within(PARENT, "a=b\r\nhost: x")


@pytest.mark.parametrize(("sent", "expected"), [(PARENT, PARENT), ("of-nobody", None)])
def test_the_adapter_passes_on_the_trace_of_the_applications_request(sent: str, expected: str | None) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        # As the application calls blocking functions: in a thread that has the request's context.
        seen.append(await asyncio.to_thread(traces.lines))

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"traceparent", sent.encode())]}
    asyncio.run(Middleware(app)(scope, None, None))  # type: ignore[arg-type]
    assert seen == ["" if expected is None else f"traceparent: {expected}\r\n"]


class Collector:
    """Takes spans, and knows no more of them than which bytes they hold."""

    def __init__(self) -> None:
        self.told = b""
        collector = self

        class Takes(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/v1/traces":
                    collector.told += body
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Takes)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever).start()

    def has(self, *texts: bytes) -> bool:
        return all(text in self.told for text in texts)


def test_a_span_of_the_application_is_above_the_sidecars_and_that_of_postgres(kind: str, shared: House) -> None:
    collector = Collector()
    environment = {"NEVERSTALE_TELEMETRY__OTLP__ENDPOINT": collector.url}
    try:
        with house.sidecar(shared.postgres.url(shared.database), environment) as sidecar:
            with Asker(kind, sidecar.url) as asker, TRACER.start_as_current_span("request") as span:
                assert asker.read(reads.user("u2"))["id"] == "u2"
            context = span.get_span_context()
            own = context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big")
            end = time.monotonic() + 20
            while not collector.has(b"proxy.request", b"postgres.fill", b"db.postgresql.backend_pid", *own):
                assert time.monotonic() < end, collector.told
                time.sleep(0.02)
            # Every span that was told is of this trace: request, fence and statement.
            assert collector.told.count(own[0]) >= 2
    finally:
        collector.server.shutdown()
        collector.server.server_close()
    assert not trace.get_current_span().get_span_context().is_valid
