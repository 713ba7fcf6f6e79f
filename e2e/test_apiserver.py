"""The API server without a node is the real one: it validates with CEL and speaks the version that is pinned."""

import json
import subprocess
from pathlib import Path
from typing import Any

from slipway_cluster import paths

RULE = {"rule": "self.most >= self.least", "message": "most must be at least least"}
SPEC = {
    "type": "object",
    "properties": {"least": {"type": "integer"}, "most": {"type": "integer"}},
    "required": ["least", "most"],
    "x-kubernetes-validations": [RULE],
}
KIND = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "ranges.test.slipway.dev"},
    "spec": {
        "group": "test.slipway.dev",
        "scope": "Namespaced",
        "names": {"kind": "Range", "plural": "ranges", "singular": "range"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": SPEC}}},
            }
        ],
    },
}


def run(
    kubectl: str, kubeconfig: Path, *words: str, manifest: dict[str, Any] | None = None
) -> subprocess.CompletedProcess[str]:
    stdin = json.dumps(manifest) if manifest else None
    return subprocess.run(
        [kubectl, f"--kubeconfig={kubeconfig}", *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_custom_resource_is_judged_by_its_cel_rule(kubectl: str, bare_api: Path) -> None:
    assert run(kubectl, bare_api, "apply", "-f", "-", manifest=KIND).returncode == 0
    run(kubectl, bare_api, "wait", "--for=condition=Established", "crd/ranges.test.slipway.dev")

    def applied(name: str, least: int, most: int) -> subprocess.CompletedProcess[str]:
        spec = {"least": least, "most": most}
        manifest = {
            "apiVersion": "test.slipway.dev/v1",
            "kind": "Range",
            "metadata": {"name": name},
            "spec": spec,
        }
        return run(kubectl, bare_api, "apply", "--server-side", "-f", "-", manifest=manifest)

    good, bad = applied("good", 1, 2), applied("bad", 2, 1)

    assert (good.returncode, bad.returncode) == (0, 1), good.stderr + bad.stderr
    assert "most must be at least least" in bad.stderr


def test_the_server_is_of_the_pinned_version(kubectl: str, bare_api: Path) -> None:
    version = json.loads(run(kubectl, bare_api, "get", "--raw", "/version").stdout)

    assert version["gitVersion"] == f"v{paths.KUBERNETES}"
