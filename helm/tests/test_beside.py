"""Beside an application that is there: the official chart's values and the kustomize component carry the chart's own sidecar."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

import kubernetes_validate
import yaml

import beside
import house

BESIDE = house.ROOT / "helm" / "beside"
# What a cluster has before: an application as the official chart makes it, in short.
THERE = """
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: open-webui, labels: { app.kubernetes.io/component: open-webui } }
spec:
  serviceName: open-webui
  selector: { matchLabels: { app: open-webui } }
  template:
    metadata: { labels: { app: open-webui } }
    spec:
      initContainers: [{ name: copy-app-data, image: open-webui }]
      containers:
        - name: open-webui
          image: open-webui
          volumeMounts: [{ name: data, mountPath: /app/backend/data }]
      volumes: [{ name: data, emptyDir: {} }]
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: another }
spec:
  selector: { matchLabels: { app: another } }
  template:
    metadata: { labels: { app: another } }
    spec: { containers: [{ name: another, image: another }] }
"""


def plain():
    """The chart's own pod."""
    values, upgrade = house.cases()["plain"]
    return house.pod_of(house.of_kind(house.objects(values, upgrade), "Deployment")[0])


def setUpModule():
    """What is written is written before it is used."""
    if house.WRITE:
        for name in ["native", "classic"]:
            house.same_or_write(BESIDE / "kustomize" / f"{name}.yaml", beside.patch(name))


class Beside(unittest.TestCase):
    def test_the_official_charts_values_carry_the_charts_own_sidecar(self):
        values = yaml.safe_load((BESIDE / "open-webui-values.yaml").read_text())
        own = house.sidecar_of(plain())
        # That chart leaves the pod its 30 seconds.
        grace = next(one for one in own["env"] if one["name"].endswith("GRACE_PERIOD_SECONDS"))
        grace["value"] = "10"
        self.assertEqual(values["extraInitContainers"], [own])
        self.assertEqual(values["volumes"], [volume for volume in plain()["volumes"] if volume["name"] == "neverstale"])

    def test_the_patches_carry_the_charts_own_sidecar(self):
        for name in ["native", "classic"]:
            with self.subTest(name):
                kept = BESIDE / "kustomize" / f"{name}.yaml"
                self.assertTrue(house.same_or_write(kept, beside.patch(name)), "stale: cargo xtask chart --write")

    def test_kustomize_puts_the_sidecar_into_the_application_and_into_nothing_else(self):
        program = next((found for found in ["kubectl", "kustomize"] if shutil.which(found)), None)
        if program is None:
            self.skipTest("neither kubectl nor kustomize is on this machine")
        for name in ["native", "classic"]:
            with self.subTest(name), tempfile.TemporaryDirectory() as directory:
                home = pathlib.Path(directory)
                shutil.copytree(BESIDE / "kustomize", home / "component")
                component = home / "component" / "kustomization.yaml"
                component.write_text(component.read_text().replace("native.yaml\n", f"{name}.yaml\n"))
                (home / "there.yaml").write_text(THERE)
                (home / "kustomization.yaml").write_text("resources: [there.yaml]\ncomponents: [component]\n")
                command = [program, "kustomize", directory] if program == "kubectl" else [program, "build", directory]
                built = subprocess.run(command, text=True, capture_output=True, check=False)
                self.assertEqual(built.returncode, 0, built.stderr)
                found = {one["metadata"]["name"]: one for one in yaml.safe_load_all(built.stdout)}
                kubernetes_validate.validate(found["open-webui"], kubernetes_validate.latest_version(), strict=True)
                pod = house.pod_of(found["open-webui"])
                own = house.sidecar_of(house.pod_of(yaml.safe_load(beside.patch(name))))
                self.assertEqual(house.sidecar_of(pod), own)
                mounts = {one["name"] for one in house.named(pod["containers"], "open-webui")["volumeMounts"]}
                self.assertEqual(mounts, {"data", "neverstale"})
                self.assertEqual({one["name"] for one in pod["volumes"]}, {"data", "neverstale"})
                self.assertEqual(list(house.pod_of(found["another"])), ["containers"])


if __name__ == "__main__":
    unittest.main()
