"""Linters: Helm's own over the chart, checkov over what every value set renders."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import helm_python
import yaml

import house

# Every finding that stands, with the reason; one that is no longer found must go.
ACCEPTED = yaml.safe_load((house.TESTS / "accepted.yaml").read_text())


def checkov(directory):
    """All failed checks, as (check, kind.name, what it says)."""
    program = pathlib.Path(os.environ["CHART_BIN"]) / "checkov"
    command = [sys.executable, str(program), "-d", str(directory), "--framework", "kubernetes", "--output", "json"]
    command += ["--soft-fail", "--skip-download", "--quiet"]
    done = subprocess.run(command, text=True, capture_output=True, check=True)
    report = json.loads(done.stdout)
    assert report["summary"]["resource_count"] > 0, report["summary"]
    return [(one["check_id"], one["resource"], one["check_name"]) for one in report["results"]["failed_checks"]]


class Lint(unittest.TestCase):
    def test_helm_finds_nothing(self):
        for name, (values, _) in house.cases().items():
            with self.subTest(name):
                found = helm_python.lint(str(house.CHART), values=values, strict=True)
                messages = found["messages"] if isinstance(found, dict) else found
                serious = [one for one in messages if "icon is recommended" not in str(one)]
                self.assertEqual(serious, [])

    def test_checkov_finds_nothing_that_is_not_explained(self):
        found = {}
        with tempfile.TemporaryDirectory() as directory:
            for name, (values, upgrade) in house.cases().items():
                text = yaml.safe_dump_all(house.objects(values, upgrade))
                (pathlib.Path(directory) / f"{name}.yaml").write_text(text)
            for check, resource, says in checkov(directory):
                found.setdefault(check, (says, set()))[1].add(resource)
        unexplained = {check: where for check, where in found.items() if check not in ACCEPTED}
        self.assertEqual(unexplained, {})
        self.assertEqual(set(ACCEPTED) - set(found), set(), "accepted, but no longer found")

    def test_checkov_would_find_a_privileged_sidecar(self):
        values, upgrade = house.cases()["plain"]
        found = house.objects(values, upgrade)
        for one in house.of_kind(found, "Deployment"):
            house.sidecar_of(house.pod_of(one))["securityContext"]["privileged"] = True
        with tempfile.TemporaryDirectory() as directory:
            (pathlib.Path(directory) / "plain.yaml").write_text(yaml.safe_dump_all(found))
            self.assertIn("CKV_K8S_16", {check for check, _, _ in checkov(directory)})


if __name__ == "__main__":
    unittest.main()
