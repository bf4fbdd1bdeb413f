"""Reads the JSON that the application keeps in text columns, by the application's own codec."""

from __future__ import annotations

from typing import Any


def decoded(text: str | None) -> Any:
    """What a text says, as the application's type `JSONField` gives it."""
    from open_webui.utils.json_codec import JSONCodec

    return None if text is None else JSONCodec.loads(text)
