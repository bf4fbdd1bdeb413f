"""Makes the kustomize patches of helm/beside/ from the chart's own sidecar, so that there is one sidecar only."""

import yaml

import house

HEAD = "# Made by `cargo xtask chart --write` from the chart's own sidecar.\n"
# The application's container, to which the socket is mounted; a strategic merge finds it by its name.
APPLICATION = "open-webui"


def patch(name):
    """The strategic merge patch for a native or a classic sidecar."""
    values = house.merge(house.cases()["plain"][0], {"sidecar": {"native": name == "native"}})
    workload = house.of_kind(house.objects(values), "Deployment")[0]
    pod = house.pod_of(workload)
    spec = {
        "terminationGracePeriodSeconds": pod["terminationGracePeriodSeconds"],
        "containers": [{"name": APPLICATION, "volumeMounts": [{"name": "neverstale", "mountPath": "/run/neverstale"}]}],
        "volumes": [volume for volume in pod["volumes"] if volume["name"] == "neverstale"],
    }
    sidecar = house.sidecar_of(pod)
    if name == "native":
        spec = {"initContainers": [sidecar]} | spec
    else:
        spec["containers"].append(sidecar)
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "any"}, "spec": {"template": {"spec": spec}}}
    return HEAD + yaml.safe_dump(body, sort_keys=False)
