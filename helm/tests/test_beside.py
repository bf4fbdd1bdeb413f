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
          ports: [{ name: http, containerPort: 8080 }]
          livenessProbe: { httpGet: { path: /health, port: http } }
          volumeMounts: [{ name: data, mountPath: /app/backend/data }]
      volumes: [{ name: data, emptyDir: {} }]
---
apiVersion: v1
kind: Service
metadata: { name: chat, labels: { app.kubernetes.io/component: open-webui } }
spec: { selector: { app: open-webui }, ports: [{ name: http, port: 80, targetPort: http }] }
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


# The files that are made, each with what it should say.
MADE = {
    "kustomize/native.yaml": lambda: beside.patch("native"),
    "kustomize/classic.yaml": lambda: beside.patch("classic"),
    "kustomize-door/door.yaml": lambda: beside.patch("door"),
    "open-webui-door-values.yaml": beside.door_values,
}


def setUpModule():
    """What is written is written before it is used."""
    if house.WRITE:
        for path, made in MADE.items():
            house.same_or_write(BESIDE / path, made())


class Beside(unittest.TestCase):
    def test_the_official_charts_values_carry_the_charts_own_sidecar(self):
        values = yaml.safe_load((BESIDE / "open-webui-values.yaml").read_text())
        self.assertEqual(values["extraInitContainers"], [beside.official_sidecar()])
        pod, _, _ = beside.pod_of()
        self.assertEqual(values["volumes"], [volume for volume in pod["volumes"] if volume["name"] == "neverstale"])

    def test_what_is_made_carries_the_charts_own_sidecar(self):
        for path, made in MADE.items():
            with self.subTest(path):
                self.assertTrue(house.same_or_write(BESIDE / path, made()), "stale: cargo xtask chart --write")

    def built(self, component, name):
        """What kustomize makes of a cluster's application with a component, whose patch may be named otherwise; by kind and name."""
        program = next((found for found in ["kubectl", "kustomize"] if shutil.which(found)), None)
        if program is None:
            self.skipTest("neither kubectl nor kustomize is on this machine")
        with tempfile.TemporaryDirectory() as directory:
            home = pathlib.Path(directory)
            shutil.copytree(BESIDE / component, home / "component")
            kustomization = home / "component" / "kustomization.yaml"
            kustomization.write_text(kustomization.read_text().replace("native.yaml\n", f"{name}.yaml\n"))
            (home / "there.yaml").write_text(THERE)
            (home / "kustomization.yaml").write_text("resources: [there.yaml]\ncomponents: [component]\n")
            command = [program, "kustomize", directory] if program == "kubectl" else [program, "build", directory]
            done = subprocess.run(command, text=True, capture_output=True, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            return {one["metadata"]["name"]: one for one in yaml.safe_load_all(done.stdout)}

    def test_kustomize_puts_the_sidecar_into_the_application_and_into_nothing_else(self):
        for component, name in [("kustomize", "native"), ("kustomize", "classic"), ("kustomize-door", "door")]:
            with self.subTest(name):
                found = self.built(component, name)
                kubernetes_validate.validate(found["open-webui"], kubernetes_validate.latest_version(), strict=True)
                pod = house.pod_of(found["open-webui"])
                own = house.sidecar_of(house.pod_of(yaml.safe_load(beside.patch(name))))
                self.assertEqual(house.sidecar_of(pod), own)
                mounts = {one["name"] for one in house.named(pod["containers"], "open-webui")["volumeMounts"]}
                self.assertEqual(mounts, {"data", "neverstale"})
                self.assertEqual({one["name"] for one in pod["volumes"]}, {"data", "neverstale"})
                self.assertEqual(list(house.pod_of(found["another"])), ["containers"])

    def test_kustomize_leads_callers_to_the_door_and_the_application_to_loopback(self):
        found = self.built("kustomize-door", "door")
        application = house.named(house.pod_of(found["open-webui"])["containers"], "open-webui")
        _, sidecar, own = beside.pod_of(door={"enabled": True})
        self.assertEqual(application["env"], [{"name": "HOST", "value": "127.0.0.1"}])
        self.assertEqual([application[probe] for probe in beside.PROBES], [own[probe] for probe in beside.PROBES])
        port = house.named(sidecar["ports"], "door")["containerPort"]
        self.assertEqual(found["chat"]["spec"]["ports"][0]["targetPort"], port)
        without = self.built("kustomize", "native")
        self.assertEqual(without["chat"]["spec"]["ports"][0]["targetPort"], "http")


if __name__ == "__main__":
    unittest.main()
