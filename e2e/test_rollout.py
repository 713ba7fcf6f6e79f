"""One deployment's rollouts under traffic: promoted, rolled back, asked for by hand, and through a change of leader."""

import re
import time
from collections.abc import Iterator

import numpy as np
import pytest

import given
import tiny
from stage import Manifest, Stage, condition, stands, status
from traffic import Seen, Traffic

NAME, HOST, RATE = "shop", "shop.e2e", 30.0
IMAGE = tiny.images(1, seed=9)[0]
VERSIONS = ("plain-1", "plain-2", "plain-3", "slow", "fragile")


@pytest.fixture(scope="module")
def shop(theatre: Stage, uploads: None, router: str) -> Iterator[Stage]:
    """A deployment that serves plain-1 and has a version for every test to try."""
    for file in VERSIONS:
        theatre.apply(given.version(file, file))
    theatre.apply(given.deployment(NAME, "plain-1", **given.CANARY))
    theatre.reaches("ModelDeployment", NAME, "Healthy")
    yield theatre
    theatre("delete", f"mdep/{NAME}", "--ignore-not-found", "--timeout=90s")
    theatre("delete", "mver", *VERSIONS, "--ignore-not-found", "--timeout=90s")


def traffic(router: str, image: np.ndarray = IMAGE, rate: float = RATE) -> Traffic:
    return Traffic(router, HOST, NAME, image, rate=rate)


def want(shop: Stage, version: str) -> None:
    shop.patch("mdep", NAME, {"modelVersionRef": {"name": version}})


def ended(shop: Stage, version: str, outcome: str, **after: str) -> Manifest:
    """The deployment once the newest entry of its history tells how that version fared, newer than `after`."""

    def done(found: Manifest) -> bool:
        newest = (status(found).get("history") or [{}])[0]
        fresh = newest.get("startTime", "") > after.get("start", "")
        return fresh and newest.get("outcome") is not None and newest["modelVersionRef"]["name"] == version

    found = shop.until("ModelDeployment", NAME, f"{version} {outcome}", done, seconds=300)
    assert status(found)["history"][0]["outcome"] == outcome, shop.story("ModelDeployment", NAME)
    return found


def on_trial(shop: Stage, version: str) -> Manifest:
    """The deployment once that version has a share of the requests."""

    def done(found: Manifest) -> bool:
        return any(
            (r["role"], r["modelVersionRef"]["name"]) == ("Canary", version) and r["weight"] > 0
            for r in status(found).get("revisions") or ()
        )

    return shop.until("ModelDeployment", NAME, f"{version} gets requests", done)


def newest_start(shop: Stage) -> str:
    found = shop.get("ModelDeployment", NAME)
    assert found is not None
    return str(status(found)["history"][0]["startTime"])


def only_serves(found: Manifest, version: str) -> str:
    """The one revision there is, by name."""
    (revision,) = status(found)["revisions"]
    assert (revision["role"], revision["modelVersionRef"]["name"]) == ("Stable", version)
    assert revision["weight"] == 100
    return str(revision["name"])


def told(seen: Seen, what: str) -> None:
    late = sorted(seen.milliseconds)
    p99 = late[int(0.99 * len(late))] if late else 0
    print(
        f"\n{what}: {seen.sent} requests, {seen.failures} failed {dict(seen.failed)}, p99 {p99:.0f} ms",
        flush=True,
    )


def test_a_version_that_is_no_worse_is_promoted_and_no_request_fails(shop: Stage, router: str) -> None:
    with traffic(router) as seen:
        want(shop, "plain-2")
        trial = on_trial(shop, "plain-2")
        found = ended(shop, "plain-2", "Promoted")
        found = shop.reaches("ModelDeployment", NAME, "Healthy")
    told(seen, "promoted")

    assert seen.failures == 0, seen.failed
    assert status(trial)["phase"] == "Progressing"
    stands(trial, Ready="False", Reconciling="True", Stalled="False", Available="True")
    revision = only_serves(found, "plain-2")
    assert seen.answered[revision] > 0
    assert len(seen.answered) == 2
    told_ = status(found)
    assert told_["history"][0]["reason"] == "AllPassed"
    assert [(step["setWeight"], step["verdict"]) for step in told_["rollout"]["steps"]] == [
        (20, "Pass"),
        (50, "Pass"),
    ]
    for step in told_["rollout"]["steps"]:
        assert {m["name"]: m["verdict"] for m in step["metrics"]} == {
            "error_rate": "Pass",
            "slow_rate": "Pass",
        }
        assert all(m["difference"]["upper"] <= m["maxIncrease"] for m in step["metrics"])
    stands(found, InputsReady="True", Available="True", Ready="True", Reconciling="False", Stalled="False")


