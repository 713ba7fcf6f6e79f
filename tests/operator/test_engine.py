import asyncio
from typing import Any

import pytest

from cluster import Cluster, crash_everywhere, mangle_everywhere
from slipway.adapters.kube import Forbidden, Invalid, KubeError
from toy import NAMESPACE, dataset, model, new_cluster


def finish(cluster: Cluster) -> None:
    cluster.finish_job(NAMESPACE, "digits-1")


STEPS = (
    lambda cluster: cluster.create(model("digits", "letters")),
    lambda cluster: cluster.create(dataset(rows=1)),
    lambda cluster: cluster.edit("Dataset", NAMESPACE, "digits", {"spec": {"rows": 2, "suspend": True}}),
    lambda cluster: cluster.edit("Dataset", NAMESPACE, "digits", {"spec": {"suspend": False}}),
    finish,
)


def conditions(cluster: Cluster, kind: str, name: str) -> dict[str, Any]:
    found = cluster.get(kind, NAMESPACE, name)["status"]["conditions"]
    return {condition["type"]: condition for condition in found}


def test_a_stop_after_any_write_changes_nothing_in_the_end() -> None:
    assert crash_everywhere(new_cluster, STEPS) >= 20


def test_lost_repeated_and_reordered_events_change_nothing_in_the_end() -> None:
    mangle_everywhere(new_cluster, STEPS)


def test_a_whole_life_leaves_no_children_but_the_model_version() -> None:
    cluster = new_cluster()
    for step in STEPS:
        step(cluster)
        cluster.settle()
    assert cluster.get("Model", NAMESPACE, "both")["status"]["summary"] == "1 ready"
    assert cluster.get("ConfigMap", NAMESPACE, "digits")["data"] == {"rows": "2", "suspend": "False"}
    assert [m["metadata"]["name"] for m in cluster.list("ConfigMap")] == ["digits"]
    assert cluster.events() == ["Prepared: Done."]
    cluster.delete("Dataset", NAMESPACE, "digits")
    cluster.settle()
    assert [place[0] for place in cluster.store.objects if place[0] not in ("Event", "Model")] == [
        "ModelVersion"
    ]
    assert cluster.get("Model", NAMESPACE, "both")["status"]["summary"] == "0 ready"


def test_an_edit_of_a_child_by_somebody_else_is_put_right() -> None:
    cluster = new_cluster()
    cluster.create(dataset(rows=1))
    cluster.settle()
    cluster.edit("ConfigMap", NAMESPACE, "digits", {"data": {"rows": "9", "theirs": "x"}})
    cluster.settle()
    assert cluster.get("ConfigMap", NAMESPACE, "digits")["data"] == {"rows": "1", "theirs": "x"}
    assert cluster.connection.writes == len(
        ("finalizer", "job", "scratch", "config", "seen", "status", "config")
    )


def test_a_change_of_a_childs_status_alone_causes_no_write() -> None:
    cluster = new_cluster()
    cluster.create(dataset(rows=1))
    cluster.settle()
    before = cluster.connection.writes
    cluster.set_status("Job", NAMESPACE, "digits-1", {"active": 1})
    cluster.settle()
    assert cluster.connection.writes == before


def test_an_object_of_the_wanted_name_is_never_taken_over() -> None:
    cluster = new_cluster()
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "digits", "namespace": NAMESPACE},
        "data": {"a": "b"},
    }
    cluster.create(theirs)
    cluster.create(dataset(rows=1))
    cluster.settle()
    found = conditions(cluster, "Dataset", "digits")
    assert (found["Stalled"]["status"], found["Stalled"]["reason"]) == ("True", "NameTaken")
    assert found["Stalled"]["message"] == (
        "ConfigMap digits exists and isn't ours (it has no owner): delete it or use another name."
    )
    assert found["Reconciling"]["status"] == "False"
    assert cluster.get("ConfigMap", NAMESPACE, "digits")["data"] == {"a": "b"}
    assert cluster.events() == [f"NameTaken: {found['Stalled']['message']}"]
    writes = cluster.connection.writes
    cluster.advance(300)
    assert cluster.connection.writes == writes, "waiting for the name writes nothing"

    cluster.delete("ConfigMap", NAMESPACE, "digits")
    cluster.advance(31)
    assert "Stalled" not in conditions(cluster, "Dataset", "digits")
    assert cluster.get("ConfigMap", NAMESPACE, "digits")["data"] == {"rows": "1"}


