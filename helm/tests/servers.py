"""A real throw-away PostgreSQL, and the real sidecar run as a rendered container says.

The kubelet's part is played here: Secrets become values of variables, mounts become directories, ports become free ones.
"""

import atexit
import http.client
import os
import pathlib
import pwd
import re
import shutil
import socket
import ssl
import subprocess
import tempfile
import time

import house

# A deadline for what takes a second; waiting is for a state, never for a time.
PATIENCE = 30
# An address of the pod itself.
ADDRESS = re.compile(r"(?:127\.0\.0\.1|0\.0\.0\.0):(\d+)")


def free_port():
    """A port that nobody has at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(looks, what):
    """Waits until it holds."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if looks():
            return
        time.sleep(0.05)
    raise AssertionError(f"not within {PATIENCE} s: {what}")


class Postgres:
    """A server of its own, gone with the test."""

    def __init__(self):
        self.binaries = pathlib.Path(os.environ["POSTGRES_BIN"])
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="chart-pg-"))
        self.port = free_port()
        self.user = None
        if os.getuid() == 0:
            # PostgreSQL does not run as root.
            self.user = "postgres"
            owner = pwd.getpwnam(self.user)
            os.chown(self.home, owner.pw_uid, owner.pw_gid)
        self.run("initdb", "-D", self.home / "data", "-A", "trust", "-U", "postgres", "--no-sync")
        self.start()

    def start(self):
        """Starts it, again after it was stopped."""
        options = f"-p {self.port} -k {self.home} -c fsync=off -c listen_addresses=127.0.0.1"
        self.run("pg_ctl", "-D", self.home / "data", "-w", "-l", self.home / "log", "-o", options, "start")

    def run(self, program, *arguments, stdin=None):
        """Runs one of its programs to its end."""
        command = [str(self.binaries / program), *map(str, arguments)]
        user = {"user": self.user, "group": self.user, "extra_groups": []} if self.user else {}
        done = subprocess.run(command, input=stdin, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", **user)
        assert done.returncode == 0, f"{command}: {done.stdout}"
        return done.stdout

    def sql(self, database, text):
        """Runs statements."""
        return self.run("psql", "-h", self.home, "-p", self.port, "-U", "postgres", "-d", database, "-v", "ON_ERROR_STOP=1", "-qAt", stdin=text)

    def url(self, database, role="postgres"):
        """As the application writes it."""
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"

    def database(self, name, with_tables=True):
        """A fresh database, with the tables of Open WebUI 0.12."""
        self.sql("postgres", f"create database {name}")
        if with_tables:
            self.tables(name)
        return name

    def tables(self, name):
        """What the application makes at its first start."""
        self.sql(name, (house.ROOT / "flavours" / "schema" / "openwebui-0.12.sql").read_text())
        self.sql(name, """set search_path = public; insert into "user" (id, name, email, role, profile_image_url, created_at, updated_at, last_active_at)
            values ('u1', 'Ada', 'ada@example.org', 'admin', '', 1, 1, 1)""")

    def stop(self):
        """Ends it and takes its files away."""
        self.run("pg_ctl", "-D", self.home / "data", "-m", "immediate", "stop")
        shutil.rmtree(self.home, ignore_errors=True)


class Kubelet:
    """Runs containers of a rendered pod as processes of this machine."""

    def __init__(self, secrets, pod_name="chat-0", instead=None):
        # What a variable holds here instead, where the container's own value needs a cluster's names.
        self.secrets, self.pod_name, self.instead = secrets, pod_name, instead or {}
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="chart-pod-"))
        atexit.register(shutil.rmtree, self.home, ignore_errors=True)
        self.ports = {}

    def env(self, container):
        """The container's variables, and nothing else."""
        found = {}
        for one in container.get("env", []):
            value = one.get("value")
            if value is None:
                source = one["valueFrom"].get("secretKeyRef")
                value = self.secrets[source["name"]][source["key"]] if source else self.pod_name
            # The kubelet replaces $(NAME) by what was said before.
            for name, said in found.items():
                value = value.replace(f"$({name})", said)
            found[one["name"]] = self.instead.get(one["name"], self.here(value))
        return found

    def here(self, value):
        """Paths of the container as paths of this machine, its ports as free ones."""
        for path in ["/run/neverstale", "/etc/neverstale"]:
            value = value.replace(path, str(self.home) + path)
        return self.ports_here(value) if re.match(rf"(http://)?{ADDRESS.pattern}", value) else value

    def ports_here(self, text):
        """Addresses of the pod itself as those of this machine."""
        return ADDRESS.sub(lambda address: f"127.0.0.1:{self.port(int(address[1]))}", text)

    def port(self, port):
        """The free port that stands for the container's."""
        return self.ports.setdefault(port, free_port())

    def mount(self, pod, container):
        """Makes the container's directories; Secrets become files."""
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        for mount in container.get("volumeMounts", []):
            directory = pathlib.Path(str(self.home) + mount["mountPath"])
            directory.mkdir(parents=True, exist_ok=True)
            source = volumes[mount["name"]]
            if "secret" in source:
                for key, text in self.secrets[source["secret"]["secretName"]].items():
                    (directory / key).write_text(text)

    def command(self, container):
        """The command line, with the real binary in the place of the image's."""
        assert container["command"] == ["neverstale"], container["command"]
        return [house.binary(), *container["args"]]

    def finish(self, pod, container, *instead):
        """Runs a container that ends: its exit code and what it said."""
        self.mount(pod, container)
        command = [house.binary(), *instead] if instead else self.command(container)
        done = subprocess.run(command, env=self.env(container), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", timeout=120)
        return done.returncode, done.stdout

    def get(self, port, path, scheme="HTTP"):
        """The status of one request to a port of the pod; none while nobody listens. Certificates are not judged, as by the kubelet."""
        if scheme == "HTTPS":
            anybody = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection("127.0.0.1", self.port(port), timeout=5, context=anybody)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port(port), timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status
        except OSError:
            return None
        finally:
            connection.close()

    def run(self, words):
        """Runs a command in a container whose image has it, as exec probes and hooks are run: its exit code."""
        words = [self.ports_here(word) for word in words]
        return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=PATIENCE).returncode

    def start(self, pod, container):
        """Runs a container that stays."""
        self.mount(pod, container)
        return Running(self, container, subprocess.Popen(self.command(container), env=self.env(container), cwd="/", stderr=subprocess.DEVNULL))


class Running:
    """A container that runs, and its probes as the kubelet asks them."""

    def __init__(self, kubelet, container, process):
        self.kubelet, self.container, self.process = kubelet, container, process

    def probe(self, name):
        """The status that a probe gets; none while nobody listens."""
        asked = self.container[name]["httpGet"]
        port = next(one["containerPort"] for one in self.container["ports"] if one["name"] == asked["port"])
        return self.kubelet.get(port, asked["path"])

    def get(self, port, path):
        """The status of one request."""
        return self.kubelet.get(port, path)

    def end(self):
        """Tells it to end, as the kubelet does, and gives its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE)
        finally:
            self.process.kill()
