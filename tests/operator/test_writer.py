"""Single writes; whole passes are in test_engine.py."""

import asyncio
from typing import Any

import pytest

from cluster import Connection
from fake_api import Store
from slipway.adapters.kube import Conflict, Unavailable
from slipway.cache import Cache
from slipway.decision import Key
from slipway.writer import FINALIZER, Writer, covers, fingerprint
from toy import dataset

KEY = Key("Dataset", "demo", "digits")


class Setup:
    """A writer whose cache hears of nothing but its own writes."""

    def __init__(self) -> None:
        self.connection = Connection(store := Store())
        self.resource = asyncio.run(store.create(dataset()))
        self.store = store
        self.cache = Cache([self.resource])
        self.writer = Writer(self.connection, self.cache, lambda change: None)

    @property
    def cached(self) -> dict[str, Any]:
        found = self.cache.get("Dataset", "demo", "digits")
        assert found is not None
        return found


def test_a_write_without_an_answer_is_read_before_the_next_pass() -> None:
    setup = Setup()
    setup.connection.fail_at, setup.connection.failure = 1, Unavailable
    with pytest.raises(Unavailable):
        asyncio.run(setup.writer.finalizer(KEY, setup.resource, held=True))
    assert "finalizers" not in setup.cached["metadata"]
    asyncio.run(setup.writer.refresh(KEY))
    assert setup.cached["metadata"]["finalizers"] == [FINALIZER]
    writes = setup.connection.writes
    asyncio.run(setup.writer.finalizer(KEY, setup.cached, held=True))
    assert setup.connection.writes == writes


def test_a_conflict_is_cured_by_reading_what_is_there() -> None:
    setup = Setup()
    asyncio.run(setup.store.patch("Dataset", "demo", "digits", {"metadata": {"finalizers": ["theirs/one"]}}))
    with pytest.raises(Conflict):
        asyncio.run(setup.writer.finalizer(KEY, setup.resource, held=True))
    asyncio.run(setup.writer.refresh(KEY))
    asyncio.run(setup.writer.finalizer(KEY, setup.cached, held=True))
    assert setup.cached["metadata"]["finalizers"] == ["theirs/one", FINALIZER]


def test_what_was_deleted_unseen_leaves_the_cache_when_it_is_read() -> None:
    setup = Setup()
    uid = setup.resource["metadata"]["uid"]
    asyncio.run(setup.store.delete("Dataset", "demo", "digits", uid))
    status = {"observedGeneration": 1}
    with pytest.raises(Exception, match="not found"):
        asyncio.run(setup.writer.status(KEY, setup.resource, status))
    asyncio.run(setup.writer.refresh(KEY))
    assert setup.cache.get("Dataset", "demo", "digits") is None


def test_a_status_is_not_written_over_one_that_the_pass_has_not_seen() -> None:
    setup = Setup()
    setup.store.set_status("Dataset", "demo", "digits", {"observedGeneration": 7})
    with pytest.raises(Conflict):
        asyncio.run(setup.writer.status(KEY, setup.resource, {"observedGeneration": 1}))


def test_status_and_controllers_annotations_do_not_count_as_a_foreign_edit() -> None:
    before = {
        "metadata": {"resourceVersion": "1", "annotations": {"a": "1"}},
        "spec": {"replicas": 1},
        "status": {},
    }
    after = {
        "metadata": {
            "resourceVersion": "9",
            "annotations": {"a": "1", "deployment.kubernetes.io/revision": "2"},
        },
        "spec": {"replicas": 1},
        "status": {"readyReplicas": 1},
    }
    assert fingerprint(before) == fingerprint(after)
    assert fingerprint(before) != fingerprint({**after, "spec": {"replicas": 2}})
    assert fingerprint(before) != fingerprint({**after, "metadata": {"annotations": {"a": "2"}}})


@pytest.mark.parametrize(
    ("wanted", "covered"),
    [
        ({"spec": {"suspend": True}}, True),
        ({"spec": {"suspend": False}}, False),
        ({"spec": {"gone": None}}, True),
        ({"spec": {"suspend": None}}, False),
        ({"metadata": {"labels": {"a": "1"}}}, False),
    ],
)
def test_a_patch_that_would_change_nothing_is_known(wanted: dict[str, Any], covered: bool) -> None:
    assert covers({"spec": {"suspend": True, "other": 1}}, wanted) is covered
