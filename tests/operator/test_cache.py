from typing import Any

from slipway.cache import Cache, Objects


def pod(name: str, version: int, uid: str = "u1", **metadata: Any) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {
            "namespace": "demo",
            "name": name,
            "uid": uid,
            "resourceVersion": str(version),
            **metadata,
        },
    }


def test_managed_fields_and_kubectls_copy_are_dropped() -> None:
    copies = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "1"}
    cache = Cache([pod("a", 1, managedFields=[{"manager": "x"}], annotations=copies)])
    held = cache.get("Pod", "demo", "a")
    assert held is not None
    assert "managedFields" not in held["metadata"]
    assert held["metadata"]["annotations"] == {"kept": "1"}


def test_a_state_older_than_the_one_held_is_ignored() -> None:
    cache = Cache([pod("a", 5)])
    assert cache.apply("MODIFIED", pod("a", 4, labels={"old": "1"})) is None
    assert cache.apply("MODIFIED", pod("a", 5, labels={"same": "1"})) is None
    change = cache.apply("MODIFIED", pod("a", 6, labels={"new": "1"}))
    assert change is not None
    assert change.old == pod("a", 5)
    assert cache.get("Pod", "demo", "a") == pod("a", 6, labels={"new": "1"})


def test_versions_compare_as_numbers() -> None:
    cache = Cache([pod("a", 99)])
    assert cache.apply("MODIFIED", pod("a", 100)) is not None


def test_what_was_deleted_stays_deleted_when_an_event_comes_late() -> None:
    cache = Cache([pod("a", 5)])
    assert cache.apply("DELETED", pod("a", 7)) is not None
    assert cache.apply("MODIFIED", pod("a", 6)) is None
    assert cache.get("Pod", "demo", "a") is None


def test_the_late_end_of_a_former_object_does_not_touch_its_successor() -> None:
    cache = Cache([pod("a", 5, uid="old")])
    assert cache.apply("ADDED", pod("a", 9, uid="new")) is not None
    assert cache.apply("DELETED", pod("a", 8, uid="old")) is None
    assert cache.apply("MODIFIED", pod("a", 8, uid="old")) is None
    assert cache.get("Pod", "demo", "a") == pod("a", 9, uid="new")


def test_indexes_follow_changes_of_owner_and_labels() -> None:
    owner = [{"uid": "o1", "kind": "Job", "name": "j", "controller": True}]
    cache = Cache([pod("a", 1, ownerReferences=owner, labels={"slipway.dev/name": "x", "app": "1"})])
    assert (
        cache.owned("o1") == cache.owned("o1", "Pod") == cache.list("Pod", labels={"slipway.dev/name": "x"})
    )
    assert cache.owned("o1", "Job") == []
    cache.apply("MODIFIED", pod("a", 2, labels={"slipway.dev/name": "y", "app": "1"}))
    assert cache.owned("o1") == []
    assert cache.list("Pod", labels={"slipway.dev/name": "x"}) == []
    assert cache.list("Pod", "demo", {"slipway.dev/name": "y", "app": "1"}) != []
    assert cache.list("Pod", "other", {"slipway.dev/name": "y"}) == []
    assert cache.list("Pod", labels={"slipway.dev/name": "y", "app": "2"}) == []
    cache.forget("Pod", "demo", "a")
    assert cache.list("Pod", labels={"slipway.dev/name": "y"}) == []


def test_an_owner_that_is_not_the_controller_owns_nothing() -> None:
    objects = Objects([pod("a", 1, ownerReferences=[{"uid": "o1", "kind": "Job", "name": "j"}])])
    assert objects.owned("o1") == []


def test_a_list_shows_what_is_gone_but_not_what_is_younger_than_it() -> None:
    cache = Cache([pod("gone", 3, uid="g"), pod("young", 12, uid="y"), pod("same", 4, uid="s")])
    listed = [pod("same", 4, uid="s"), pod("unseen", 9, uid="n"), pod("young", 8, uid="y")]
    changes = cache.compare("Pod", listed, 10)
    told = [(change.manifest["metadata"]["name"], change.new is None) for change in changes]
    assert told == [("unseen", False), ("gone", True)]
    assert [manifest["metadata"]["name"] for manifest in cache.list("Pod")] == ["same", "unseen", "young"]


def test_an_object_made_after_the_list_survives_it() -> None:
    cache = Cache([pod("made-meanwhile", 11)])
    assert cache.compare("Pod", [], 10) == []
    assert cache.compare("Pod", [], 11) != []


def test_a_list_of_one_namespace_says_nothing_of_others() -> None:
    cache = Cache([pod("a", 1)])
    assert cache.compare("Pod", [], 10, "other") == []
    assert cache.get("Pod", "demo", "a") is not None


def test_forgetting_by_uid_leaves_a_successor() -> None:
    cache = Cache([pod("a", 9, uid="new")])
    assert cache.forget("Pod", "demo", "a", "old") is None
    assert cache.forget("Pod", "demo", "a", "new") is not None
