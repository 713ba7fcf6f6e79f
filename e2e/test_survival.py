"""What breaks in the middle of the work, and that the work ends as if it hadn't."""

import re
import time

import ask
import given
import tiny
from stage import Manifest, Stage, condition, stands, status

LONG: Manifest = {
    "model": {"cnn": {"width": 32, "blocks": [2, 2]}},
    "hyperparameters": {"epochs": 400, "batchSize": 64, "learningRate": 0.05, "seed": 0},
    "checkpoints": {"interval": "3s", "keep": 2},
}
"""A training of about a minute and a half."""
KILL_BACKEND = """
for process in /proc/[0-9]*; do
  read -r program < $process/cmdline || true
  case "$program" in *python_backend_stub*) kill -9 ${process#/proc/} && echo killed ;; esac
done 2>/dev/null
"""


def test_a_run_whose_pod_and_whose_leader_are_killed_goes_on_from_its_checkpoint(
    stage: Stage, bands: str
) -> None:
    stage.given(given.run("survivor", bands, **LONG))
    seen = [percent_over(stage, 0)]

    def saved(found: Manifest) -> bool:
        assert status(found)["phase"] == "Running", "the run is too short for this test"
        return "checkpoint" in status(found)

    before = stage.until("TrainingRun", "survivor", "a checkpoint is in the store", saved)
    checkpoint = status(before)["checkpoint"]
    (pod,) = stage.pods("survivor", "TrainingRun")
    stage("delete", "pod", pod["metadata"]["name"], "--grace-period=0", "--force")
    second = stage.until(
        "TrainingRun", "survivor", "it goes on in attempt 2", lambda found: status(found)["attempt"] == 2
    )
    stands(second, Succeeded="Unknown", Reconciling="True", Stalled="False")

    # Progress is the pods' word, and comes in while it runs.
    seen.append(percent_over(stage, seen[-1]))
    stage.end_leader(crash=True)
    end = stage.reaches("TrainingRun", "survivor", "Succeeded", seconds=400)

    assert 0 < seen[0] <= 100
    assert seen[1] > seen[0]
    stands(end, Trained="True", GatesPassed="True", Succeeded="True", Reconciling="False", Stalled="False")
    assert status(end)["attempt"] == 2
    assert "restarts" not in status(end), "what wasn't its fault doesn't count"
    assert "2 attempts" in condition(end, "Trained")["message"]
    resumed = re.search(r"goes on from step (\d+) of", stage("logs", "job/survivor-2"))
    assert resumed is not None
    assert int(resumed[1]) >= checkpoint["step"]
    jobs = stage.find("jobs", "-l", "slipway.dev/name=survivor,slipway.dev/kind=TrainingRun")
    assert {job["metadata"]["name"] for job in jobs} <= {"survivor-1", "survivor-2"}


def test_a_dataset_is_prepared_although_the_store_was_away(stage: Stage) -> None:
    with stage.store_down():
        stage.given(given.dataset("patient"))
        said = stage.says("Dataset", "patient", "InputsReady", "False", "StoreUnreachable")
        waits = stage.get("Dataset", "patient")
    assert said.startswith("Can't reach http")
    assert "next try in" in said
    assert waits is not None
    stands(waits, InputsReady="False", Ready="False", Reconciling="True", Stalled="False")

    found = stage.reaches("Dataset", "patient", "Ready")

    stands(found, InputsReady="True", Ready="True", Reconciling="False", Stalled="False")
    assert status(found)["attempt"] > 1


def test_a_replica_whose_backend_died_is_started_anew_and_answers_again(stage: Stage, router: str) -> None:
    stage.given(given.version("revived", "plain-1"), given.deployment("revived", "revived"))
    before = stage.reaches("ModelDeployment", "revived", "Healthy")
    (pod,) = stage.pods("revived", "ModelDeployment")
    name = pod["metadata"]["name"]
    image, _ = tiny.images(2, seed=5)
    wanted, revision = ask.over_rest(router, "revived.e2e", "revived", image)

    said = stage("exec", name, "-c", "triton", "--", "sh", "-c", KILL_BACKEND)
    assert "killed" in said
    # Triton itself still says that it is ready; the examples say that it isn't.
    down = stage.until(
        "ModelDeployment",
        "revived",
        "it is said to be down",
        lambda found: condition(found, "Ready")["status"] == "False",
        seconds=60,
    )
    assert condition(down, "Available")["status"] == "False"
    found = stage.reaches("ModelDeployment", "revived", "Healthy")

    (pod,) = stage.pods("revived", "ModelDeployment")
    triton = next(c for c in pod["status"]["containerStatuses"] if c["name"] == "triton")
    assert (pod["metadata"]["name"], triton["restartCount"]) == (name, 1)
    again, answered_by = ask.over_rest(router, "revived.e2e", "revived", image)
    assert (again.tolist(), answered_by) == (wanted.tolist(), revision)
    assert status(found)["history"] == status(before)["history"], "no rollout came of it"


def percent_over(stage: Stage, least: int) -> int:
    """The percentage that `kubectl get` shows, once it is over `least`."""
    deadline = time.monotonic() + 240
    while True:
        shown = stage("get", "trun/survivor", "--no-headers", "-o", "jsonpath={.status.progress.percent}")
        if shown and int(shown) > least:
            return int(shown)
        assert time.monotonic() < deadline, stage.story("TrainingRun", "survivor")
        time.sleep(1)
