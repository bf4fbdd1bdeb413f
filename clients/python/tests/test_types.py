"""The package keeps what `py.typed` promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_everything_is_typed() -> None:
    words = [sys.executable, "-m", "mypy", "--no-color-output"]
    checked = subprocess.run(words, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
