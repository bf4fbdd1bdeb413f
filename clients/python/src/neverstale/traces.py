"""Which trace a request belongs to (W3C Trace Context), so that the sidecar's spans stand below its caller's.

What OpenTelemetry calls the current span, where the process uses it; else what the caller says by `within`. Nothing is imported for it: a
process without `opentelemetry` has no current span.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}").fullmatch

_said: ContextVar[str] = ContextVar("neverstale_trace", default="")


def within(traceparent: str | None, tracestate: str | None = None) -> AbstractContextManager[None]:
    """The requests of this thread or task belong to a trace meanwhile; none ends that. Raises `ValueError` for what is no header."""
    return _within("" if traceparent is None else _lines(traceparent, tracestate))


@contextmanager
def _within(lines: str) -> Iterator[None]:
    token = _said.set(lines)
    try:
        yield
    finally:
        _said.reset(token)


def lines() -> str:
    """The headers of a request that is sent now; empty where it belongs to no trace."""
    # Whoever has a span has imported this; who is just importing it has none yet.
    get_current_span = getattr(sys.modules.get("opentelemetry.trace"), "get_current_span", None)
    if get_current_span is not None:
        context = get_current_span().get_span_context()
        if context.is_valid:
            state = context.trace_state.to_header()
            return _written(f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}", state)
    return _said.get()


def _lines(traceparent: str, tracestate: str | None) -> str:
    if not _TRACEPARENT(traceparent):
        raise ValueError("a traceparent is version-trace-parent-flags, in lower hexadecimal digits")
    state = tracestate or ""
    if not state.isascii() or not (state + " ").isprintable():
        raise ValueError("a tracestate is one line of visible ASCII")
    return _written(traceparent, state)


def _written(traceparent: str, tracestate: str) -> str:
    lines = f"traceparent: {traceparent}\r\n"
    return f"{lines}tracestate: {tracestate}\r\n" if tracestate else lines
