"""The door as the chart opens it: rendered, run by the real binary in front of an application that does what its variables say.

The application is a stand-in; its container's variables, probes and hook are those of the chart, and the commands in them are run.
"""

import http.client
import pathlib
import socket
import subprocess
import sys
import tempfile
import unittest

import house
from servers import Kubelet, Postgres, until
from test_drift import job, secrets, workload

# Listens where HOST and PORT say, says how it is, tells a forged session from one of nobody, and answers everything else with its path.
APPLICATION = """
import base64, hashlib, hmac, http.server, os

def is_signed(token):
    signed, _, signature = token.rpartition(".")
    ours = hmac.new(os.environ["WEBUI_SECRET_KEY"].encode(), signed.encode(), hashlib.sha256).digest()
    return hmac.compare_digest(base64.urlsafe_b64encode(ours).rstrip(b"=").decode(), signature)

class Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        status, body = 200, self.path
        if self.path == "/api/v1/auths/":
            status = 401
            body = "Your session has expired or the token is invalid." if is_signed(token) else "401 Unauthorized"
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
    def log_message(self, *words):
        pass

address = (os.environ.get("HOST", "0.0.0.0"), int(os.environ["PORT"]))
http.server.ThreadingHTTPServer(address, Answers).serve_forever()
"""


class Application:
    """The application's container, with a stand-in for its image."""

    def __init__(self, kubelet, pod):
        self.kubelet, self.container = kubelet, house.named(pod["containers"], "open-webui")
        env = kubelet.env(self.container)
        env["PORT"] = str(kubelet.port(int(env["PORT"])))
        self.process = subprocess.Popen([sys.executable, "-c", APPLICATION], env=env)

    def probe(self, name):
        """Whether a probe passes, by what it says: a command in the container, or a request to the pod."""
        probe = self.container[name]
        if "exec" in probe:
            return self.kubelet.run(probe["exec"]["command"]) == 0
        asked = probe["httpGet"]
        return self.kubelet.get(asked["port"], asked["path"], asked["scheme"]) == 200

    def pre_stop(self):
        """Runs the hook that comes before the end."""
        return self.kubelet.run(self.container["lifecycle"]["preStop"]["exec"]["command"])

    def end(self):
        """Ends it."""
        self.process.kill()
        self.process.wait()


