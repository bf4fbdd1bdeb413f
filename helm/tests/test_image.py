"""The image and the compose file: what the image would hold is put together and run in a root of its own, by any UID, nothing else beside it."""

import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
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


class Built(unittest.TestCase):
    """The last stage by a real builder, without a registry: what the stage before it makes, image/rootfs.sh has made here."""

    @classmethod
    def setUpClass(cls):
        cls.builder = shutil.which("buildah")
        if cls.builder is None or os.getuid() != 0:
            raise unittest.SkipTest("skipped: no builder (buildah, run by root)")
        cls.home = tempfile.TemporaryDirectory()
        cls.place = pathlib.Path(cls.home.name)
        Image.assemble(cls.place / "context" / "rootfs")
        stage = [f"{name} {argument}" for name, argument in recipe()]
        copied = [line.replace("COPY --from=build /rootfs /", "COPY rootfs /") for line in stage]
        assert copied != stage, "the Containerfile copies the root otherwise"
        (cls.place / "Containerfile").write_text("\n".join(copied) + "\n")
        (cls.place / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')

    @classmethod
    def tearDownClass(cls):
        cls.home.cleanup()

    def run_builder(self, *words):
        """buildah with a storage of its own, which needs no mounts."""
        storage = ["--storage-driver", "vfs", "--root", self.place / "storage", "--runroot", self.place / "run"]
        done = subprocess.run([self.builder, *storage, *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_a_builder_makes_the_image_and_it_is_small(self):
        policy = ["--signature-policy", self.place / "policy.json"]
        build = ["build", *policy, "--isolation", "chroot", "--format", "oci", "--timestamp", "1700000000"]
        self.run_builder(*build, "--tag", "neverstale:test", "--file", self.place / "Containerfile", self.place / "context")
        archive = self.place / "image.tar"
        self.run_builder("push", *policy, "neverstale:test", f"oci-archive:{archive}")
        with tarfile.open(archive) as found:
            index = json.load(found.extractfile("index.json"))
            manifest = json.load(found.extractfile(blob(index["manifests"][0])))
            config = json.load(found.extractfile(blob(manifest["config"])))
            (layer,) = manifest["layers"]
            with tarfile.open(fileobj=gzip.GzipFile(fileobj=found.extractfile(blob(layer)))) as files:
                unpacked = sum(file.size for file in files)
                binary = files.getmember("usr/local/bin/neverstale")
        self.assertEqual(config["config"]["User"], only("USER"))
        self.assertEqual(config["config"]["Entrypoint"], yaml.safe_load(only("ENTRYPOINT")))
        self.assertEqual(config["config"]["Cmd"], yaml.safe_load(only("CMD")))
        self.assertEqual(set(config["config"]["ExposedPorts"]), {f"{port}/tcp" for port in only("EXPOSE").split()})
        self.assertTrue(binary.mode & 0o111)
        print(f"\nthe image: {unpacked / MEBIBYTE:.1f} MiB unpacked, {layer['size'] / MEBIBYTE:.1f} MiB to pull")
        if "debug" in pathlib.Path(house.binary()).parts:
            self.skipTest("a debug build is larger than what is shipped")
        self.assertLess(unpacked, IMAGE_BYTES_MAX)


def blob(described):
    """Where an image keeps what a descriptor names."""
    return "blobs/" + described["digest"].replace(":", "/")


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
