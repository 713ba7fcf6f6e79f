"""Every test there is, and one closing line for all of them.

Those that need no cluster run on both cores; then, with the machine to themselves, those on the cluster.
"""

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

SUITES = (
    ("without a cluster", ["tests", "images/tests", "--numprocesses=2", "--dist=worksteal"]),
    ("on the cluster", ["e2e", "--durations=10"]),
)


def main() -> int:
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for title, arguments in SUITES:
            print(f"\nTests {title}", flush=True)
            report = Path(folder, "report.xml")
            command = [sys.executable, "-m", "pytest", *arguments, f"--junitxml={report}"]
            code = subprocess.run(command, check=False).returncode
            found = read(report)
            if code != 0 and not found["failed"]:
                # Nothing failed and yet it ended badly: collecting did, or pytest itself.
                found["failed"] += 1
            counts += found
            report.unlink(missing_ok=True)
    print(f"\n{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] else 0


def read(report: Path) -> Counter[str]:
    """passed, failed (errors too) and skipped, from pytest's report; nothing without one."""
    counts: Counter[str] = Counter()
    if report.exists():
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):
            failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped = int(suite.get("skipped", 0))
            counts.update(
                failed=failed, skipped=skipped, passed=int(suite.get("tests", 0)) - failed - skipped
            )
    return counts


if __name__ == "__main__":
    sys.exit(main())
