#!/usr/bin/env python3
"""Bring a bare Debian 12 machine, or with CLUSTER=kind one with Docker, to a running Slipway, step by step.

Standard library only: it makes the Python environment that everything else runs in. Every step is quick when
its work is done already, so a failed or interrupted set-up is resumed by the same command. Full output of each
step goes to a log; a failing step shows the end of it.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("SLIPWAY_CACHE", Path.home() / ".cache" / "slipway"))
LOGS = CACHE / "logs"
TAIL = 30
REFRESH_SECONDS = 0.5


@dataclass(frozen=True)
class Step:
    name: str
    title: str
    command: tuple[str, ...]
    usually: str
    """Time on 2 cores, from bare and when cached."""


PYTHON = Step("python", "Python environment", ("e2e/python-environment",), "1 min; 1s")
DATA = Step("data", "Sample data", ("e2e/sample-data",), "20s; 1s")
BARE = (
    PYTHON,
    DATA,
    Step("binaries", "Kubernetes, etcd, containerd", ("e2e/cluster/slipway-cluster", "build"), "12 min; 1s"),
    Step("images", "Container images", ("images/build",), "3 min; 1s"),
    Step("cluster", "Cluster", ("e2e/cluster/slipway-cluster", "up"), "20s"),
    Step("load", "Images into the cluster", ("images/build", "--load"), "1 min; 2s"),
    Step("chart", "Slipway's chart", ("e2e/install",), "20s"),
)
KIND_FILES = (f"IMAGES={CACHE}/kind/values.json", "VALUES=e2e/values-kind.yaml")
KIND = (
    PYTHON,
    DATA,
    Step("cluster", "Cluster (kind)", ("e2e/kind", "up"), "1 min; 1s"),
    Step("images", "Container images", ("e2e/kind", "images"), "10 min; 10s"),
    Step("load", "Images into the cluster", ("e2e/kind", "load"), "1 min; 10s"),
    Step("chart", "Slipway's chart", ("env", *KIND_FILES, "e2e/install"), "1 min"),
)
CLUSTERS = {"bare": BARE, "kind": KIND}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    cluster = os.environ.get("CLUSTER", "bare")
    if cluster not in CLUSTERS:
        print(f"CLUSTER is {cluster}: set one of {', '.join(CLUSTERS)}", file=sys.stderr)
        return 2
    steps = CLUSTERS[cluster]
    parser.add_argument("--until", choices=[step.name for step in steps], default=steps[-1].name)
    until = parser.parse_args().until
    if problem := missing() if cluster == "bare" else missing_for_kind():
        print(problem, file=sys.stderr)
        return 2
    LOGS.mkdir(parents=True, exist_ok=True)
    wanted = steps[: [step.name for step in steps].index(until) + 1]
    began = time.monotonic()
    for number, step in enumerate(wanted, 1):
        if not run(f"[{number}/{len(wanted)}] {step.title}", step):
            return 1
    print(f"Set-up finished in {spoken(time.monotonic() - began)}.")
    return 0


def missing() -> str | None:
    """What this machine lacks, with the remedy, in one line."""
    if os.geteuid() != 0:
        return "The bare-machine cluster makes namespaces and mounts: run as root (sudo make demo)."
    if shutil.which("go") is None:
        return "Go isn't installed: install Go 1.26 or newer (https://go.dev/dl), then run this again."
    if shutil.which("apt-get") is None:
        return (
            "The bare-machine cluster needs Debian 12's apt-get: elsewhere use CLUSTER=kind or make install."
        )
    return None


def missing_for_kind() -> str | None:
    lacking = [name for name in ("docker", "kind", "kubectl", "helm") if shutil.which(name) is None]
    if lacking:
        return f"CLUSTER=kind needs {', '.join(lacking)} on the PATH: install that, then run this again."
    if subprocess.run(["docker", "info"], capture_output=True).returncode != 0:
        return "Docker doesn't answer (docker info fails): start it, then run this again."
    return None


def run(title: str, step: Step) -> bool:
    log = LOGS / f"{step.name}.log"
    terminal = sys.stdout.isatty()
    if not terminal:
        print(f"{title} (usually {step.usually}) ...", flush=True)
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            step.command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, env=environment()
        )
        try:
            while process.poll() is None:
                if terminal:
                    show(
                        f"{title}  {spoken(time.monotonic() - began)} of usually {step.usually}  {last_line(log)}"
                    )
                time.sleep(REFRESH_SECONDS)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    took = spoken(time.monotonic() - began)
    if process.returncode == 0:
        (show if terminal else print)(f"{title}: done in {took}")
        print(end="\n" if terminal else "", flush=True)
        return True
    print(f"\n{title}: failed after {took} (exit code {process.returncode}). The end of {log}:\n")
    print("\n".join(f"    {line}" for line in lines(log)[-TAIL:]))
    print("\nRun the same command again to resume: finished steps are skipped.")
    return False


def environment() -> dict[str, str]:
    """With the uv that the first step brings, and the cluster of ours, whatever the shell points at."""
    kind = CACHE / "kind" / "kubeconfig"
    bare = CACHE / "clusters" / os.environ.get("CLUSTER_NAME", "slipway") / "kubeconfig"
    return {
        **os.environ,
        "PATH": f"{CACHE / 'uv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "KUBECONFIG": str(kind if os.environ.get("CLUSTER") == "kind" else bare),
    }


def show(text: str) -> None:
    width = shutil.get_terminal_size().columns
    print(f"\r\033[K{text[: width - 1]}", end="", flush=True)


def lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()


def last_line(log: Path) -> str:
    found = lines(log)
    return found[-1].strip() if found else ""


def spoken(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole}s" if whole < 60 else f"{whole // 60}m{whole % 60:02}s"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nInterrupted. Run the same command again to resume.")
        sys.exit(130)
