"""What Helm runs before the release is deleted, on a real API server."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import make
from slipway import uninstall
from slipway.adapters import kube
from slipway.adapters.kube import Api, Kube
from slipway.writer import FINALIZER

NAMESPACE, OPERATOR = "default", "slipway-operator"
OTHERS = "example.com/audit"
LABELS = {"app.kubernetes.io/component": "uninstalled-operator"}
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"namespace": NAMESPACE, "name": OPERATOR},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": LABELS},
            "spec": {"containers": [{"name": "main", "image": "registry.test/operator:1"}]},
        },
    },
}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"namespace": NAMESPACE, "name": f"{OPERATOR}-1", "labels": LABELS},
    "spec": {"containers": [{"name": "main", "image": "registry.test/operator:1"}]},
}


def version(name: str, *finalizers: str) -> dict[str, Any]:
    manifest = make.user_version(name)
    manifest["metadata"] = {"namespace": NAMESPACE, "name": name, "finalizers": list(finalizers)}
    manifest.pop("status")
    return manifest


class Uninstalling:
    """The steps, recorded as they reach the server."""

    def __init__(self, api: Kube) -> None:
        self.api = api
        self.steps: list[str] = []

    async def patch(self, kind: str, namespace: str, name: str, body: Mapping[str, Any]) -> Any:
        self.steps.append(f"patch {kind} {name}")
        return await self.api.patch(kind, namespace, name, body)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.api, name)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uninstall, "LOOK_SECONDS", 0.05)


async def finalizers(api: Api, name: str) -> list[str]:
    found: list[str] = (await api.get("ModelVersion", NAMESPACE, name))["metadata"].get("finalizers", [])
    return found


async def remove(api: Api, *manifests: Mapping[str, Any]) -> None:
    """What a test has made, whatever holds it."""
    for manifest in manifests:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        live = await api.get(kind, NAMESPACE, name)
        await api.patch(kind, NAMESPACE, name, {"metadata": {"finalizers": None}})
        await api.delete(kind, NAMESPACE, name, live["metadata"]["uid"])


def test_the_operator_is_stopped_and_its_finalizer_alone_taken_off_every_version(real_api: Path) -> None:
    made = [version("both", OTHERS, FINALIZER), version("ours", FINALIZER), version("none")]

    async def scenario() -> None:
        api = await kube.connect(str(real_api))
        for manifest in (DEPLOYMENT, *made):
            await api.create(manifest)
        await uninstall.run(str(real_api), NAMESPACE, OPERATOR)
        assert (await api.get("Deployment", NAMESPACE, OPERATOR))["spec"]["replicas"] == 0
        assert await finalizers(api, "both") == [OTHERS]
        assert await finalizers(api, "ours") == await finalizers(api, "none") == []
        await remove(api, DEPLOYMENT, *made)
        await api.close()

    asyncio.run(scenario())


def test_no_version_is_touched_while_a_pod_of_the_operator_works(real_api: Path) -> None:
    held = version("held", FINALIZER)

    async def scenario() -> None:
        api = await kube.connect(str(real_api))
        for manifest in (DEPLOYMENT, POD, held):
            await api.create(manifest)
        ends = asyncio.create_task(uninstall.run(str(real_api), NAMESPACE, OPERATOR))
        await asyncio.sleep(0.5)
        assert (await api.get("Deployment", NAMESPACE, OPERATOR))["spec"]["replicas"] == 0
        assert await finalizers(api, "held") == [FINALIZER]
        assert not ends.done()
        await remove(api, POD)
        await ends
        assert await finalizers(api, "held") == []
        await remove(api, DEPLOYMENT, held)
        await api.close()

    asyncio.run(scenario())


def test_pods_that_never_end_are_told_of(real_api: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uninstall, "OPERATOR_ENDS_WITHIN", 0.3)

    async def scenario() -> None:
        api = await kube.connect(str(real_api))
        for manifest in (DEPLOYMENT, POD):
            await api.create(manifest)
        with pytest.raises(
            TimeoutError, match=r"slipway-operator in namespace default still has pods .* delete them"
        ):
            await uninstall.stop_operator(api, NAMESPACE, OPERATOR)
        await remove(api, DEPLOYMENT, POD)
        await api.close()

    asyncio.run(scenario())


def test_a_version_that_changes_in_between_is_read_again(real_api: Path) -> None:
    class Meddled(Uninstalling):
        async def get(self, kind: str, namespace: str, name: str) -> Any:
            live = await self.api.get(kind, namespace, name)
            if not self.steps:  # between our reading and our writing, once
                await self.patch(kind, namespace, name, {"metadata": {"finalizers": [FINALIZER, OTHERS]}})
            return live

    held = version("meddled", FINALIZER)

    async def scenario() -> None:
        api = await kube.connect(str(real_api))
        await api.create(held)
        meddled = Meddled(api)
        await uninstall.release(meddled, held)
        assert len(meddled.steps) == 3, "the meddling, the refused write, the one that was taken"
        assert await finalizers(api, "meddled") == [OTHERS]
        await remove(api, held)
        await api.close()

    asyncio.run(scenario())


def test_a_version_that_is_gone_and_a_deployment_that_is_gone_need_nothing(real_api: Path) -> None:
    async def scenario() -> None:
        api = await kube.connect(str(real_api))
        await uninstall.stop_operator(api, NAMESPACE, "never-there")
        await uninstall.release(api, version("never-there"))
        await api.close()

    asyncio.run(scenario())


def test_only_the_watched_namespaces_are_looked_at(real_api: Path) -> None:
    held = version("elsewhere", FINALIZER)

    async def scenario() -> None:
        api = await kube.connect(str(real_api))
        await api.create(held)
        await uninstall.run(str(real_api), NAMESPACE, "never-there", ["other", "another"])
        assert await finalizers(api, "elsewhere") == [FINALIZER]
        await uninstall.run(str(real_api), NAMESPACE, "never-there", ["other", NAMESPACE])
        assert await finalizers(api, "elsewhere") == []
        await remove(api, held)
        await api.close()

    asyncio.run(scenario())


def test_an_unset_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_NAMESPACE", NAMESPACE)
    monkeypatch.delenv("SLIPWAY_DEPLOYMENT", raising=False)
    with pytest.raises(SystemExit, match=re.escape("slipway: SLIPWAY_DEPLOYMENT is not set")):
        uninstall.main()
