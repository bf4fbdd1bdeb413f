"""Lets an unmodified Open WebUI read through the sidecar, by environment alone.

`attach()` waits for the application's modules by an import hook and then takes over the functions that it knows: those whose
source text is exactly one that was read. Everything else is left alone, and said once. A function that was taken over asks the
sidecar, fully consistently, and gives what the application's own function would give, fresh each time; where the sidecar is away,
refuses, or does not tell (secrets), the application's own function answers from Postgres as before.

The reads of one HTTP request are one batch, of one state (`snapshot`). What the process keeps of an answer is good only where the
sidecar says so again in that request, by a 304 (`entries`).
"""

from neverstale.openwebui.hook import attach, is_wanted

__all__ = ["attach", "is_wanted"]
