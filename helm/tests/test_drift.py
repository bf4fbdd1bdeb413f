"""The chart and the binary can't drift apart: what is rendered is run, with its args, its variables, its files and its probes."""

import copy
import http.client
import os
import stat
import unittest

import house
from servers import Kubelet, Postgres, until

SEALING = "ab" * 32 + "\n"


def secrets(url, reader=None):
    """What the operator has put into the Secrets that the cases name."""
    return {
        "chat-database": {"database-url": url},
        "chat-database-reader": {"database-url": reader or url},
        "chat-secret": {"webui-secret-key": "not-a-secret"},
        "chat-redis-password": {"redis-password": "abc123"},
        "chat-redis": {"redis-url": "redis://:a-password@chat:6379/0"},
        "chat-sealing": {"keys": SEALING},
        "chat-tokens": {"tokens": "a-token\n"},
        "chat-door-tls": {"tls.crt": "", "tls.key": ""},
    }


def workload(name, **values):
    """The pod of a case."""
    case, upgrade = house.cases()[name]
    return house.pod_of(house.workloads(house.objects(house.merge(case, values), upgrade))[0])


def job(name, which="install"):
    """The pod of a case's Job."""
    case, upgrade = house.cases()[name]
    jobs = house.of_kind(house.objects(case, upgrade), "Job")
    return house.pod_of(next(one for one in jobs if which in one["metadata"]["name"]))


