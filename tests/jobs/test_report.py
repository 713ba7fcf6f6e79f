import json
import re

import pytest

from slipway.contract.base import Measurement, Signature, Tensor
from slipway.contract.report import Artifact, CompressReport, Examples, Outcome, TrainReport, Variant
from slipway_jobs import report

LONG = 'é€\n"\\' * 3000


def train_report(**changes: object) -> TrainReport:
    return TrainReport.model_validate({"outcome": "Failed", "reason": "X", "message": "m", **changes})


def artifact(classes: int) -> Artifact:
    logits = Tensor(
        name="logits",
        datatype="FP32",
        shape=[-1, classes],
        classes=[f"class number {n}" for n in range(classes)],
    )
    return Artifact(
        storage_uri="s3://b/m/",
        digest="sha256:" + "a" * 64,
        size_bytes=1,
        files=4,
        signature=Signature(
            inputs=[Tensor(name="image", datatype="UINT8", shape=[-1, 8, 8])], outputs=[logits]
        ),
        examples=Examples(count=1, storage_uri="s3://b/m/examples.json"),
    )


@pytest.mark.parametrize(
    "told",
    [
        train_report(log_tail=LONG),
        train_report(message=LONG),
        train_report(message=LONG, log_tail=LONG, reason="R" * 100),
        train_report(artifact=artifact(1000)),
        CompressReport(
            outcome="Succeeded",
            variants=[
                Variant(name=f"v{n}", metrics={f"metric{i}": 0.123456 for i in range(9)}, notes=[LONG])
                for n in range(20)
            ],
        ),
        CompressReport(
            outcome="Succeeded",
            measurements=[Measurement(metric=f"m{n}", value=0.5, samples=1) for n in range(500)],
        ),
    ],
    ids=["log", "message", "both", "a thousand classes", "variants", "nothing left to trim"],
)
def test_a_report_always_fits_and_is_whole_json(told: Outcome) -> None:
    text = report.fit(told)
    assert len(text.encode()) <= 4096
    again = type(told).model_validate(json.loads(text))
    assert (again.outcome, again.reason) == (told.outcome, told.reason)


def test_figures_outlive_what_is_for_people() -> None:
    told = train_report(
        artifact=artifact(3),
        message=LONG,
        log_tail=LONG,
        measurements=[Measurement(metric="accuracy", value=0.9)],
    )
    again = TrainReport.model_validate(json.loads(report.fit(told)))
    assert again.artifact == told.artifact
    assert again.measurements == told.measurements
    assert again.log_tail is None


def test_a_short_report_is_left_as_it_is() -> None:
    told = train_report(log_tail="step 1\n")
    assert TrainReport.model_validate(json.loads(report.fit(told))) == told


def test_a_fault_of_ours_is_one_sentence_and_its_traceback_is_in_the_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        raise ValueError("a bug")
    except ValueError as error:
        failure = report.unexpected(error)
    assert re.fullmatch(
        r"ValueError: a bug \(test_report.py, line \d+\); the pod's log has the traceback.", failure.message
    )
    assert "Traceback" in capsys.readouterr().err
