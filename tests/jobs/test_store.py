"""The store over folders and over S3 (moto's server, in this process)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from s3fs.errors import ERROR_CODE_TO_EXCEPTION  # type: ignore[import-untyped]  # untyped

from slipway.contract.report import ExitCode
from slipway_jobs.failure import Failure
from slipway_jobs.store import Store

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        client = boto3.client(
            "s3",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )
        client.create_bucket(Bucket="slipway")
        client.close()
        yield url
    server.stop()


@pytest.fixture(params=["file", "s3"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "file":
        return Store(
            {"SLIPWAY_STORE_URI": f"file://{tmp_path}/bucket/{os.getpid()}"}, sleep=lambda seconds: None
        )
    return Store(
        {
            "SLIPWAY_STORE_URI": f"s3://slipway/{tmp_path.name}",
            "SLIPWAY_STORE_ENDPOINT": request.getfixturevalue("endpoint"),
            "SLIPWAY_STORE_ACCESS_KEY_ID": "key",
            "SLIPWAY_STORE_SECRET_ACCESS_KEY": "secret",
        },
        sleep=lambda seconds: None,
    )


def folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def test_a_folder_comes_back_as_it_went(any_store: Store, tmp_path: Path) -> None:
    files = {"a.bin": b"1", "deep/er/b.bin": b"22", "mark.json": b"{}"}
    any_store.upload(folder(tmp_path / "in", files), "store://x/y", last="mark.json")
    assert [(e.path, e.size) for e in any_store.entries("store://x/y/")] == [
        ("a.bin", 1),
        ("deep/er/b.bin", 2),
        ("mark.json", 2),
    ]
    any_store.download("store://x/y/", tmp_path / "out")
    assert {n: (tmp_path / "out" / n).read_bytes() for n in files} == files


def test_one_file_is_downloaded_under_its_own_name(any_store: Store, tmp_path: Path) -> None:
    any_store.write("store://up/model.onnx", b"onnx")
    entries = any_store.download("store://up/model.onnx", tmp_path / "out")
    assert [entry.path for entry in entries] == ["model.onnx"]
    assert (tmp_path / "out" / "model.onnx").read_bytes() == b"onnx"


def test_what_is_there_is_not_written_over(any_store: Store) -> None:
    assert any_store.write_if_absent("store://once", b"first")
    assert not any_store.write_if_absent("store://once", b"second")
    assert any_store.read("store://once") == b"first"


def test_deleting_what_is_not_there_is_fine(any_store: Store) -> None:
    any_store.write("store://d/1", b"x")
    any_store.delete("store://d")
    any_store.delete("store://d")
    assert not any_store.exists("store://d/1")


def test_a_missing_source_is_named(any_store: Store, tmp_path: Path) -> None:
    with pytest.raises(Failure, match="datasets/nothing/: there is no such file or folder") as failure:
        any_store.download("store://datasets/nothing/", tmp_path / "out")
    assert failure.value.exit_code == ExitCode.DATA


def test_a_path_may_not_climb(any_store: Store) -> None:
    with pytest.raises(Failure, match=r"may not contain '\.\.'"):
        any_store.read("store://a/../../other/secret")


def test_no_store_is_said_in_a_sentence() -> None:
    with pytest.raises(Failure, match="create Secret slipway-store") as failure:
        Store({}).read("store://a")
    assert (failure.value.reason, failure.value.exit_code) == ("StoreNotConfigured", ExitCode.USER_ERROR)


def test_an_unreachable_store_is_tried_four_times_with_longer_pauses() -> None:
    pauses: list[float] = []
    store = Store(
        {
            "SLIPWAY_STORE_URI": "s3://slipway",
            "SLIPWAY_STORE_ENDPOINT": "http://127.0.0.1:9",
            "SLIPWAY_STORE_ACCESS_KEY_ID": "key",
            "SLIPWAY_STORE_SECRET_ACCESS_KEY": "secret",
        },
        sleep=pauses.append,
    )
    with pytest.raises(Failure) as failure:
        store.read("store://a")
    assert failure.value.message == "Can't reach http://127.0.0.1:9 (connection refused), tried 4 times."
    assert (failure.value.reason, failure.value.exit_code) == ("StoreUnreachable", ExitCode.STORE)
    assert len(pauses) == 3
    assert pauses[2] > pauses[0]


@pytest.mark.parametrize("answer", ["InternalError", "ServiceUnavailable", "SlowDown", "500", "503"])
def test_a_store_that_answers_that_it_can_not_now_is_tried_again(
    answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store({"SLIPWAY_STORE_URI": f"file://{tmp_path}"}, sleep=lambda seconds: None)

    def busy(*arguments: Any) -> bytes:
        raise ERROR_CODE_TO_EXCEPTION[answer]("We encountered an internal error, please try again.")

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.cat_file", busy)
    with pytest.raises(Failure, match="tried 4 times") as failure:
        store.read("store://a")
    assert failure.value.exit_code == ExitCode.STORE


def test_an_error_of_ours_is_not_taken_for_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(
        {"SLIPWAY_STORE_URI": f"file://{tmp_path}"}, sleep=lambda seconds: pytest.fail("tried again")
    )

    def broken(*arguments: Any) -> bytes:
        raise ValueError("a bug")

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.cat_file", broken)
    with pytest.raises(ValueError, match="a bug"):
        store.read("store://a")
