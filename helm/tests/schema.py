"""Makes values.schema.json: the chart's part from values.yaml and its comments, the sidecar's settings from the binary itself.

What an operator must not put into values, because it is secret or because the chart says it, is taken out of the settings.
"""

import re
import subprocess

import yaml

import house

# Trees whose keys are Kubernetes' or the operator's business.
FREE = {
    "commonLabels", "resources", "securityContext", "startupProbe", "readinessProbe", "livenessProbe",
    "podLabels", "labels", "annotations", "nodeSelector", "affinity", "dashboardLabels", "exporters",
}
CHOICES = {
    "image.pullPolicy": ["Always", "IfNotPresent", "Never"],
    "app.image.pullPolicy": ["Always", "IfNotPresent", "Never"],
    "redis.bundled.image.pullPolicy": ["Always", "IfNotPresent", "Never"],
    "collector.image.pullPolicy": ["Always", "IfNotPresent", "Never"],
    "langfuse.image.pullPolicy": ["Always", "IfNotPresent", "Never"],
    "langfuse.workerImage.pullPolicy": ["Always", "IfNotPresent", "Never"],
    "directus.image.pullPolicy": ["Always", "IfNotPresent", "Never"],
    "app.kind": ["Deployment", "StatefulSet"],
    "sidecar.startAfter": ["process", "ready"],
    "installation.mode": ["job", "initContainer", "none"],
    "service.type": ["ClusterIP", "NodePort", "LoadBalancer"],
}
# What the type of the default does not say.
TYPES = {
    "installation.leaseMs": {"type": ["integer", "null"], "minimum": 0},
    "redis.bundled.runAsUser": {"type": ["integer", "null"], "minimum": 1},
    "podDisruptionBudget.maxUnavailable": {"type": ["integer", "string"]},
}
# Said by the chart, or secret: not for sidecar.settings.
NOT_SETTINGS = [
    ("database", "url"), ("redis", "url"), ("redis", "sentinel_password"), ("redis", "key_file"),
    ("api", "listen"), ("api", "socket"), ("api", "token_file"), ("api", "session_secret"),
    ("admin", "listen"), ("lifecycle", "grace_period_seconds"),
    ("ingress", "listen"), ("ingress", "upstream"), ("ingress", "tls_cert_file"), ("ingress", "tls_key_file"),
    ("ingress", "trusted_proxies"), ("ext_authz", "listen"),
]


def comments(text):
    """The comment above each key, by the key's path."""
    found, path, pending = {}, [], []
    for line in text.splitlines():
        note = re.match(r"\s*# (.*)", line)
        key = re.match(r"(\s*)([A-Za-z]\w*):", line)
        if note:
            pending.append(note.group(1))
        elif key:
            path = path[: len(key.group(1)) // 2] + [key.group(2)]
            if pending:
                found[".".join(path)] = " ".join(pending)
            pending = []
        else:
            pending = []
    return found


def node(value, path, notes):
    """The schema of one default."""
    name = path.rsplit(".", 1)[-1]
    if path in TYPES:
        schema = dict(TYPES[path])
    elif path in CHOICES:
        schema = {"enum": CHOICES[path]}
    elif isinstance(value, dict):
        schema = {"type": "object"}
        if name not in FREE:
            schema["additionalProperties"] = False
            schema["properties"] = {key: node(one, f"{path}.{key}".lstrip("."), notes) for key, one in value.items()}
    elif isinstance(value, list):
        schema = {"type": "array"}
    elif isinstance(value, bool):
        schema = {"type": "boolean"}
    elif isinstance(value, int):
        schema = {"type": "integer", "minimum": 0}
        if re.search("[pP]ort$", name):
            schema |= {"minimum": 1, "maximum": 65535}
    else:
        schema = {"type": "string"}
    if path in notes:
        schema["description"] = notes[path]
    return schema


def settings():
    """The settings that may stand in sidecar.settings."""
    printed = subprocess.run([house.binary(), "settings", "--json-schema"], check=True, capture_output=True, text=True)
    tree = yaml.safe_load(printed.stdout)
    for section, name in NOT_SETTINGS:
        del tree["properties"][section]["properties"][name]
    return tree


def made():
    """The whole schema, as it must stand in the chart."""
    text = (house.CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart neverstale"}
    schema |= node(values, "", comments(text))
    # A chart may stand below another one.
    schema["properties"]["global"] = {"type": "object"}
    schema["properties"]["sidecar"]["properties"]["settings"] = settings()
    return house.as_json(schema)
