"""Each function that is taken over, held against the application's own: the walks in `tests`, with the real applications.

They run in the application's own process, with no replica and no HTTP; so they are tests of the package, and are only lent the
environments here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import environments

PACKAGE = Path(__file__).parents[1]
WALKS = ["tests/test_openwebui.py", "tests/test_openwebui_06.py", "tests/test_naga.py"]


def test_each_function_answers_as_its_own_does() -> None:
    lent = {
        **os.environ,
        "NEVERSTALE_TEST_OPENWEBUI": str(environments.python("0.12.4")),
        "NEVERSTALE_TEST_OPENWEBUI_06": str(environments.python("0.6.43")),
    }
    words = [sys.executable, "-m", "pytest", "-q", *WALKS]
    run = subprocess.run(words, cwd=PACKAGE, env=lent, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