def test_a_child_of_a_deleted_namesake_is_waited_for() -> None:
    cluster = new_cluster()
    cluster.create(dataset(rows=1))
    cluster.settle()
    job = cluster.get("Job", NAMESPACE, "digits-1")
    cluster.edit("Job", NAMESPACE, "digits-1", {"metadata": {"finalizers": ["test/hold"]}})
    cluster.edit("Dataset", NAMESPACE, "digits", {"metadata": {"finalizers": None}})
    cluster.delete("Dataset", NAMESPACE, "digits")
    cluster.create(dataset(rows=1))
    cluster.settle()
    found = conditions(cluster, "Dataset", "digits")
    assert (found["Reconciling"]["status"], found["Stalled"]["status"]) == ("True", "False")
    assert "deleted object of the same name" in found["Reconciling"]["message"]
    cluster.edit("Job", NAMESPACE, "digits-1", {"metadata": {"finalizers": None}})
    cluster.settle()
    assert cluster.get("Job", NAMESPACE, "digits-1")["metadata"]["uid"] != job["metadata"]["uid"]
    assert "Stalled" not in conditions(cluster, "Dataset", "digits")


def test_a_pass_that_fails_by_itself_is_told_to_the_owner_and_raised() -> None:
    cluster = new_cluster()
    cluster.create(dataset(broken=True))
    for _ in range(2):
        with pytest.raises(ValueError, match="broken is set"):
            cluster.settle()
        cluster.edit("Dataset", NAMESPACE, "digits", {"metadata": {"labels": {"touched": "yes"}}})
    (event,) = cluster.list("Event")
    assert event["note"] == "Slipway can't go on with this object: spec.broken is set"
    assert event["series"]["count"] == 2


@pytest.mark.parametrize(
    ("error", "stalled", "reason"),
    [
        (Invalid("data: Too long: must have at most 1048576 bytes"), "True", "ChildInvalid"),
        (Forbidden("exceeded quota: small"), "False", "ChildForbidden"),
    ],
)
def test_a_refused_child_shows_the_servers_words(
    error: KubeError, stalled: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = new_cluster()

    async def refuse(manifest: object) -> dict[str, Any]:
        raise error

    monkeypatch.setattr(cluster.connection, "apply", refuse)
    cluster.create(dataset(rows=1))
    cluster.settle()
    found = conditions(cluster, "Dataset", "digits")
    assert (found["Stalled"]["status"], found["Stalled"]["reason"]) == (stalled, reason)
    told = found["Stalled" if stalled == "True" else "Reconciling"]["message"]
    assert told == f"ConfigMap digits is refused: {error}"
    monkeypatch.undo()
    cluster.advance(31)
    assert "Stalled" not in conditions(cluster, "Dataset", "digits")


def test_an_object_under_deletion_gets_no_new_children() -> None:
    cluster = new_cluster()
    held = dataset(rows=1)
    held["metadata"]["finalizers"] = ["test/hold"]
    cluster.create(held)
    cluster.delete("Dataset", NAMESPACE, "digits")
    cluster.settle()
    assert {place[0] for place in cluster.store.objects} == {"Dataset"}


def test_what_a_watch_never_told_is_found_by_the_list() -> None:
    cluster = new_cluster()
    cluster.create(dataset(rows=1))
    cluster.settle()
    cluster.delete("ConfigMap", NAMESPACE, "digits")
    cluster.store.watch.clear()
    assert asyncio.run(cluster.engine.relist()) == 1
    cluster.settle()
    assert cluster.get("ConfigMap", NAMESPACE, "digits")["data"] == {"rows": "1"}


def test_a_status_that_the_server_prunes_is_not_written_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = new_cluster()
    real = cluster.store.apply_status

    async def prune(
        kind: str, namespace: str, name: str, version: str, status: dict[str, Any]
    ) -> dict[str, Any]:
        return await real(kind, namespace, name, version, {k: v for k, v in status.items() if k != "phase"})

    monkeypatch.setattr(cluster.store, "apply_status", prune)
    cluster.create(dataset(rows=1))
    cluster.settle()
    before = cluster.connection.writes
    cluster.run_all()
    assert cluster.connection.writes == before
