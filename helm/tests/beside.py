"""Makes what helm/beside/ adds to an application that is there from the chart's own pod, so that there is one sidecar only."""

import yaml

import house

HEAD = "# Made by `cargo xtask chart --write` from the chart's own sidecar.\n"
# The application's container, to which the socket is mounted; a strategic merge finds it by its name.
APPLICATION = "open-webui"
# What the door changes in the application's container.
PROBES = ["startupProbe", "readinessProbe", "livenessProbe"]
# The official chart leaves its pods their 30 seconds.
OFFICIAL_GRACE_SECONDS = 10
DOOR_VALUES_HEAD = """# Made by `cargo xtask chart --write` from the chart's own sidecar.
# As open-webui-values.yaml, with the door: callers come in through the sidecar, and the application listens on loopback alone. Take it in
# the place of that file. Values that are lists take the place of yours: add your own extraEnvVars to this one. That chart has no hook
# before the end of the application, so requests on connections that are kept may fail while a pod ends.
"""


def pod_of(**values):
    """The chart's pod with some values, and its sidecar and application."""
    values = house.merge(house.cases()["plain"][0], values)
    pod = house.pod_of(house.of_kind(house.objects(values), "Deployment")[0])
    return pod, house.sidecar_of(pod), house.named(pod["containers"], APPLICATION)


def patch(name):
    """The strategic merge patch: a `native` or a `classic` sidecar, or a native one that is the `door`."""
    is_door = name == "door"
    pod, sidecar, chart_application = pod_of(sidecar={"native": name != "classic"}, door={"enabled": is_door})
    application = {"name": APPLICATION, "volumeMounts": [{"name": "neverstale", "mountPath": "/run/neverstale"}]}
    if is_door:
        application["env"] = [house.named(chart_application["env"], "HOST")]
        # What is not said in a merge stays, and a probe has one handler.
        for probe in PROBES:
            handlers = {handler: None for handler in ["exec", "httpGet", "tcpSocket"] if handler not in chart_application[probe]}
            application[probe] = handlers | chart_application[probe]
        application["lifecycle"] = chart_application["lifecycle"]
    spec = {
        "terminationGracePeriodSeconds": pod["terminationGracePeriodSeconds"],
        "containers": [application],
        "volumes": [volume for volume in pod["volumes"] if volume["name"] == "neverstale"],
    }
    if name == "classic":
        spec["containers"].append(sidecar)
    else:
        spec = {"initContainers": [sidecar]} | spec
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "any"}, "spec": {"template": {"spec": spec}}}
    return HEAD + yaml.safe_dump(body, sort_keys=False)


def official_sidecar(**values):
    """The chart's own sidecar, as it drains in the official chart's pods."""
    _, sidecar, _ = pod_of(**values)
    house.named(sidecar["env"], "NEVERSTALE_LIFECYCLE__GRACE_PERIOD_SECONDS")["value"] = str(OFFICIAL_GRACE_SECONDS)
    return sidecar


def door_values():
    """Values of the official chart with the door."""
    pod, _, application = pod_of(door={"enabled": True})
    values = {
        # The port that its Service leads to, by the name of the application's; nobody is behind that but the door.
        "service": {"containerPort": house.named(house.sidecar_of(pod)["ports"], "door")["containerPort"]},
        "extraEnvVars": [house.named(application["env"], "HOST")],
        "extraInitContainers": [official_sidecar(door={"enabled": True})],
        "volumes": [volume for volume in pod["volumes"] if volume["name"] == "neverstale"],
        "volumeMounts": {"container": [{"name": "neverstale", "mountPath": "/run/neverstale"}]},
    }
    return DOOR_VALUES_HEAD + yaml.safe_dump(values | {probe: application[probe] for probe in PROBES}, sort_keys=False)
