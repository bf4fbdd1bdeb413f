"""What Helm renders: as kept in snapshots/, valid for Kubernetes, with the promises that an operator relies on."""

import copy
import re
import unittest

import helm_python
import kubernetes_validate
import yaml

import house
import schema

# The oldest that the chart supports, the oldest with native sidecars, and the newest that the validator knows.
KUBERNETES = ["1.25", "1.29", kubernetes_validate.latest_version()]
# Not Kubernetes' own, so not in its schemas.
OPERATORS = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}


def setUpModule():
    """What is written is written first: without its schema the chart does not render."""
    if house.WRITE:
        house.same_or_write(house.CHART / "values.schema.json", schema.made())


class Rendering(unittest.TestCase):
    def test_the_schema_of_values_is_what_the_binary_and_the_comments_say(self):
        made = schema.made()
        self.assertTrue(house.same_or_write(house.CHART / "values.schema.json", made), "stale: cargo xtask chart --write")

    def test_every_value_is_explained(self):
        text = (house.CHART / "values.yaml").read_text()
        notes = schema.comments(text)

        def walk(tree, path):
            for key, value in tree.items():
                here = f"{path}.{key}".lstrip(".")
                self.assertIn(here, notes)
                if isinstance(value, dict) and key not in schema.FREE:
                    walk(value, here)

        walk(yaml.safe_load(text), "")

    def test_each_value_set_renders_as_kept(self):
        for name, (values, upgrade) in house.cases().items():
            with self.subTest(name):
                files = house.render(values, upgrade)
                # The dashboard and the rules are files of their own; here stands only that they are there.
                text = "".join(f"# {file}\n{body.strip()}\n" for file, body in files.items() if body.strip())
                self.assertTrue(
                    house.same_or_write(house.SNAPSHOTS / f"{name}.yaml", text),
                    f"snapshots/{name}.yaml differs: look, then cargo xtask chart --write",
                )

    def test_no_snapshot_is_left_over(self):
        kept = {path.stem for path in house.SNAPSHOTS.glob("*.yaml")}
        self.assertEqual(kept, set(house.cases()))

    def test_kubernetes_takes_every_object(self):
        for name, (values, upgrade) in house.cases().items():
            for one in house.objects(values, upgrade):
                if one["kind"] in OPERATORS:
                    continue
                for version in KUBERNETES:
                    native = values.get("sidecar", {}).get("native", True)
                    if native and version == "1.25":
                        continue
                    with self.subTest(name, kind=one["kind"], version=version):
                        kubernetes_validate.validate(one, version, strict=True)

    def test_kubernetes_would_refuse_what_is_not_its_own(self):
        values, upgrade = house.cases()["plain"]
        wrong = copy.deepcopy(house.of_kind(house.objects(values, upgrade), "Deployment")[0])
        house.sidecar_of(house.pod_of(wrong))["startupProbe"]["httpGet"]["pfad"] = "/livez"
        with self.assertRaises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, KUBERNETES[-1], strict=True)

    def test_wrong_values_are_refused_with_the_place(self):
        plain = house.cases()["plain"][0]
        wrong = {
            "replicas": {"replicas": 3},
            "bytes_max": {"sidecar": {"settings": {"cache": {"l1": {"bytes_max": -1}}}}},
            "poll": {"sidecar": {"settings": {"feed": {"poll": 5}}}},
            "url": {"sidecar": {"settings": {"database": {"url": "postgresql://a:b@c/d"}}}},
            "kind": {"app": {"kind": "DaemonSet"}},
        }
        for word, values in wrong.items():
            with self.subTest(word):
                with self.assertRaises(helm_python.HelmError) as refused:
                    house.render(house.merge(plain, values))
                self.assertIn(word, str(refused.exception))

    def test_what_is_missing_is_named(self):
        plain = house.cases()["plain"][0]
        missing = {
            "database.existingSecret": {"database": {"existingSecret": ""}},
            "app.secretKey.existingSecret": {"app": {"secretKey": {"existingSecret": ""}}},
            "app.podLabels": {"app": {"enabled": False}},
            "redis.existingSecret or redis.url": {"redis": {"existingSecret": "a", "url": "redis://b"}},
            "redis.bundled.existingSecret": {"redis": {"bundled": {"enabled": True}}},
            "langfuse.existingSecret": {"langfuse": {"enabled": True}},
            "directus.existingSecret": {"directus": {"enabled": True}},
            "app.env names HOST": {"app": {"env": [{"name": "HOST", "value": "0.0.0.0"}]}},
            "door.enabled needs app.enabled": {
                "app": {"enabled": False, "podLabels": {"app": "chat"}},
                "door": {"enabled": True},
            },
            "mesh.enabled needs app.enabled": {
                "app": {"enabled": False, "podLabels": {"app": "chat"}},
                "mesh": {"enabled": True},
            },
            "networkPolicy.meshFrom": {"mesh": {"enabled": True}, "networkPolicy": {"enabled": True}},
            "asks the port http": {
                "app": {"startupProbe": {"httpGet": {"path": "/health", "port": "http"}}},
                "door": {"enabled": True},
            },
            "choose one": {"monitoring": {"serviceMonitor": True, "podMonitor": True}},
        }
        for words, values in missing.items():
            with self.subTest(words):
                with self.assertRaises(helm_python.HelmError) as refused:
                    house.render(house.merge(plain, values))
                self.assertIn(words, str(refused.exception))