def test_a_version_that_is_slow_is_rolled_back_and_stays_so_until_retry_is_asked(
    shop: Stage, router: str
) -> None:
    with traffic(router) as seen:
        want(shop, "slow")
        found = ended(shop, "slow", "RolledBack")
    told(seen, "slow, rolled back")

    assert seen.failures == 0, seen.failed
    history = status(found)["history"][0]
    assert history["reason"] == "SlowRateIncreased"
    found = shop.until(
        "ModelDeployment", NAME, "one revision is left", lambda m: len(status(m)["revisions"]) == 1
    )
    only_serves(found, "plain-2")
    assert status(found)["phase"] == "Degraded"
    stands(found, Available="True", Ready="False", Reconciling="False", Stalled="True")
    assert condition(found, "Ready")["reason"] == "RolledBack"
    assert re.search(
        r"slow was rolled back at \d+ %: \d+ % of its requests took over 250ms", status(found)["summary"]
    )
    assert "kubectl slipway retry shop" in status(found)["summary"]

    # A new leader doesn't try it again.
    shop.end_leader()
    for _ in range(2):
        with traffic(router) as seen:
            time.sleep(5)
        assert seen.failures == 0, seen.failed
        again = shop.get("ModelDeployment", NAME)
        assert again is not None
        assert status(again)["history"][0] == history
        only_serves(again, "plain-2")
        assert status(again)["phase"] == "Degraded"

    # A person does, and takes it back.
    with traffic(router, rate=5):
        assert "retry" in shop.slipway("retry", NAME)
        on_trial(shop, "slow")
        shop.slipway("abort", NAME)
        aborted = ended(shop, "slow", "Aborted", start=history["startTime"])
    assert status(aborted)["history"][0]["reason"] == "Aborted"
    assert status(aborted)["history"][1] == history

    want(shop, "plain-2")
    found = shop.reaches("ModelDeployment", NAME, "Healthy")
    stands(found, Ready="True", Stalled="False")


def test_a_version_that_fails_requests_is_rolled_back(shop: Stage, router: str) -> None:
    before = newest_start(shop)
    with traffic(router, tiny.WHITE) as seen:
        want(shop, "fragile")
        found = ended(shop, "fragile", "RolledBack", start=before)
    told(seen, "fragile, rolled back")

    assert status(found)["history"][0]["reason"] == "ErrorRateIncreased"
    (step,) = status(found)["rollout"]["steps"]
    assert (step["setWeight"], step["verdict"]) == (20, "Fail")
    errors = next(metric for metric in step["metrics"] if metric["name"] == "error_rate")
    assert errors["verdict"] == "Fail"
    assert errors["stable"]["bad"] == 0
    assert errors["difference"]["estimate"] > errors["maxIncrease"]
    assert errors["evidence"]["logE"] > errors["evidence"]["rollbackAt"]
    # A fifth of the requests fail until it is shown; never more than that.
    assert 0 < seen.failures < 0.25 * seen.sent, seen.failed
    with traffic(router, tiny.WHITE) as seen:
        time.sleep(3)
    assert seen.failures == 0, seen.failed

    want(shop, "plain-2")
    shop.reaches("ModelDeployment", NAME, "Healthy")


def test_a_rollout_goes_on_under_another_leader_when_the_first_one_crashes(shop: Stage, router: str) -> None:
    before = newest_start(shop)
    with traffic(router) as seen:
        want(shop, "plain-3")
        on_trial(shop, "plain-3")
        shop.end_leader(crash=True)
        found = ended(shop, "plain-3", "Promoted", start=before)
        found = shop.reaches("ModelDeployment", NAME, "Healthy")
    told(seen, "promoted over two leaders")

    assert seen.failures == 0, seen.failed
    only_serves(found, "plain-3")
    starts = [
        entry["startTime"]
        for entry in status(found)["history"]
        if entry["modelVersionRef"]["name"] == "plain-3"
    ]
    assert len(starts) == 1, "it was begun once"


def test_a_pinned_deployment_stays_where_it_is_until_unpinned(shop: Stage, router: str) -> None:
    found = shop.get("ModelDeployment", NAME)
    assert found is not None
    serving, before = only_serves(found, "plain-3"), newest_start(shop)

    shop.slipway("pin", NAME, serving)
    shop.says("ModelDeployment", NAME, "InputsReady", "True", "Pinned")
    want(shop, "plain-1")
    time.sleep(4)
    found = shop.reaches("ModelDeployment", NAME, "Healthy")
    assert only_serves(found, "plain-3") == serving

    with traffic(router, rate=5):
        shop.slipway("unpin", NAME)
        on_trial(shop, "plain-1")
        # Wanting what serves ends the trial.
        want(shop, "plain-3")
        found = ended(shop, "plain-1", "Superseded", start=before)
    found = shop.reaches("ModelDeployment", NAME, "Healthy")
    assert only_serves(found, "plain-3") == serving


def test_a_pin_to_no_revision_is_said_and_changes_nothing(shop: Stage) -> None:
    shop.annotate("mdep", NAME, pin="shop-000000")
    message = shop.says("ModelDeployment", NAME, "InputsReady", "False", "InvalidSpec")
    assert "shop-000000, which is no revision of this deployment; there are: shop-" in message
    found = shop.reaches("ModelDeployment", NAME, "Degraded")
    assert condition(found, "Available")["status"] == "True"
    shop.annotate("mdep", NAME, pin=None)
    shop.reaches("ModelDeployment", NAME, "Healthy")


def test_a_revision_that_can_not_start_gets_no_request(shop: Stage, router: str) -> None:
    found = shop.get("ModelDeployment", NAME)
    assert found is not None
    before = newest_start(shop)
    rollout = {**given.CANARY["rollout"], "progressDeadline": "15s"}
    with traffic(router) as seen:
        # This image has no GPU: Triton refuses to load the model.
        shop.patch("mdep", NAME, {"triton": {"instanceGroup": [{"kind": "KIND_GPU"}]}, "rollout": rollout})
        found = ended(shop, "plain-3", "RolledBack", start=before)
    told(seen, "can't load")

    assert seen.failures == 0, seen.failed
    assert len(seen.answered) == 1
    assert status(found)["history"][0]["reason"] == "ProgressDeadlineExceeded"
    assert not status(found)["rollout"].get("steps")
    message = condition(found, "Ready")["message"]
    assert "was not ready within 15s" in message

    shop.patch("mdep", NAME, {"triton": None, "rollout": given.CANARY["rollout"]})
    shop.reaches("ModelDeployment", NAME, "Healthy")
