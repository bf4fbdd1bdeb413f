"""Python environments that hold the real application, one for each release, made once below the target directory.

An environment is named after the hash of its list of requirements and is whole only when the file `complete` is in
it. `NEVERSTALE_OPENWEBUI_ENVIRONMENTS` names ready ones instead: `0.12.4=/its/home:0.6.43=/another`. Knows nothing of
what is started.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

RELEASES = ("0.12.4", "0.6.43")
VARIABLE = "NEVERSTALE_OPENWEBUI_ENVIRONMENTS"

_HERE = Path(__file__).resolve().parent
_COMPLETE = "complete"


def python(release: str) -> Path:
    """The interpreter of an environment with this release, which is made if need be."""
    ready = dict(one.split("=", 1) for one in os.environ.get(VARIABLE, "").split(":") if one)
    if release in ready:
        return Path(ready[release]) / "bin/python"
    requirements = _HERE / f"requirements-{release}.txt"
    print_of_it = hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    target = Path(os.environ.get("CARGO_TARGET_DIR") or _HERE.parents[2] / "target")
    home = target / f"openwebui-{release}-{print_of_it}"
    if not (home / _COMPLETE).exists():
        _make(home, requirements)
    return home / "bin/python"


def _make(home: Path, requirements: Path) -> None:
    print(f"installing {requirements.stem.removeprefix('requirements-')} from PyPI into {home}", file=sys.stderr)
    interpreter = shutil.which("python3.11") or shutil.which("python3.12")
    if interpreter is None:
        raise RuntimeError("the application needs Python 3.11 or 3.12: install python3.11 with venv")
    subprocess.run([interpreter, "-m", "venv", "--clear", home], check=True)
    pip = [str(home / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--requirement", str(requirements)], check=True)
    (home / _COMPLETE).touch()


def main() -> None:
    """Makes all of them."""
    for release in RELEASES:
        print(f"{release}: {python(release)}")


if __name__ == "__main__":
    main()
