"""Measures on the real application and prints Markdown: how long a replica answers the old way.

NEVERSTALE_BIN=target/release/neverstale python clients/python/real/tables.py --tries 1000
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import environments
import house
from stage import stage
from staleness import table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=20, help="changes of each kind")
    parser.add_argument(
        "--limit", type=float, default=10.0, help="seconds after which an old answer counts as for ever"
    )
    parser.add_argument("--release", action="append", choices=environments.RELEASES)
    parser.add_argument("--case", default="", help="a pattern; only the changes that are named so")
    options = parser.parse_args()
    with house.postgres() as postgres:
        for release in options.release or environments.RELEASES:
            with stage(release, postgres) as plain:
                # Without us only what is stale at all is told, and that shows at once.
                tries = min(options.tries, 20)
                cases = table(plain, attached=False, tries=tries, limit_seconds=options.limit, named=options.case)
                before = dict(cases)
            print(f"\n### {release}\n\n| change | before | after |\n| --- | --- | --- |", flush=True)
            with stage(release, postgres) as ours:
                cases = table(ours, attached=True, tries=options.tries, limit_seconds=options.limit, named=options.case)
                for name, delays in cases:
                    print(f"| {name} | {before[name]} | {delays} |", flush=True)


if __name__ == "__main__":
    main()
