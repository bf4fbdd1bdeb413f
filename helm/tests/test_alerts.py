"""Alerts fire under their fault and are silent beside it; rules and dashboard name only metrics that there are."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import yaml

import house

RULES = house.CHART / "rules" / "neverstale.yaml"
DASHBOARD = house.CHART / "dashboards" / "neverstale.json"
RUNBOOK = house.ROOT / "docs" / "runbook"


def rules():
    """All alerts."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def promtool(*arguments, rules_text=None):
    """Runs promtool with rules and their tests side by side; gives its exit code and what it said."""
    with tempfile.TemporaryDirectory() as directory:
        home = pathlib.Path(directory)
        (home / "neverstale.yaml").write_text(rules_text or RULES.read_text())
        shutil.copy(house.TESTS / "alerts.yaml", home)
        done = subprocess.run(
            [os.environ["PROMTOOL"], *arguments], cwd=home, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        return done.returncode, done.stdout


def named(text):
    """The names of ours that an expression has."""
    return set(re.findall(r"\bneverstale_\w+", text))


class Alerts(unittest.TestCase):
    def test_prometheus_takes_the_rules(self):
        code, said = promtool("check", "rules", "neverstale.yaml")
        self.assertEqual(code, 0, said)

    def test_each_alert_fires_under_its_fault_and_is_silent_beside_it(self):
        code, said = promtool("test", "rules", "alerts.yaml")
        self.assertEqual(code, 0, said)
        firing, silent = set(), set()
        for test in yaml.safe_load((house.TESTS / "alerts.yaml").read_text())["tests"]:
            for one in test["alert_rule_test"]:
                (firing if one.get("exp_alerts") else silent).add(one["alertname"])
        alerts = {rule["alert"] for rule in rules()}
        self.assertEqual((firing, silent), (alerts, alerts))

    def test_an_alert_that_never_fires_would_be_found(self):
        for rule in rules():
            with self.subTest(rule["alert"]):
                blind = yaml.safe_load(RULES.read_text())
                for one in blind["groups"][0]["rules"]:
                    if one["alert"] == rule["alert"]:
                        one["expr"] = "vector(1) < 0"
                code, said = promtool("test", "rules", "alerts.yaml", rules_text=yaml.safe_dump(blind))
                self.assertNotEqual(code, 0)
                self.assertIn(rule["alert"], said)

    def test_an_alert_that_always_fires_would_be_found(self):
        for rule in rules():
            with self.subTest(rule["alert"]):
                shrill = yaml.safe_load(RULES.read_text())
                for one in shrill["groups"][0]["rules"]:
                    if one["alert"] == rule["alert"]:
                        one["expr"] = "vector(1)"
                        one.pop("for", None)
                code, said = promtool("test", "rules", "alerts.yaml", rules_text=yaml.safe_dump(shrill))
                self.assertNotEqual(code, 0)
                self.assertIn(rule["alert"], said)

    def test_rules_and_dashboard_name_metrics_that_there_are(self):
        known = house.metrics()
        self.assertGreater(len(known), 30)
        for rule in rules():
            self.assertTrue(named(rule["expr"]))
            self.assertEqual(named(rule["expr"]) - known, set(), rule["alert"])
        self.assertEqual(named(DASHBOARD.read_text()) - known, set())

    def test_labels_that_rules_and_dashboard_choose_by_are_there(self):
        document = (house.ROOT / "docs" / "METRICS.md").read_text()
        lines = {line.split("`")[1]: line for line in document.splitlines() if line.startswith("| `neverstale_")}
        texts = [rule["expr"] for rule in rules()] + [target["expr"] for target in targets()]
        for text in texts:
            for name, chosen in re.findall(r"(neverstale_\w+?)(?:_bucket|_sum|_count)?\{([^}]*)\}", text):
                for label, values in re.findall(r'(\w+)\s*[=!]~?\s*"([^"]*)"', chosen):
                    if label in {"namespace", "pod"}:
                        continue
                    with self.subTest(metric=name, label=label):
                        self.assertIn(f"`{label}`:", lines[name])
                        for value in values.split("|"):
                            self.assertRegex(lines[name], rf"[ ,]{re.escape(value)}[,;| ]")

    def test_each_alert_has_its_page_and_each_page_its_alert(self):
        pages = {page.stem for page in RUNBOOK.glob("Neverstale*.md")}
        self.assertEqual(pages, {rule["alert"] for rule in rules()})
        for page in RUNBOOK.glob("Neverstale*.md"):
            text = page.read_text()
            for head in [f"# {page.stem}", "## What it means", "## What users notice", "## Look", "## Do"]:
                self.assertIn(head + "\n", text, page.name)

    def test_the_chart_hands_the_alerts_on_with_their_pages(self):
        values, upgrade = house.cases()["monitoring"]
        found = house.of_kind(house.objects(values, upgrade), "PrometheusRule")[0]["spec"]["groups"][0]["rules"]
        for sent, written in zip(found, rules(), strict=True):
            self.assertEqual(sent["annotations"].pop("runbook_url"), f"https://docs.example/runbook/{sent['alert']}.md")
            self.assertEqual(sent, written)


def targets():
    """All queries of the dashboard."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target for panel in panels for target in panel.get("targets", [])]


class Dashboard(unittest.TestCase):
    def test_every_panel_asks_says_and_has_a_place_of_its_own(self):
        taken = set()
        for panel in json.loads(DASHBOARD.read_text())["panels"]:
            with self.subTest(panel["title"]):
                self.assertTrue(panel["type"] == "row" or panel["description"])
                place = panel["gridPos"]
                cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
                self.assertFalse(cells & taken)
                self.assertLessEqual(place["x"] + place["w"], 24)
                taken |= cells

    def test_prometheus_understands_every_query(self):
        groups = [{"alert": f"Q{number}", "expr": target["expr"].replace("$__rate_interval", "5m").replace("$namespace", "apps").replace("$pod", ".*")}
                  for number, target in enumerate(targets())]
        self.assertGreater(len(groups), 10)
        code, said = promtool("check", "rules", "neverstale.yaml", rules_text=yaml.safe_dump({"groups": [{"name": "queries", "rules": groups}]}))
        self.assertEqual(code, 0, said)


if __name__ == "__main__":
    unittest.main()
