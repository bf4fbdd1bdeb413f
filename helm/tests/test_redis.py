"""The bundled Redis: its rendered scripts run as three pods on three addresses of loopback; one dies and comes back."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest
import urllib.request

import house
from servers import Kubelet, Postgres, free_port, until
from test_drift import job, secrets, workload

HOSTS = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
PASSWORD = "abc123"


@unittest.skipUnless(shutil.which("redis-cli"), "redis-cli is not on this machine")
class BundledRedis(unittest.TestCase):
    def setUp(self):
        values, upgrade = house.cases()["bundled"]
        found = house.objects(values, upgrade)
        self.pod = house.pod_of(next(one for one in house.of_kind(found, "StatefulSet") if one["metadata"]["name"].endswith("-redis")))
        self.scripts = next(one for one in house.of_kind(found, "ConfigMap"))["data"]
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="chart-redis-"))
        self.ports = {"REDIS_PORT": str(free_port()), "SENTINEL_PORT": str(free_port())}
        self.processes = {}

    def tearDown(self):
        for host in HOSTS:
            self.kill(host)
        shutil.rmtree(self.home, ignore_errors=True)

    def start(self, host):
        """Runs both containers of a pod, with the chart's scripts."""
        self.processes[host] = []
        for container in self.pod["containers"]:
            directory = self.home / host / container["name"]
            directory.mkdir(parents=True, exist_ok=True)
            script = pathlib.Path(container["command"][1]).name
            (directory / script).write_text(self.scripts[script])
            here = {"HOST": host, "HOSTS": " ".join(HOSTS), "BIND": host, "DIRECTORY": str(directory), **self.ports}
            env = Kubelet(secrets("x"), instead=here).env(container) | {"PATH": os.environ["PATH"]}
            process = subprocess.Popen(["sh", str(directory / script)], env=env, cwd=directory, stdout=subprocess.DEVNULL)
            self.processes[host].append(process)

    def kill(self, host):
        """Takes a pod away at once."""
        for process in self.processes.pop(host, []):
            process.kill()
            process.wait()

    def ask(self, host, port, *words, password=None):
        """One command of redis-cli: its lines."""
        login = ["--no-auth-warning", "-a", password] if password else []
        command = ["redis-cli", "-h", host, "-p", self.ports[port], *login, "--raw", *words]
        return subprocess.run(command, text=True, capture_output=True, timeout=10).stdout.split("\n")

    def fields(self, host):
        """What a Sentinel knows of the master."""
        lines = self.ask(host, "SENTINEL_PORT", "sentinel", "master", "neverstale")
        return dict(zip(lines[::2], lines[1::2]))

    def master(self, host):
        """The master, as one Sentinel says."""
        return self.ask(host, "SENTINEL_PORT", "sentinel", "get-master-addr-by-name", "neverstale")[0]

    def role(self, host):
        """master or slave, as a server says of itself."""
        return self.ask(host, "REDIS_PORT", "role", password=PASSWORD)[0]

    def test_a_dead_master_is_replaced_comes_back_as_a_replica_and_the_sidecar_goes_on(self):
        for host in HOSTS:
            self.start(host)
        for host in HOSTS:
            until(
                lambda: (self.fields(host).get("num-slaves"), self.fields(host).get("num-other-sentinels")) == ("2", "2"),
                f"the Sentinel of {host} knows all",
            )
        self.assertEqual([self.role(host) for host in HOSTS], ["master", "slave", "slave"])

        postgres = Postgres()
        self.addCleanup(postgres.stop)
        url = postgres.url(postgres.database("bundled"))
        here = {"REDIS_SENTINEL_HOSTS": ",".join(HOSTS), "REDIS_SENTINEL_PORT": self.ports["SENTINEL_PORT"]}
        kubelet = Kubelet(secrets(url), instead=here)
        installing = job("bundled")
        self.assertEqual(kubelet.finish(installing, installing["initContainers"][0])[0], 0)
        pod = workload("bundled")
        running = kubelet.start(pod, house.sidecar_of(pod))
        self.addCleanup(running.end)
        until(lambda: running.probe("readinessProbe") == 200, "ready")

        def stored():
            """How many values the sidecar has put into Redis; one more read of something new each time."""
            stored.asked += 1
            running.get(7380, f"/v1/users/by-email/{stored.asked}@example.org")
            with urllib.request.urlopen(f"http://127.0.0.1:{kubelet.port(7381)}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
            line = next(one for one in lines if one.startswith('neverstale_l2_requests_total{op="put",outcome="stored"}'))
            return float(line.split()[-1])

        stored.asked = 0
        until(lambda: stored() > 0, "values go to Redis, by way of the Sentinels")

        self.kill(HOSTS[0])
        until(lambda: self.master(HOSTS[1]) in HOSTS[1:] and self.role(self.master(HOSTS[1])) == "master", "a new master")
        before = stored()
        until(lambda: stored() > before, "values go to the new master")
        self.start(HOSTS[0])
        until(lambda: self.role(HOSTS[0]) == "slave", "the old one is a replica")
        self.assertEqual(running.probe("readinessProbe"), 200)


if __name__ == "__main__":
    unittest.main()
