"""The command as a pod starts it."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from slipway.contract.report import ExitCode

pytestmark = pytest.mark.slow

OWNER = {"kind": "K", "namespace": "n", "name": "x", "uid": "u"}
PROBE = {"task": "probe", "modelName": "m"}


@pytest.fixture
def command(tmp_path: Path, root: Path) -> Any:
    def run(*arguments: str, config: Any = None, stdin: bytes = b"") -> tuple[int, dict[str, Any], str]:
        if config is not None:
            (tmp_path / "job.json").write_text(config if isinstance(config, str) else config.to_json())
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "slipway_jobs", *arguments],
            env={
                **os.environ,
                "SLIPWAY_CONFIG": str(tmp_path / "job.json"),
                "SLIPWAY_TERMINATION_PATH": str(tmp_path / "termination-log"),
            },
            input=stdin,
            capture_output=True,
        )
        message = tmp_path / "termination-log"
        text = (done.stdout + done.stderr).decode()
        return done.returncode, json.loads(message.read_text()) if message.exists() else {}, text

    return run


def test_a_dataset_that_is_no_idx_file_ends_with_its_sentence(command: Any, tasks: Any, root: Path) -> None:
    (root / "source" / "train-images-idx3-ubyte.gz").unlink()
    (root / "source" / "train-images-idx3-ubyte").write_bytes(bytes(100))
    code, told, text = command("dataset", config=tasks.config(tasks.dataset_task(), attempt=3))
    assert code == ExitCode.DATA
    head = ("version", "task", "outcome", "reason", "message", "exitCode", "attempt")
    assert {name: told[name] for name in head} == {
        "version": 1,
        "task": "dataset",
        "outcome": "Failed",
        "reason": "SourceUnreadable",
        "message": "train-images-idx3-ubyte: magic number 0x00000000, an IDX image file has 0x00000803.",
        "exitCode": 11,
        "attempt": 3,
    }
    assert "magic number" in text


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{}", "owner: Field required (2 errors)."),
        ("no json", "Invalid JSON"),
        (
            json.dumps({"version": 9, "owner": OWNER, "task": PROBE}),
            "has version 9, this image reads up to 1; update the image.",
        ),
        (json.dumps({"owner": OWNER, "task": PROBE}), "is for task probe, not dataset."),
    ],
)
def test_a_config_that_cannot_be_read_is_told_so(command: Any, text: str, sentence: str) -> None:
    code, told, _ = command("dataset", config=text)
    assert (code, told["reason"]) == (ExitCode.USER_ERROR, "InvalidSpec")
    assert sentence in told["message"]


def test_a_fault_of_ours_ends_with_its_traceback(command: Any, tasks: Any, root: Path) -> None:
    told_task = tasks.dataset_task()
    made = tasks.run(told_task)
    tasks.store.write(f"{made.storage_uri}manifest.json", b"[]")
    evaluate = {
        "task": "evaluate",
        "model": {"name": "m", "digest": "sha256:0"},
        "modelUri": "store://m/",
        "dataset": {"name": "tiny", "digest": made.digest, "storageUri": made.storage_uri},
        "outputUri": "store://e/",
    }
    code, told, _ = command("evaluate", config=tasks.config(evaluate))
    assert (code, told["reason"]) == (ExitCode.INTERNAL, "InternalError")
    assert "TypeError" in told["message"]


def test_an_upload_arrives(command: Any, tasks: Any, root: Path, tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in ("a.bin", "deep/b.bin"):
            info = tarfile.TarInfo(name)
            info.size = 3
            archive.addfile(info, io.BytesIO(b"abc"))
    code, told, text = command("receive", "store://uploads/x/", stdin=stream.getvalue())
    assert (code, told["outcome"]) == (0, "Succeeded")
    assert "2 files" in text
    assert (root / "uploads/x/deep/b.bin").read_bytes() == b"abc"
    code, told, _ = command("receive", "store://uploads/x/", stdin=stream.getvalue()[:600])
    assert (code, told["reason"]) == (ExitCode.DATA, "UploadBroken")


def test_an_upload_may_not_leave_its_folder(command: Any, root: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo("../evil")
        info.size = 1
        archive.addfile(info, io.BytesIO(b"x"))
    code, told, _ = command("receive", "store://uploads/y/", stdin=stream.getvalue())
    assert (code, told["reason"]) == (ExitCode.DATA, "UploadBroken")
    assert not (root / "uploads/evil").exists()


def test_serving_pods_need_no_torch() -> None:
    check = (
        "import sys, slipway_jobs.__main__, slipway_jobs.fetch, slipway_jobs.verify, slipway_jobs.receive, "
        "slipway_jobs.probe, slipway_jobs.launcher; "
        "print([m for m in ('torch', 'PIL', 'scipy', 'kopf', 'kubernetes') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_probe_needs_no_onnxruntime() -> None:
    check = "import sys, slipway_jobs.probe; print('onnxruntime' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


def test_an_unknown_task_is_answered_with_the_tasks_there_are(command: Any) -> None:
    code, _, text = command("fly")
    assert code == ExitCode.USER_ERROR
    assert "dataset|evaluate|compress|verify|fetch|probe|train" in text
