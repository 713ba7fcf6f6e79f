import pytest

import make
from slipway.kinds import attempts
from slipway.kinds.attempts import Attempt

RUN = make.training_run()


def read(*manifests: make.Manifest) -> Attempt:
    return attempts.of(make.view(*manifests).objects, RUN["metadata"]["uid"])[-1]


def failed_job() -> make.Manifest:
    return make.job(RUN, "run-1", ended="Failed", reason="BackoffLimitExceeded")


@pytest.mark.parametrize(
    ("code", "class_", "reason"),
    [
        (10, "UserError", "UserError"),
        (11, "Data", "SourceUnreadable"),
        (12, "Store", "StoreUnreachable"),
        (13, "Preempted", "Preempted"),
        (14, "Communication", "CommunicationLost"),
        (15, "Hang", "Hung"),
        (16, "OutOfMemory", "OutOfMemory"),
        (17, "UserError", "Inconclusive"),
        (70, "Internal", "InternalError"),
    ],
)
def test_each_exit_code_has_its_class_and_reason(code: int, class_: str, reason: str) -> None:
    job = failed_job()
    found = read(
        job, make.ended_pod(job, make.failure_report("train", "SomethingNew", "What happened.", code), code)
    )
    assert found.failure is not None
    assert (found.failure.class_, found.failure.reason.value) == (class_, reason)


def test_a_reason_of_the_report_that_is_known_is_taken_over() -> None:
    job = failed_job()
    report = make.failure_report("verify", "DigestMismatch", "They differ.", 11)
    found = read(job, make.ended_pod(job, report, 11))
    assert found.failure is not None
    assert found.failure.reason == "DigestMismatch"


def test_a_pod_evicted_for_its_own_appetite_is_not_preempted() -> None:
    job = failed_job()
    message = 'Usage of EmptyDir volume "workspace" exceeds the limit "20Gi".'
    found = read(job, make.pod(job, phase="Failed", reason="Evicted", message=message))
    assert found.failure is not None
    assert (found.failure.class_, found.failure.message) == ("UserError", f"Evicted on node 0: {message}")


@pytest.mark.parametrize("reason", ["NodeLost", "Shutdown", "Terminated", "Evicted"])
def test_a_pod_that_its_node_gave_up_is_preempted(reason: str) -> None:
    job = failed_job()
    found = read(job, make.pod(job, phase="Failed", reason=reason, message="The node was low on memory."))
    assert found.failure is not None
    assert found.failure.class_ == "Preempted"


def test_a_text_that_is_no_report_is_quoted() -> None:
    job = failed_job()
    found = read(job, make.ended_pod(job, "Traceback: ZeroDivisionError", 1))
    assert found.failure is not None
    assert found.failure.message == "Exit code 1 on node 0: Traceback: ZeroDivisionError"
    assert found.failure.class_ == "Internal"


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ('failed to pull and unpack image "x": not found', "not found"),
        ('Back-off pulling image "x"', "can't be pulled"),
        ("401 Unauthorized", "the registry refuses the credentials; set pod.imagePullSecrets"),
        ("dial tcp: lookup registry.test: no such host", "the registry's host is unknown"),
    ],
)
def test_what_a_registry_says_is_said_in_one_way(said: str, told: str) -> None:
    job = make.job(RUN, "run-1")
    found = read(job, make.waiting_pod(job, "ErrImagePull", said, "registry.test/x"))
    assert found.blocked is not None
    assert found.blocked.message == f"registry.test/x: {told}."


def test_a_config_of_another_version_does_not_stop_the_attempt_from_being_read() -> None:
    job = make.job(RUN, "run-1")
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {**job["metadata"], "uid": "c"},
        "data": {"job.json": '{"version": 99}'},
    }
    assert read(job, config).config is None


def test_attempts_come_in_their_order() -> None:
    found = attempts.of(
        make.view(*(make.job(RUN, f"run-{n}", attempt=n) for n in (10, 2, 9))).objects, RUN["metadata"]["uid"]
    )
    assert [attempt.number for attempt in found] == [2, 9, 10]
