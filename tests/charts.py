"""The chart as helm renders it, for its tests."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHART = Path(__file__).resolve().parents[1] / "charts" / "slipway"
RELEASE, NAMESPACE = "slipway", "slipway-system"

Manifest = dict[str, Any]

EVERYTHING: Manifest = {
    "namespaces": [{"name": "team-a", "create": True}, {"name": "team-b"}],
    "imagePullSecrets": [{"name": "registry"}],
    "router": {
        "replicas": 3,
        "service": {"type": "LoadBalancer", "nodePorts": {"http": 30080}},
        "hosts": {"team-a": ["example.com"]},
    },
    "store": {"embedded": {"storageClassName": "fast", "size": "20Gi"}},
    "operator": {"logLevel": "DEBUG", "watchNamespaces": ["team-a", "team-b", NAMESPACE]},
}
"""Values that take every branch of the templates but the embedded store's absence."""
VALUES: dict[str, Manifest] = {
    "defaults": {},
    "everything": EVERYTHING,
    "own store": {"store": {"embedded": {"enabled": False}}, "namespaces": [{"name": "team-a"}]},
    "no policies": {"networkPolicies": {"enabled": False}},
}


class Helm(NamedTuple):
    program: str

    def __call__(self, *words: str, values: Manifest | None = None) -> subprocess.CompletedProcess[str]:
        """The result, whatever it was."""
        more = ["--values=-"] if values is not None else []
        text = json.dumps(values) if values is not None else None
        return subprocess.run(
            [self.program, *words, *more], input=text, capture_output=True, text=True, timeout=120
        )

    def render(self, values: Manifest | None = None, *words: str) -> list[Manifest]:
        """All objects of a release, hooks too, without the CRDs, which have tests of their own."""
        place = ("--namespace", NAMESPACE, "--set", "crds.install=false")
        done = self("template", RELEASE, str(CHART), *place, *words, values=values or {})
        assert done.returncode == 0, done.stderr
        return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]


def upgrade(helm: Helm, kubeconfig: Path, values: Manifest) -> None:
    """Without waiting: nothing runs behind the tests' API server. Its CRDs are there, made by other hands."""
    place = ("--kubeconfig", str(kubeconfig), "--namespace", NAMESPACE, "--create-namespace")
    take = ("--take-ownership", "--force-conflicts")
    done = helm("upgrade", "--install", RELEASE, str(CHART), *place, *take, values=values)
    assert done.returncode == 0, done.stderr


def pick(manifests: list[Manifest], kind: str, name: str | None = None) -> Manifest:
    (found,) = (m for m in manifests if m["kind"] == kind and name in (None, m["metadata"]["name"]))
    return found


def pod_templates(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Name of the owner, and the template."""
    for manifest in manifests:
        template = manifest.get("spec", {}).get("template")
        if template is not None:
            yield manifest["metadata"]["name"], template