class Caller:
    """One who keeps a connection for as long as the other side does, and then takes another."""

    def __init__(self, port):
        self.port, self.connection = port, None

    def get(self, path):
        """The status of an answer, or none where nobody listens."""
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        answer.read()
        if answer.getheader("connection") == "close":
            self.leave()
        return answer.status

    def leave(self):
        """Closes what is open."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Door(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.postgres = Postgres()
        cls.home = tempfile.TemporaryDirectory()
        home = pathlib.Path(cls.home.name)
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=chat", "-days", "1"]
        command += ["-keyout", home / "tls.key", "-out", home / "tls.crt"]
        subprocess.run(command, check=True, capture_output=True)
        cls.certificate = {name: (home / name).read_text() for name in ["tls.key", "tls.crt"]}

    @classmethod
    def tearDownClass(cls):
        cls.postgres.stop()
        cls.home.cleanup()

    def open(self, name, case, **values):
        """A pod of a case, with an installed database: kubelet, pod, its sidecar and its application."""
        url = self.postgres.url(self.postgres.database(name))
        kubelet = Kubelet(secrets(url) | {"chat-door-tls": self.certificate})
        for container in ["neverstale-install", "neverstale-verify"]:
            pod = job(case)
            code, said = kubelet.finish(pod, house.named(pod.get("initContainers", []) + pod["containers"], container))
            self.assertEqual(code, 0, said)
        pod = workload(case, **values)
        sidecar = kubelet.start(pod, house.sidecar_of(pod))
        self.addCleanup(sidecar.end)
        return kubelet, pod, sidecar, self.application(kubelet, pod)

    def application(self, kubelet, pod):
        """Starts the pod's application."""
        application = Application(kubelet, pod)
        self.addCleanup(application.end)
        return application

    def test_the_probes_pass_with_and_without_tls_and_callers_come_in(self):
        for name, case, port, scheme in [("door", "door", 7382, "HTTP"), ("door_tls", "door-tls", 8443, "HTTPS")]:
            with self.subTest(case):
                kubelet, _, sidecar, application = self.open(name, case)
                until(lambda: sidecar.probe("readinessProbe") == 200, "the sidecar is ready")
                for probe in ["startupProbe", "readinessProbe", "livenessProbe"]:
                    until(lambda: application.probe(probe), f"{case}: {probe}")
                self.assertEqual(kubelet.get(port, "/static/logo.png", scheme), 200)
                # Nobody is known here, and what needs a decision is the application's to refuse or the door's.
                self.assertIn(kubelet.get(port, "/api/v1/users/", scheme), {200, 401, 403})
                application.end()
                self.assertFalse(application.probe("livenessProbe"))
                self.assertFalse(application.probe("readinessProbe"))
                self.assertEqual(sidecar.end(), 0)

    def test_a_door_that_cannot_decide_restarts_no_application_and_gets_no_requests(self):
        kubelet, _, sidecar, application = self.open("undecided", "door")
        until(lambda: sidecar.probe("readinessProbe") == 200, "the sidecar is ready")
        self.postgres.run("pg_ctl", "-D", self.postgres.home / "data", "-m", "immediate", "stop")
        try:
            until(lambda: sidecar.probe("readinessProbe") == 503, "the sidecar is not ready")
            self.assertTrue(application.probe("livenessProbe"))
            # Pages stay open at the door, so this probe alone would keep the pod in the Service.
            self.assertTrue(application.probe("readinessProbe"))
        finally:
            self.postgres.start()
        # Nor does a sidecar that is away.
        self.assertEqual(sidecar.end(), 0)
        self.assertTrue(application.probe("livenessProbe"))
        self.assertFalse(application.probe("readinessProbe"))

    def ended(self, name, has_hook):
        """Ends a pod's application under a caller who keeps its connection: what the caller was answered from then on."""
        kubelet, pod, sidecar, application = self.open(name, "door", app={"preStopSeconds": 0})
        until(lambda: sidecar.probe("readinessProbe") == 200, "the sidecar is ready")
        until(lambda: application.probe("readinessProbe"), "the application answers")
        caller = Caller(kubelet.port(7382))
        self.addCleanup(caller.leave)
        self.assertEqual(caller.get("/"), 200)
        if has_hook:
            self.assertEqual(application.pre_stop(), 0)
        application.end()
        try:
            return caller.get("/")
        except (OSError, http.client.HTTPException):
            # Closed while it was idle: a caller asks again, elsewhere.
            return None
        finally:
            self.assertEqual(sidecar.end(), 0)

    def test_a_pod_that_ends_lets_callers_go_before_its_application_does(self):
        self.assertIsNone(self.ended("ends", has_hook=True))

    def test_without_the_hook_a_caller_who_stays_is_answered_by_a_door_in_front_of_nothing(self):
        self.assertEqual(self.ended("ends_badly", has_hook=False), 502)

    def test_a_mesh_is_answered_in_http_2_where_its_service_leads(self):
        kubelet, _, sidecar, _ = self.open("mesh", "mesh")
        until(lambda: sidecar.probe("readinessProbe") == 200, "the sidecar is ready")
        with socket.create_connection(("127.0.0.1", kubelet.port(7383)), timeout=5) as connection:
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            # The first frame of either side is SETTINGS, which is type 4.
            self.assertEqual(connection.recv(9)[3], 4)
        self.assertEqual(sidecar.end(), 0)

    def test_doctor_finds_the_door_shut_and_an_open_window(self):
        kubelet, pod, _, application = self.open("doctor", "door")
        until(lambda: application.probe("livenessProbe"), "the application answers")
        code, said = kubelet.finish(pod, house.sidecar_of(pod), "doctor")
        for check in ["upstream", "window", "trusted_proxies"]:
            self.assertRegex(said, rf"(?m)^ok +door\.{check} ")
        # The tests' secret is short, and the door's is looked at before the application is asked.
        self.assertRegex(said, r"(?m)^warn +door\.session_secret ")
        self.assertEqual(code, 0, said)
        application.end()
        pod["containers"][0]["env"] = [one for one in pod["containers"][0]["env"] if one["name"] != "HOST"]
        application = self.application(kubelet, pod)
        until(lambda: application.probe("livenessProbe"), "the application answers")
        code, said = kubelet.finish(pod, house.sidecar_of(pod), "doctor")
        self.assertRegex(said, r"(?m)^FAIL +door\.window +the application listens on 0\.0\.0\.0 too")
        self.assertEqual(code, 3, said)

    def test_doctor_asks_the_application_whether_it_has_the_same_secret(self):
        kubelet, pod, _, application = self.open("secrets", "door")
        until(lambda: application.probe("livenessProbe"), "the application answers")
        application.end()
        kubelet.secrets["chat-secret"]["webui-secret-key"] = "ab" * 32
        same = self.application(kubelet, pod)
        until(lambda: same.probe("livenessProbe"), "the application answers")
        code, said = kubelet.finish(pod, house.sidecar_of(pod), "doctor")
        self.assertRegex(said, r"(?m)^ok +door\.session_secret +the application verifies")
        kubelet.secrets["chat-secret"]["webui-secret-key"] = "cd" * 32
        code, said = kubelet.finish(pod, house.sidecar_of(pod), "doctor")
        self.assertRegex(said, r"(?m)^FAIL +door\.session_secret +the application takes")
        self.assertEqual(code, 3, said)


if __name__ == "__main__":
    unittest.main()
