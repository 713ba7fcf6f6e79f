"""CLUSTER=kind: what it runs, told by programs of those names that only write down how they were called.

Nothing here shows that kind or Docker do as they are told.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = r"""#!/bin/bash
echo "$(basename "$0") $*" >> "$CALLS"
for word in "$@"; do
  # The digest of an image is one of what it was built of: here, of the call.
  [ "$before" = --iidfile ] && echo "sha256:$(echo "$*" | sha256sum | cut -c -64)" > "$word"
  before=$word
done
if [ "$1 $2" = "create cluster" ]; then cat > "$CALLS.config"; fi
if [ "$1 $2" = "get clusters" ]; then echo "$THERE"; fi
exit 0
"""


class Machine:
    """With programs that only write down their calls."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "calls"
        for name in ("docker", "kind", "kubectl", "helm"):
            program = folder / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(PROGRAM)
            program.chmod(0o755)

    def run(self, *words: str, there: str = "", path: str = "") -> subprocess.CompletedProcess[str]:
        environment = {
            "PATH": path or f"{self.folder}/bin:{os.environ['PATH']}",
            "HOME": str(self.folder), "SLIPWAY_CACHE": str(self.folder / "cache"),
            "CALLS": str(self.log), "THERE": there, "CLUSTER": "kind",
        }  # fmt: skip
        return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)

    def calls(self, *words: str, there: str = "") -> list[str]:
        done = self.run(*words, there=there)
        assert done.returncode == 0, done.stderr
        return self.log.read_text().splitlines()

    @property
    def values(self) -> Path:
        return self.folder / "cache" / "kind" / "values.json"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_cluster_is_created_with_the_routers_ports_on_this_machine(machine: Machine) -> None:
    calls = machine.calls("e2e/kind", "up", there="another")
    assert calls == [
        "kind get clusters",
        "kind create cluster --name slipway --wait 2m --config -",
        "kind export kubeconfig --name slipway",
    ]
    config = yaml.safe_load(Path(f"{machine.log}.config").read_text())
    mapped = {m["hostPort"]: m["containerPort"] for m in config["nodes"][0]["extraPortMappings"]}
    ports = yaml.safe_load((ROOT / "e2e" / "values-kind.yaml").read_text())["router"]["service"]["nodePorts"]
    assert mapped == {80: ports["http"], 8001: ports["grpc"]}


def test_a_cluster_that_is_there_is_taken(machine: Machine) -> None:
    assert machine.calls("e2e/kind", "up", there="slipway")[1:] == ["kind export kubeconfig --name slipway"]


def test_every_image_of_the_chart_is_built_and_loaded_under_a_name_by_its_content(machine: Machine) -> None:
    built = machine.calls("e2e/kind", "images")
    named = json.loads(machine.values.read_text())["images"]
    assert named.keys() == yaml.safe_load((ROOT / "charts/slipway/values.yaml").read_text())["images"].keys()
    for call in (call for call in built if call.startswith("docker build")):
        assert (ROOT / call.split("--file ")[1].split()[0]).is_file()
    tagged = [call.split()[-1] for call in built if call.startswith("docker tag")]
    assert sorted(tagged) == sorted(named.values())
    assert all(len(ref.partition(":")[2]) == 12 for ref in tagged)
    (loaded,) = machine.calls("e2e/kind", "load")[len(built) :]
    assert loaded == f"kind load docker-image --name slipway {' '.join(named.values())}"


def test_an_unknown_word_is_told_with_those_there_are(machine: Machine) -> None:
    done = machine.run("e2e/kind", "sideways")
    assert done.returncode == 2
    assert done.stderr == "usage: e2e/kind up|images|load|down\n"


def test_the_set_up_says_which_programs_kind_needs(machine: Machine) -> None:
    nothing = machine.folder / "nothing"
    nothing.mkdir()
    done = machine.run(sys.executable, "e2e/setup.py", path=str(nothing))
    assert done.returncode == 2
    assert "CLUSTER=kind needs docker, kind, kubectl, helm on the PATH" in done.stderr


def test_the_chart_is_installed_with_the_images_that_were_built(machine: Machine) -> None:
    machine.calls("e2e/kind", "images")
    files = (f"IMAGES={machine.values}", "VALUES=e2e/values-kind.yaml")
    (install,) = [c for c in machine.calls("env", *files, "e2e/install") if c.startswith("helm upgrade")]
    assert f"--values {machine.values} --values e2e/values-kind.yaml" in install
