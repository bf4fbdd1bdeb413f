"""Where the sidecar listens: a Unix socket or a TCP port."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT = "http://127.0.0.1:7380"
VARIABLE = "NEVERSTALE_URL"


@dataclass(frozen=True, slots=True)
class Address:
    """One listener: the path of a Unix socket, or host and port."""

    socket: str | None
    host: str
    port: int

    @classmethod
    def parse(cls, url: str | None = None) -> Address:
        """Reads `unix:///run/neverstale/api.sock` or `http://127.0.0.1:7380`; without a URL the variable `NEVERSTALE_URL`.

        Raises `ValueError` for anything else: there is no TLS in this client, because it talks to its own pod.
        """
        url = url or os.environ.get(VARIABLE) or DEFAULT
        parts = urlsplit(url)
        if parts.query or parts.fragment or parts.username is not None:
            raise ValueError(f"a sidecar's URL has neither user nor query: {url!r}")
        if parts.scheme == "unix":
            if parts.netloc or not parts.path.startswith("/"):
                raise ValueError(f"a Unix socket is written unix:///its/path, not {url!r}")
            return cls(parts.path, "localhost", 0)
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
            raise ValueError(f"a sidecar's URL is http://host:port or unix:///its/path, not {url!r}")
        return cls(None, parts.hostname, parts.port or 7380)

    @property
    def authority(self) -> str:
        """What stands in the `Host` header."""
        if self.socket is not None:
            return self.host
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"unix://{self.socket}" if self.socket is not None else f"http://{self.authority}"
