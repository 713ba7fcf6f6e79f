"""What the operator relies on of the API, as cases that a real API server and the one in memory both pass."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from fake_api import Store
from slipway import manifests
from slipway.adapters import kube
from slipway.adapters.kube import (
    AlreadyExists,
    Api,
    Conflict,
    Forbidden,
    Invalid,
    Kube,
    NotFound,
    Unavailable,
)
from slipway.leader import LeaseLost

NAMESPACE = "default"
Case = Callable[[Api], Awaitable[None]]


@pytest.fixture(params=["memory", "real"])
def run(request: pytest.FixtureRequest) -> Callable[[Case], None]:
    """Runs a case against either."""
    kubeconfig: Path | None = request.getfixturevalue("real_api") if request.param == "real" else None

    async def against(case: Case) -> None:
        if kubeconfig is None:
            await case(Store())
            return
        api = await kube.connect(str(kubeconfig))
        try:
            await case(api)
        finally:
            await api.close()

    return lambda case: asyncio.run(against(case))


def config_map(name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": dict(manifests.MANAGED)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def model(name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": manifests.API_VERSION,
        "kind": "Model",
        "metadata": {"name": name, "namespace": NAMESPACE, **metadata},
        "spec": {"aliases": [{"name": "candidate", "latest": {}}]},
    }


def version(manifest: dict[str, Any]) -> int:
    return int(manifest["metadata"]["resourceVersion"])


def condition(type_: str, status: str = "True") -> dict[str, Any]:
    return {
        "type": type_, "status": status, "reason": "Test", "message": "", "observedGeneration": 1,
        "lastTransitionTime": "2026-11-24T10:00:00Z",
    }  # fmt: skip


def test_what_is_there_already_is_not_created_again(run: Callable[[Case], None]) -> None:
    async def case(api: Api) -> None:
        made = await api.create(config_map("once", a="1"))
        with pytest.raises(AlreadyExists, match='"once" already exists'):
            await api.create(config_map("once", a="2"))
        found = await api.get("ConfigMap", NAMESPACE, "once")
        assert found["data"] == {"a": "1"}
        assert found["metadata"]["uid"] == made["metadata"]["uid"]

    run(case)


def test_a_missing_object_has_its_own_error(run: Callable[[Case], None]) -> None:
    async def case(api: Api) -> None:
        with pytest.raises(NotFound, match='"nobody" not found'):
            await api.get("ConfigMap", NAMESPACE, "nobody")
        with pytest.raises(NotFound):
            await api.delete("ConfigMap", NAMESPACE, "nobody", "00000000-0000-0000-0000-000000000000")
        with pytest.raises(NotFound):
            await api.patch("ConfigMap", NAMESPACE, "nobody", {"data": {"a": "1"}})

    run(case)


def test_apply_creates_then_keeps_and_drops_what_is_stated_no_more(run: Callable[[Case], None]) -> None:
    async def case(api: Api) -> None:
        first = await api.apply(config_map("kept", a="1", b="2"))
        again = await api.apply(config_map("kept", a="1", b="2"))
        assert version(again) == version(first), "the same wish is no change"
        await api.patch("ConfigMap", NAMESPACE, "kept", {"data": {"a": "theirs", "c": "theirs"}})
        last = await api.apply(config_map("kept", a="3"))
        assert last["data"] == {"a": "3", "c": "theirs"}

    run(case)


def test_apply_with_a_uid_only_reaches_that_object(run: Callable[[Case], None]) -> None:
    async def case(api: Api) -> None:
        gone = config_map("reached", a="1")
        gone["metadata"]["uid"] = "00000000-0000-0000-0000-00000000ffff"
        with pytest.raises(Conflict):
            await api.apply(gone)
        await api.apply(config_map("reached", a="1"))
        with pytest.raises(Conflict):
            await api.apply(gone)

    run(case)


def test_status_is_defaulted_whole_and_apart_from_the_spec(run: Callable[[Case], None]) -> None:
    async def case(api: Api) -> None:
        made = await api.create({**model("told"), "status": {"phase": "Ready"}})
        assert made["status"] == {"observedGeneration": -1}
        status = {"observedGeneration": 1, "phase": "Pending", "conditions": [condition("Ready", "False")]}
        first = await api.apply_status("Model", NAMESPACE, "told", str(version(made)), status)
        assert first["status"] == status
        assert first["metadata"]["generation"] == 1
        same = await api.apply_status("Model", NAMESPACE, "told", str(version(first)), status)
        assert version(same) == version(first)
        status = {"observedGeneration": 1, "conditions": [condition("Ready"), condition("Stalled", "False")]}
        last = await api.apply_status("Model", NAMESPACE, "told", str(version(first)), status)
        assert last["status"] == status, "phase is stated no more"
        with pytest.raises(Conflict):
            await api.apply_status("Model", NAMESPACE, "told", str(version(first)), {})
        with pytest.raises(NotFound):
            await api.apply_status("Model", NAMESPACE, "untold", "1", status)

    run(case)


def test_the_generation_rises_with_the_spec_only(run: Callable[[Case], None]) -> None:
    async def case(api: Api) -> None:
        await api.create(model("counted"))
        annotated = await api.patch("Model", NAMESPACE, "counted", {"metadata": {"annotations": {"a": "1"}}})
        assert annotated["metadata"]["generation"] == 1
        changed = await api.patch("Model", NAMESPACE, "counted", {"spec": {"aliases": []}})
        assert changed["metadata"]["generation"] == 2
        removed = await api.patch("Model", NAMESPACE, "counted", {"metadata": {"annotations": {"a": None}}})
        assert not removed["metadata"].get("annotations")

    run(case)


def test_a_patch_states_its_preconditions(run: Callable[[Case], None]) -> None:
    async def case(api: Api) -> None:
        made = await api.create(config_map("patched", a="1"))
        other = {"metadata": {"uid": "00000000-0000-0000-0000-00000000ffff"}, "data": {"a": "2"}}
        with pytest.raises(Conflict):
            await api.patch("ConfigMap", NAMESPACE, "patched", other)
        stale = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"a": "2"}}
        await api.patch("ConfigMap", NAMESPACE, "patched", stale)
        with pytest.raises(Conflict):
            await api.patch("ConfigMap", NAMESPACE, "patched", stale)

    run(case)


def test_a_delete_only_reaches_the_object_with_that_uid(run: Callable[[Case], None]) -> None:
    async def case(api: Api) -> None:
        made = await api.create(config_map("deleted"))
        with pytest.raises(Conflict):
            await api.delete("ConfigMap", NAMESPACE, "deleted", "00000000-0000-0000-0000-00000000ffff")
        assert await api.delete("ConfigMap", NAMESPACE, "deleted", made["metadata"]["uid"]) is None
        with pytest.raises(NotFound):
            await api.get("ConfigMap", NAMESPACE, "deleted")

    run(case)


def test_a_finalizer_holds_an_object_until_it_is_taken_off(run: Callable[[Case], None]) -> None:
    async def case(api: Api) -> None:
        made = await api.create(model("held", finalizers=["slipway.dev/finalizer"]))
        left = await api.delete("Model", NAMESPACE, "held", made["metadata"]["uid"])
        assert left is not None
        assert "deletionTimestamp" in left["metadata"]
        body = {"metadata": {"finalizers": [], "resourceVersion": left["metadata"]["resourceVersion"]}}
        await api.patch("Model", NAMESPACE, "held", body)
        with pytest.raises(NotFound):
            await api.get("Model", NAMESPACE, "held")

    run(case)


def test_a_list_selects_by_labels_and_tells_its_version(run: Callable[[Case], None]) -> None:
    async def case(api: Api) -> None:
        labels = {**manifests.MANAGED, "slipway.dev/name": "listed"}
        for name in ("listed-1", "listed-2"):
            manifest = config_map(name)
            manifest["metadata"]["labels"] = labels
            await api.create(manifest)
        last = await api.create(config_map("unlisted"))
        found = await api.list("ConfigMap", NAMESPACE, {"slipway.dev/name": "listed"})
        assert [item["metadata"]["name"] for item in found.items] == ["listed-1", "listed-2"]
        assert {(item["apiVersion"], item["kind"]) for item in found.items} == {("v1", "ConfigMap")}
        assert found.version >= version(last)
        assert (await api.list("ConfigMap", None, {"slipway.dev/name": "nobody"})).items == []

    run(case)


def on_real(kubeconfig: Path, case: Callable[[Kube], Awaitable[None]]) -> None:
    async def against() -> None:
        api = await kube.connect(str(kubeconfig))
        try:
            await case(api)
        finally:
            await api.close()

    asyncio.run(against())


def test_a_long_list_comes_in_pages(real_api: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube, "PAGE", 3)

    async def case(api: Kube) -> None:
        for number in range(8):
            manifest = config_map(f"page-{number}")
            manifest["metadata"]["labels"]["slipway.dev/name"] = "paged"
            await api.create(manifest)
        found = await api.list("ConfigMap", NAMESPACE, {"slipway.dev/name": "paged"})
        assert len(found.items) == 8

    on_real(real_api, case)


def test_what_the_server_refuses_comes_with_its_words(real_api: Path) -> None:
    async def case(api: Kube) -> None:
        wrong = model("wrong")
        wrong["spec"]["aliases"] = "candidate"
        with pytest.raises(Invalid, match=r"spec\.aliases: Invalid value"):
            await api.create(wrong)
        nowhere = config_map("nowhere")
        nowhere["metadata"]["namespace"] = "no-such-namespace"
        with pytest.raises(NotFound, match="no-such-namespace"):
            await api.create(nowhere)

    on_real(real_api, case)


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    async def case() -> None:
        api = Kube(ApiClient(Configuration(host="http://127.0.0.1:9")))
        with pytest.raises(Unavailable, match="no answer from the API server"):
            await api.get("ConfigMap", NAMESPACE, "any")
        await api.close()

    asyncio.run(case())


@pytest.mark.parametrize(
    ("code", "body", "wanted"),
    [
        (403, b'{"message": "exceeded quota: small", "reason": "Forbidden"}', Forbidden),
        (
            403,
            b'{"message": "ends", "details": {"causes": [{"reason": "NamespaceTerminating"}]}}',
            kube.NamespaceEnding,
        ),
        (410, b'{"message": "too old"}', kube.Expired),
        (429, b"<html>slow down</html>", Unavailable),
        (503, b"", Unavailable),
    ],
)
def test_each_answer_has_its_error(code: int, body: bytes, wanted: type[Exception]) -> None:
    assert type(kube._error(code, body, "GET /x")) is wanted


def test_no_write_is_sent_without_the_lease(real_api: Path) -> None:
    def refuse() -> None:
        raise LeaseLost("not the leader")

    async def case(api: Kube) -> None:
        guarded = api.guarded(refuse)
        made = await api.create(config_map("guarded", a="1"))
        uid = made["metadata"]["uid"]
        writes: tuple[Callable[[], Awaitable[Any]], ...] = (
            lambda: guarded.create(config_map("other")),
            lambda: guarded.apply(config_map("guarded", a="2")),
            lambda: guarded.patch("ConfigMap", NAMESPACE, "guarded", {"data": {"a": "2"}}),
            lambda: guarded.apply_status("Model", NAMESPACE, "guarded", "1", {}),
            lambda: guarded.delete("ConfigMap", NAMESPACE, "guarded", uid),
        )
        for write in writes:
            with pytest.raises(LeaseLost):
                await write()
        assert (await guarded.get("ConfigMap", NAMESPACE, "guarded"))["data"] == {"a": "1"}

    on_real(real_api, case)
