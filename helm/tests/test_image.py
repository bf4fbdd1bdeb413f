"""The image and the compose file: what the image would hold is put together and run in a root of its own, by any UID, nothing else beside it."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import yaml

import house
from servers import Postgres
from test_drift import workload

MEBIBYTE = 1 << 20
# The bound for the image, in bytes.
IMAGE_BYTES_MAX = 30 * MEBIBYTE


def recipe():
    """The last stage of the Containerfile, as (instruction, argument)."""
    text = (house.ROOT / "Containerfile").read_text().replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    last = max(number for number, line in enumerate(lines) if line[0] == "FROM")
    return lines[last:]


def only(instruction):
    """The one argument of an instruction of the last stage."""
    (found,) = [argument for name, argument in recipe() if name == instruction]
    return found


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.TemporaryDirectory()
        cls.root = pathlib.Path(cls.home.name)
        cls.assemble(cls.root)
        # What a runtime puts into every container.
        (cls.root / "etc" / "hosts").write_text("127.0.0.1 localhost database.example\n")
        os.chmod(cls.root, 0o755)

    @classmethod
    def tearDownClass(cls):
        cls.home.cleanup()

    @staticmethod
    def assemble(root):
        command = [house.ROOT / "image" / "rootfs.sh", house.binary(), root]
        done = subprocess.run(command, text=True, capture_output=True, env=os.environ | {"SOURCE_DATE_EPOCH": "1700000000"})
        assert done.returncode == 0, done.stderr

    def inside(self, *command, env=None, user="123456:0"):
        """Runs a command in the image's root, by a UID that nobody has."""
        if os.getuid() != 0:
            self.skipTest("only root may change its root")
        path = only("ENV").removeprefix("PATH=")
        variables = {"PATH": path} | (env or {})
        words = [shutil.which("chroot"), f"--userspec={user}", str(self.root), *command]
        return subprocess.run(words, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)

    def test_the_binary_runs_with_nothing_else_beside_it_by_any_uid(self):
        done = self.inside("neverstale", "--version")
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_without_a_library_it_would_not(self):
        library = next(self.root.rglob("libgcc_s.so*"))
        hidden = library.with_suffix(".hidden")
        library.rename(hidden)
        try:
            self.assertNotEqual(self.inside("neverstale", "--version").returncode, 0)
        finally:
            hidden.rename(library)

    def test_it_finds_a_database_by_its_name(self):
        postgres = Postgres()
        try:
            url = postgres.url(postgres.database("image")).replace("127.0.0.1", "database.example")
            done = self.inside("neverstale", "install", env={"DATABASE_URL": url})
            self.assertEqual(done.returncode, 0, done.stdout)
        finally:
            postgres.stop()

    def test_the_classic_sidecars_prestop_is_in_it(self):
        command = house.sidecar_of(workload("classic"))["lifecycle"]["preStop"]["exec"]["command"]
        done = self.inside(command[0], "0")
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_it_is_a_users_without_rights_whose_group_can_share_the_socket(self):
        self.assertEqual(recipe()[0], ["FROM", "scratch"])
        self.assertRegex(only("USER"), r"^[1-9]\d{3,}:0$")
        self.assertEqual(yaml.safe_load(only("ENTRYPOINT")), workload("plain")["initContainers"][0]["command"])
        self.assertEqual(yaml.safe_load(only("CMD")), workload("plain")["initContainers"][0]["args"])

    def test_the_same_binary_gives_the_same_bytes(self):
        def digest(root):
            tar = subprocess.run(["tar", "--sort=name", "-C", root, "-c", "."], capture_output=True, check=True).stdout
            return subprocess.run(["sha256sum"], input=tar, capture_output=True, check=True).stdout

        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            self.assemble(one)
            self.assemble(two)
            self.assertEqual(digest(one), digest(two))

    def test_it_is_small(self):
        size = sum(path.stat().st_size for path in self.root.rglob("*") if path.is_file())
        print(f"\nthe image holds {size / MEBIBYTE:.1f} MiB")
        if "debug" in pathlib.Path(house.binary()).parts:
            self.skipTest("a debug build is larger than what is shipped")
        self.assertLess(size, IMAGE_BYTES_MAX)


class Compose(unittest.TestCase):
    def setUp(self):
        self.compose = yaml.safe_load((house.ROOT / "compose.yaml").read_text())
        self.services = self.compose["services"]

    def test_every_service_volume_and_file_that_is_named_is_there(self):
        for name, service in self.services.items():
            with self.subTest(name):
                for other in service.get("depends_on", {}):
                    self.assertIn(other, self.services)
                mode = service.get("network_mode", "")
                self.assertIn(mode.removeprefix("service:") or name, self.services)
                for volume in service.get("volumes", []):
                    source = volume.split(":")[0]
                    there = (house.ROOT / source).exists() if source.startswith(".") else source in self.compose["volumes"]
                    self.assertTrue(there, source)

    def test_each_sidecar_shares_loopback_and_socket_with_its_own_application(self):
        for number in [1, 2]:
            sidecar, app = self.services[f"sidecar-{number}"], self.services[f"app-{number}"]
            self.assertEqual(sidecar["network_mode"], f"service:app-{number}")
            self.assertIn(f"socket-{number}:/run/neverstale", sidecar["volumes"])
            self.assertIn(f"socket-{number}:/run/neverstale", app["volumes"])

    def test_the_binary_understands_what_the_sidecars_are_told(self):
        for name in ["sidecar-1", "sidecar-2"]:
            env = {key: re.sub(r"\$\{\w+:\?[^}]*\}", "secret", value) for key, value in self.services[name]["environment"].items()}
            done = subprocess.run([house.binary(), "check"], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/")
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_prometheus_takes_its_settings(self):
        with tempfile.TemporaryDirectory() as directory:
            home = pathlib.Path(directory)
            (home / "rules").mkdir()
            (home / "rules" / "neverstale.yaml").write_bytes((house.CHART / "rules" / "neverstale.yaml").read_bytes())
            (home / "prometheus.yaml").write_bytes((house.ROOT / "compose" / "prometheus.yaml").read_bytes())
            command = [os.environ["PROMTOOL"], "check", "config", str(home / "prometheus.yaml")]
            done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()