class Promises(unittest.TestCase):
    def pods(self):
        """Each case's workload."""
        for name, (values, upgrade) in house.cases().items():
            for one in house.workloads(house.objects(values, upgrade)):
                yield name, values, house.pod_of(one)

    def pre_stop_seconds(self, pod):
        """How long the application's container goes on after it was told to end."""
        command = house.named(pod["containers"], "open-webui")["lifecycle"]["preStop"]["exec"]["command"]
        return sum(map(int, re.findall(r"(?:sleep|--max-time) (\d+)", " ".join(command))))

    def test_with_a_door_nothing_leads_around_it(self):
        for name, values, pod in self.pods():
            door = values.get("door", {})
            if not door.get("enabled"):
                continue
            with self.subTest(name):
                upgrade = house.cases()[name][1]
                found = house.objects(values, upgrade)
                application, sidecar = house.named(pod["containers"], "open-webui"), house.sidecar_of(pod)
                self.assertEqual([one["value"] for one in application["env"] if one["name"] == "HOST"], ["127.0.0.1"])
                self.assertNotIn("ports", application)
                port = house.named(sidecar["ports"], "door")["containerPort"]
                for service in house.of_kind(found, "Service"):
                    # By number: Kubernetes before 1.32 does not find names of a native sidecar's ports.
                    self.assertEqual([one["targetPort"] for one in service["spec"]["ports"]], [port])
                for policy in house.of_kind(found, "NetworkPolicy"):
                    open_to = [one["port"] for rule in policy["spec"].get("ingress", []) for one in rule["ports"]]
                    self.assertIn(open_to, [[], [port]])
                # Whether it is restarted is not the door's business.
                for probe in ["startupProbe", "livenessProbe"]:
                    self.assertIn("http://127.0.0.1:8080/health", application[probe]["exec"]["command"])
                self.assertEqual(application["readinessProbe"]["httpGet"]["port"], port)

    def test_a_mesh_asks_where_its_own_service_leads_and_callers_do_not_come_there(self):
        values, upgrade = house.cases()["mesh"]
        found = house.objects(values, upgrade)
        sidecar = house.sidecar_of(house.pod_of(house.workloads(found)[0]))
        port = house.named(sidecar["ports"], "authz")["containerPort"]
        services = {one["metadata"]["name"]: one["spec"]["ports"] for one in house.of_kind(found, "Service")}
        asked = services.pop(next(name for name in services if name.endswith("-authz")))
        self.assertEqual([(one["appProtocol"], one["port"], one["targetPort"]) for one in asked], [("grpc", port, port)])
        self.assertNotIn(port, [one["targetPort"] for ports in services.values() for one in ports])
        labels = house.of_kind(found, "Deployment")[0]["spec"]["template"]["metadata"]["labels"]
        policy = house.of_kind(found, "NetworkPolicy")[0]["spec"]
        self.assertEqual([rule["from"] for rule in policy["ingress"] if rule["ports"][0]["port"] == port], [values["networkPolicy"]["meshFrom"]])
        # The pods' own proxies ask, and are let out to.
        out = [peer for rule in policy["egress"] if rule["ports"][0]["port"] == port for peer in rule["to"]]
        self.assertEqual([labels | peer["podSelector"]["matchLabels"] for peer in out], [labels])

    def test_istios_words_in_the_documents_fit_what_is_rendered(self):
        """A policy that selects nothing lets everybody in."""
        values, upgrade = house.cases()["mesh"]
        found = house.objects(values, upgrade)
        text = (house.ROOT / "docs" / "DOOR.md").read_text().split("# MeshConfig\n")[1].split("```")[0]
        provider, policy = yaml.safe_load_all(text)
        asked = provider["extensionProviders"][0]["envoyExtAuthzGrpc"]
        service = next(one for one in house.of_kind(found, "Service") if one["metadata"]["name"].endswith("-authz"))
        self.assertEqual((asked["service"].split(".")[0], asked["port"]), (service["metadata"]["name"], service["spec"]["ports"][0]["port"]))
        pod = house.workloads(found)[0]["spec"]["template"]
        labels = pod["metadata"]["labels"]
        self.assertEqual(labels | policy["spec"]["selector"]["matchLabels"], labels)
        application = house.named(pod["spec"]["containers"], "open-webui")
        ports = [str(one["containerPort"]) for one in application["ports"]]
        self.assertEqual(policy["spec"]["rules"][0]["to"][0]["operation"]["ports"], ports)

    def test_a_probe_of_ones_own_is_kept(self):
        plain, upgrade = house.cases()["plain"]
        own = {"startupProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 2}}
        values = house.merge(plain, {"app": own, "door": {"enabled": True}})
        pod = house.pod_of(house.workloads(house.objects(values, upgrade))[0])
        probe = house.named(pod["containers"], "open-webui")["startupProbe"]
        self.assertEqual((list(probe), probe["periodSeconds"]), (["failureThreshold", "periodSeconds", "tcpSocket", "timeoutSeconds"], 2))

    def test_the_sidecar_starts_before_the_application_and_ends_after_it(self):
        for name, values, pod in self.pods():
            sidecar = house.sidecar_of(pod)
            with self.subTest(name):
                if values.get("sidecar", {}).get("native", True):
                    self.assertEqual(pod["initContainers"][-1]["name"], "neverstale")
                    self.assertEqual(sidecar["restartPolicy"], "Always")
                    self.assertNotIn("lifecycle", sidecar)
                else:
                    self.assertNotIn("restartPolicy", sidecar)
                    wait = int(sidecar["lifecycle"]["preStop"]["exec"]["command"][1])
                    env = {one["name"]: one.get("value") for one in sidecar["env"]}
                    own = int(env["NEVERSTALE_LIFECYCLE__GRACE_PERIOD_SECONDS"])
                    with helm_python.Chart.load(str(house.CHART)) as chart:
                        drain = chart.values["app"]["drainSeconds"]
                    self.assertGreaterEqual(wait, self.pre_stop_seconds(pod) + drain)
                    self.assertLess(wait + own, pod["terminationGracePeriodSeconds"])

    def test_the_pods_grace_period_holds_both_drains(self):
        for name, _, pod in self.pods():
            app = self.pre_stop_seconds(pod)
            env = {one["name"]: one.get("value") for one in house.sidecar_of(pod)["env"]}
            own = int(env["NEVERSTALE_LIFECYCLE__GRACE_PERIOD_SECONDS"])
            with self.subTest(name):
                self.assertGreater(pod["terminationGracePeriodSeconds"], app + own)

    def test_openshifts_restricted_v2_takes_what_is_ours(self):
        for name, (values, upgrade) in house.cases().items():
            for one in house.of_kind(house.objects(values, upgrade), "Deployment", "StatefulSet", "Job"):
                pod = house.pod_of(one)
                with self.subTest(name, kind=one["kind"]):
                    self.assertEqual(pod["securityContext"], {"seccompProfile": {"type": "RuntimeDefault"}})
                    for container in pod.get("initContainers", []) + pod["containers"]:
                        rights = container["securityContext"]
                        if container["name"] in {"redis", "sentinel"}:
                            # Its image's own user, but where the cluster chooses one.
                            self.assertEqual(rights.pop("runAsUser", None), None if name == "openshift" else 999)
                        self.assertNotIn("runAsUser", rights)
                        self.assertFalse(rights["allowPrivilegeEscalation"])
                        self.assertEqual(rights["capabilities"], {"drop": ["ALL"]})
                        if container["name"].startswith("neverstale"):
                            self.assertTrue(rights["runAsNonRoot"])
                            self.assertTrue(rights["readOnlyRootFilesystem"])

    def test_only_existing_secrets_are_named_and_none_is_made(self):
        for name, (values, upgrade) in house.cases().items():
            with self.subTest(name):
                self.assertEqual(house.of_kind(house.objects(values, upgrade), "Secret"), [])

    def test_selectors_meet_the_pods(self):
        for name, (values, upgrade) in house.cases().items():
            found = house.objects(values, upgrade)
            workloads = house.workloads(found)
            if not workloads:
                continue
            # Redis, and what stands beside, by its part of the whole.
            others = {}
            for one in house.of_kind(found, "Deployment", "StatefulSet"):
                if one not in workloads:
                    metadata = one["spec"]["template"]["metadata"]
                    others[house.component(metadata)] = [metadata["labels"].items()]
            labels = workloads[0]["spec"]["template"]["metadata"]["labels"].items()
            jobs = [one["spec"]["template"]["metadata"]["labels"].items() for one in house.of_kind(found, "Job")]
            for one in found:
                selector = one.get("spec", {}).get("selector") or one.get("spec", {}).get("podSelector")
                if one["kind"] in {"Job", "ServiceMonitor"} or not selector:
                    continue
                wanted = selector.get("matchLabels", selector).items()
                name_of = one["metadata"]["name"]
                part = next((part for part in sorted(others, key=len, reverse=True) if name_of.endswith(f"-{part}")), None)
                meets = jobs if name_of.endswith("-installation") else others[part] if part else [labels]
                with self.subTest(name, kind=one["kind"], object=one["metadata"]["name"]):
                    self.assertTrue(meets)
                    self.assertTrue(all(wanted <= other for other in meets))
                    if meets == [labels]:
                        strangers = jobs + [items for part in others.values() for items in part]
                        self.assertFalse(any(wanted <= other for other in strangers), "selects other pods too")

    def test_before_an_upgrade_a_hook_installs_and_at_first_an_ordinary_job(self):
        hooks = {}
        for name in ["plain", "upgrade"]:
            values, upgrade = house.cases()[name]
            job = house.of_kind(house.objects(values, upgrade), "Job")[0]
            hooks[name] = job["metadata"].get("annotations", {}).get("helm.sh/hook")
            pod = house.pod_of(job)
            self.assertEqual([pod["initContainers"][0]["args"], pod["containers"][0]["args"]], [["install"], ["verify"]])
        self.assertEqual(hooks, {"plain": None, "upgrade": "pre-upgrade"})


if __name__ == "__main__":
    unittest.main()
