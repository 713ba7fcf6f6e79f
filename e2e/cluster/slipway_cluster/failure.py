"""The one exception whose text is written for the person at the terminal, and the way to run a command with it."""

import subprocess


class Failure(Exception):
    """What went wrong, and what to do."""


def run(*words: str, stdin: str | None = None) -> str:
    """The output of a command that must succeed."""
    done = subprocess.run(words, input=stdin, capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"`{' '.join(words)}` failed ({done.returncode}): {done.stderr.strip()}")
    return done.stdout
