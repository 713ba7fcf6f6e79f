"""Two pods that train one model; one of them is killed, and both go on from the checkpoint."""

import re
from datetime import datetime

import given
from stage import Manifest, Stage, condition, stands, status

TWO: Manifest = {
    "model": {"cnn": {"width": 32, "blocks": [2, 2]}},
    "hyperparameters": {"epochs": 240, "batchSize": 64, "learningRate": 0.05, "seed": 0},
    "trainer": {"numNodes": 2, "resourcesPerNode": given.TRAINER},
    "checkpoints": {"interval": "2s", "keep": 2},
}


def test_two_nodes_train_together_and_go_on_together_after_one_is_killed(stage: Stage, bands: str) -> None:
    stage.given(given.run("pair", bands, **TWO))
    before = stage.until(
        "TrainingRun", "pair", "a checkpoint is in the store", lambda found: "checkpoint" in status(found)
    )
    first = {rank(pod): pod for pod in of_attempt(stage, 1)}
    assert set(first) == {0, 1}
    said = stage("logs", first[1]["metadata"]["name"])
    assert "epoch" not in said, "only node 0 tells"

    stage("exec", first[1]["metadata"]["name"], "--", "sh", "-c", KILL_WORKER)
    broken = stage.until(
        "TrainingRun", "pair", "the attempt failed", lambda found: "failure" in status(found), seconds=90
    )
    second = stage.until(
        "TrainingRun", "pair", "it goes on in attempt 2", lambda found: status(found)["attempt"] == 2
    )

    failure = status(broken)["failure"]
    assert (failure["class"], failure["node"], failure["exitCode"]) == ("Internal", 1, 70), failure
    assert "signal SIGKILL" in condition(broken, "Trained")["message"]
    stands(second, Succeeded="Unknown", Reconciling="True", Stalled="False")
    end = stage.reaches("TrainingRun", "pair", "Succeeded", seconds=400)

    stands(end, Trained="True", GatesPassed="True", Succeeded="True", Reconciling="False", Stalled="False")
    assert (status(end)["attempt"], status(end)["restarts"]) == (2, 1)
    assert status(end)["evaluation"]["metrics"]["accuracy"] > 0.9
    for pod in of_attempt(stage, 2):
        resumed = re.search(r"goes on from step (\d+) of", stage("logs", pod["metadata"]["name"]))
        assert resumed is not None
        assert int(resumed[1]) >= status(before)["checkpoint"]["step"]
    ended = [told(pod)["finishedAt"] for pod in of_attempt(stage, 1)]
    began = [pod["metadata"]["creationTimestamp"] for pod in of_attempt(stage, 2)]
    assert max(map(datetime.fromisoformat, ended)) <= min(map(datetime.fromisoformat, began))


def test_a_batch_that_the_nodes_cannot_share_is_refused(stage: Stage) -> None:
    unequal = given.run("unequal", "bands", trainer={"numNodes": 3, "resourcesPerNode": given.TRAINER})
    said = stage.refused(unequal)
    assert "make it a multiple of numNodes" in said


KILL_WORKER = """
for process in /proc/[0-9]*; do
  case "$(tr '\\0' ' ' < $process/cmdline)" in
    *torch.distributed.run*) ;;
    *train-worker*) kill -9 ${process#/proc/} ;;
  esac
done 2>/dev/null
true
"""


def of_attempt(stage: Stage, attempt: int) -> list[Manifest]:
    selector = f"slipway.dev/name=pair,slipway.dev/kind=TrainingRun,slipway.dev/attempt={attempt}"
    return stage.find("pods", "-l", selector)


def rank(pod: Manifest) -> int:
    return int(pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"])


def told(pod: Manifest) -> Manifest:
    (main,) = pod["status"]["containerStatuses"]
    found: Manifest = main["state"]["terminated"]
    return found
