import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fake_api import START, Store
from slipway.adapters import kube
from slipway.adapters.kube import Forbidden
from slipway.decision import Event
from slipway.events import NOTE_LIMIT, Recorder

REGARDING: dict[str, Any] = {
    "apiVersion": "slipway.dev/v1alpha1",
    "kind": "Dataset",
    "metadata": {"namespace": "demo", "name": "digits", "uid": "u1"},
}


class Posted:
    def __init__(self) -> None:
        self.time = START
        self.store = Store()
        self.recorder = Recorder(self.store, "operator-0", self.now)

    def now(self) -> datetime:
        return self.time

    def record(self, message: str, reason: str = "Prepared", type_: Any = "Normal") -> None:
        asyncio.run(self.recorder.record(REGARDING, Event(type_, reason, message)))

    @property
    def events(self) -> list[dict[str, Any]]:
        return asyncio.run(self.store.list("Event", "demo")).items


def test_the_same_event_within_ten_minutes_is_counted() -> None:
    posted = Posted()
    for _ in range(3):
        posted.record("70,000 rows.")
        posted.time += timedelta(minutes=1)
    (event,) = posted.events
    assert event["series"] == {"count": 3, "lastObservedTime": "2026-11-24T10:02:00.000000Z"}
    assert (event["reason"], event["note"], event["type"]) == ("Prepared", "70,000 rows.", "Normal")
    assert event["regarding"]["uid"] == "u1"


def test_after_ten_minutes_or_with_other_words_it_is_a_new_one() -> None:
    posted = Posted()
    posted.record("70,000 rows.")
    posted.record("60,000 rows.")
    posted.time += timedelta(minutes=11)
    posted.record("70,000 rows.")
    assert len(posted.events) == 3


def test_an_event_that_ran_out_on_the_server_is_posted_anew() -> None:
    posted = Posted()
    posted.record("70,000 rows.")
    posted.store.objects.clear()
    posted.record("70,000 rows.")
    assert len(posted.events) == 1


def test_a_long_note_is_cut_to_the_bytes_that_the_server_takes() -> None:
    posted = Posted()
    posted.record("x" * 5000)
    posted.record("€" * 5000)
    ascii_, euros = (event["note"] for event in posted.events)
    assert len(ascii_.encode()) == NOTE_LIMIT
    assert euros == "€" * 340 + "…"  # no half a character


def test_an_event_that_cannot_be_posted_is_logged_and_let_go(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    posted = Posted()

    async def refuse(manifest: object) -> dict[str, Any]:
        raise Forbidden("events are forbidden")

    monkeypatch.setattr(posted.store, "create", refuse)
    posted.record("70,000 rows.")
    assert "Dataset demo/digits: can't post Event Prepared: events are forbidden" in caplog.text


def test_a_real_api_server_takes_the_event_and_its_count(real_api: Path) -> None:
    async def case() -> list[dict[str, Any]]:
        api = await kube.connect(str(real_api))
        try:
            recorder = Recorder(api, "operator-0", lambda: START)
            where = {**REGARDING["metadata"], "namespace": "default"}
            for _ in range(3):
                await recorder.record(
                    {**REGARDING, "metadata": where}, Event("Warning", "NameTaken", "It is there.")
                )
            return (await api.list("Event", "default")).items
        finally:
            await api.close()

    (event,) = [event for event in asyncio.run(case()) if event["regarding"].get("uid") == "u1"]
    assert (event["type"], event["note"], event["series"]["count"]) == ("Warning", "It is there.", 3)