class Drift(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres()

    @classmethod
    def tearDownClass(cls):
        cls.postgres.stop()

    def run_job(self, kubelet, pod):
        """All containers of a Job's pod, in their order."""
        for container in pod.get("initContainers", []) + pod["containers"]:
            code, said = kubelet.finish(pod, container)
            if code:
                return code, said
        return 0, said

    def test_the_binary_understands_the_variables_of_every_case(self):
        for name, (values, upgrade) in house.cases().items():
            for one in house.workloads(house.objects(values, upgrade)):
                pod = house.pod_of(one)
                sidecar = house.sidecar_of(pod)
                if name == "cluster":
                    # The authority's file is the operator's to mount.
                    continue
                with self.subTest(name):
                    code, said = Kubelet(secrets("postgresql://a:b@db/chat")).finish(pod, sidecar, "check")
                    self.assertEqual(code, 0, said)

    def test_the_binary_refuses_a_variable_that_it_does_not_know(self):
        pod = copy.deepcopy(workload("plain"))
        house.sidecar_of(pod)["env"].append({"name": "NEVERSTALE_CACHE__L1__BYTES", "value": "1"})
        code, said = Kubelet(secrets("postgresql://a:b@db/chat")).finish(pod, house.sidecar_of(pod), "check")
        self.assertEqual(code, 2, said)

    def test_a_settings_tree_becomes_the_variables_that_the_binary_reads(self):
        env = Kubelet(secrets("x")).env(house.sidecar_of(workload("busy")))
        self.assertEqual(env["NEVERSTALE_CACHE__L1__BYTES_MAX"], "268435456")
        pod = workload("busy", sidecar={"settings": {"cache": {"l1": {"entry_bytes_max": 1024}}}})
        self.assertEqual(Kubelet(secrets("x")).env(house.sidecar_of(pod))["NEVERSTALE_CACHE__L1__ENTRY_BYTES_MAX"], "1024")

    def test_installed_by_its_job_the_pods_sidecar_becomes_ready_serves_and_ends_with_0(self):
        for name in ["plain", "classic", "busy"]:
            with self.subTest(name):
                database = self.postgres.database(f"serve_{name}")
                kubelet = Kubelet(secrets(self.postgres.url(database)))
                self.assertEqual(self.run_job(kubelet, job(name)), (0, "the installation is whole\n"))
                pod = workload(name)
                sidecar = house.sidecar_of(pod)
                # The case's Redis is not here; a sidecar goes on without it.
                running = kubelet.start(pod, sidecar)
                try:
                    for probe in ["startupProbe", "readinessProbe", "livenessProbe"]:
                        until(lambda: running.probe(probe) == 200, f"{name}: {probe}")
                    socket = kubelet.home / "run/neverstale/api.sock"
                    mode = os.stat(socket).st_mode
                    self.assertTrue(stat.S_ISSOCK(mode) and mode & 0o070 == 0o060)
                    self.assertEqual(running.get(7380, "/v1/users/u1/role"), 200)
                    self.assertEqual(running.get(7381, "/metrics"), 200)
                finally:
                    code = running.end()
                self.assertEqual(code, 0)

    def test_on_a_new_database_the_sidecar_lets_the_application_start_and_waits_for_it(self):
        database = self.postgres.database("fresh", with_tables=False)
        kubelet = Kubelet(secrets(self.postgres.url(database)))
        pod, installing = workload("plain"), job("plain")
        code, said = self.run_job(kubelet, installing)
        self.assertNotEqual(code, 0, "the Job must fail to be tried again")
        self.assertIn("has no tables", said)
        running = kubelet.start(pod, house.sidecar_of(pod))
        try:
            # The startup probe holds the application back no longer, the readiness probe keeps requests away.
            until(lambda: running.probe("startupProbe") == 200, "started")
            self.assertEqual(running.probe("readinessProbe"), 503)
            self.postgres.tables(database)
            self.assertEqual(self.run_job(kubelet, installing)[0], 0)
            until(lambda: running.probe("readinessProbe") == 200, "ready")
        finally:
            self.assertEqual(running.end(), 0)

    def test_after_an_install_by_init_container_the_application_may_wait_for_readiness(self):
        database = self.postgres.database("gitops")
        kubelet = Kubelet(secrets(self.postgres.url(database)))
        pod = workload("gitops")
        order = [one["name"] for one in pod["initContainers"]]
        self.assertEqual(order, ["migrate", "neverstale-install", "neverstale"])
        code, said = kubelet.finish(pod, house.named(pod["initContainers"], "neverstale-install"))
        self.assertEqual(code, 0, said)
        # The case asks for no lease.
        self.assertIn("the lease is 0 ms", kubelet.finish(pod, house.sidecar_of(pod), "lease")[1])
        running = kubelet.start(pod, house.sidecar_of(pod))
        try:
            self.assertEqual(running.container["startupProbe"]["httpGet"]["path"], "/startupz")
            until(lambda: running.probe("startupProbe") == 200, "ready by /startupz")
        finally:
            self.assertEqual(running.end(), 0)

    def test_a_sidecar_with_a_role_of_its_own_needs_only_what_the_job_grants(self):
        database = self.postgres.database("reader")
        self.postgres.sql(database, "create role neverstale_reader login")
        urls = self.postgres.url(database), self.postgres.url(database, "neverstale_reader")
        kubelet = Kubelet(secrets(*urls))
        code, said = self.run_job(kubelet, job("reader"))
        self.assertEqual(code, 0, said)
        pod = workload("reader")
        running = kubelet.start(pod, house.sidecar_of(pod))
        try:
            until(lambda: running.probe("readinessProbe") == 200, "ready as reader")
            self.assertEqual(running.get(7380, "/v1/users/u1/role"), 200)
        finally:
            self.assertEqual(running.end(), 0)
        # And the way out leaves nothing behind.
        self.assertEqual(self.run_job(kubelet, job("reader", "uninstall"))[0], 0)
        self.assertEqual(self.postgres.sql(database, "select count(*) from pg_trigger where tgname like '%neverstale%'").strip(), "0")

    def test_told_to_end_a_sidecar_is_unready_at_once_and_still_answers_who_is_connected(self):
        database = self.postgres.database("drain")
        kubelet = Kubelet(secrets(self.postgres.url(database)))
        self.run_job(kubelet, job("plain"))
        pod = workload("plain")
        running = kubelet.start(pod, house.sidecar_of(pod))
        until(lambda: running.probe("readinessProbe") == 200, "ready")
        application = http.client.HTTPConnection("127.0.0.1", kubelet.port(7380), timeout=5)
        application.request("GET", "/v1/users/u1/role")
        application.getresponse().read()
        running.process.terminate()
        until(lambda: running.probe("readinessProbe") != 200, "unready")
        application.request("GET", "/v1/users/u1/role")
        self.assertEqual(application.getresponse().status, 200)
        application.close()
        self.assertEqual(running.end(), 0)


if __name__ == "__main__":
    unittest.main()
