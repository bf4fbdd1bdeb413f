"""What the chart's tests share: where things are, how the chart is rendered, which value sets there are.

`cargo xtask chart` sets the stage (Python packages, promtool, the binary) and says so in variables; a test asks here for them.
"""

import json
import os
import pathlib

import helm_python
import yaml

TESTS = pathlib.Path(__file__).parent
ROOT = TESTS.parent.parent
CHART = ROOT / "helm" / "neverstale"
SNAPSHOTS = TESTS / "snapshots"

# Whether files that differ are written instead of reported.
WRITE = os.environ.get("CHART_WRITE") == "1"


def binary():
    """The real sidecar, from NEVERSTALE_BIN."""
    return os.environ["NEVERSTALE_BIN"]


def cases():
    """Every value set by its name: helm/tests/cases/*.yaml over the values that no deployment can do without."""
    needed = yaml.safe_load((TESTS / "needed.yaml").read_text())
    found = {}
    for path in sorted((TESTS / "cases").glob("*.yaml")):
        text = path.read_text()
        found[path.stem] = (merge(needed, yaml.safe_load(text) or {}), "# upgrade" in text.splitlines()[0])
    return found


def merge(below, above):
    """Joins two trees; the second wins."""
    joined = dict(below)
    for key, value in above.items():
        mapped = isinstance(value, dict) and isinstance(joined.get(key), dict)
        joined[key] = merge(joined[key], value) if mapped else value
    return joined


def render(values, upgrade=False):
    """The objects that Helm would send, in the order of their templates, as text by template."""
    with helm_python.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        files = chart.render(
            values,
            name="chat",
            namespace="apps",
            revision=2 if upgrade else 1,
            is_install=not upgrade,
            is_upgrade=upgrade,
        )
    return {pathlib.PurePath(name).name: text for name, text in sorted(files.items())}


def objects(values, upgrade=False):
    """The objects themselves."""
    texts = (text for name, text in render(values, upgrade).items() if name.endswith(".yaml"))
    return [one for text in texts for one in yaml.safe_load_all(text) if one]


def of_kind(found, *kinds):
    """Those of one or several kinds."""
    return [one for one in found if one["kind"] in kinds]


def workloads(found):
    """Those that the sidecar is in."""
    pods = of_kind(found, "Deployment", "StatefulSet")
    return [one for one in pods if component(one["spec"]["template"]["metadata"]) == "app"]


def component(metadata):
    """Which part of the whole an object is."""
    return metadata["labels"].get("app.kubernetes.io/component")


def pod_of(one):
    """The pod spec in a workload or a Job."""
    return one["spec"]["template"]["spec"]


def named(containers, name):
    """One container by its name."""
    return next(container for container in containers if container["name"] == name)


def sidecar_of(pod):
    """The sidecar's container, native or not."""
    return named(pod.get("initContainers", []) + pod["containers"], "neverstale")


def same_or_write(path, text):
    """Whether a kept file is what it should be; with CHART_WRITE=1 it becomes so."""
    if WRITE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return path.exists() and path.read_text() == text


def metrics():
    """The names of all metrics by docs/METRICS.md, with what Prometheus appends to histograms."""
    names = set()
    for line in (ROOT / "docs" / "METRICS.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 3 and cells[1].startswith("`neverstale_"):
            name = cells[1].strip("`")
            names.add(name)
            if cells[2] == "histogram":
                names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    return names


def as_json(value):
    """Pretty and stable."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
