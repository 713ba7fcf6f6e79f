"""kubectl slipway push and pull, the part in the pod: a tar stream into the store and out of it."""

import io
import tarfile
from pathlib import Path

import pytest

from slipway_jobs import __main__, receive, send
from slipway_jobs.failure import Failure
from slipway_jobs.store import Store


def archive(**files: bytes) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    stream.seek(0)
    return stream


def test_what_is_sent_out_of_the_store_is_what_was_received(tmp_path: Path) -> None:
    store = Store({"SLIPWAY_STORE_URI": f"file://{tmp_path}"})
    receive.run("store://data/", store, archive(**{"a.txt": b"a", "deep/b.txt": b"bb"}))
    out = io.BytesIO()
    send.run("store://data/", store, out)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        found = {name: tar.extractfile(name).read() for name in tar.getnames()}
    assert found == {"a.txt": b"a", "deep/b.txt": b"bb"}


def test_one_file_is_sent_under_its_own_name(tmp_path: Path) -> None:
    store = Store({"SLIPWAY_STORE_URI": f"file://{tmp_path}"})
    receive.run("store://models/", store, archive(**{"model.onnx": b"onnx"}))
    out = io.BytesIO()
    send.run("store://models/model.onnx", store, out)
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        assert tar.getnames() == ["model.onnx"]


def test_a_member_that_leaves_the_folder_is_refused_and_the_rest_is_read(tmp_path: Path) -> None:
    store = Store({"SLIPWAY_STORE_URI": f"file://{tmp_path}"})
    stream = archive(**{"../evil": b"x", "fine": b"y"})
    with pytest.raises(Failure, match="evil leaves the folder"):
        receive.run("store://data/", store, stream)
    assert stream.read() == b""
    assert not (tmp_path.parent / "evil").exists()


def test_an_upload_that_is_cut_leaves_nothing(tmp_path: Path) -> None:
    store = Store({"SLIPWAY_STORE_URI": f"file://{tmp_path}"})
    cut = io.BytesIO(archive(**{"a": b"x" * 5000}).read()[:2000])
    with pytest.raises(Failure, match="is cut"):
        receive.run("store://data/", store, cut)
    assert not list(tmp_path.iterdir())


def test_a_download_of_what_is_not_there_ends_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLIPWAY_STORE_URI", f"file://{tmp_path}")
    monkeypatch.setenv("SLIPWAY_TERMINATION_PATH", str(tmp_path / "termination"))
    monkeypatch.setattr("sys.argv", ["slipway-jobs", "send", "store://nothing/here"])
    with pytest.raises(SystemExit):
        __main__.main()
    said = capsys.readouterr().err.strip()
    assert said.startswith("send: ")
    assert "nothing/here" in said
    assert "Traceback" not in said
