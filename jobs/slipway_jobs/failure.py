"""Failure: an end that was expected to be possible, with a sentence for people and a class for the operator."""

from slipway.contract.report import ExitCode


class Failure(Exception):
    """Ends the task. `message` says what was found, what is allowed, what to do."""

    def __init__(self, reason: str, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.exit_code = exit_code


class Unreadable(Failure):
    """Source data that isn't what its format says."""

    def __init__(self, message: str) -> None:
        super().__init__("SourceUnreadable", message, ExitCode.DATA)


class InvalidConfig(Failure):
    """A task that can't be done as it is stated."""

    def __init__(self, message: str) -> None:
        super().__init__("InvalidSpec", message, ExitCode.USER_ERROR)


class Stopped(Failure):
    """SIGTERM: what could be saved was saved."""

    def __init__(self, message: str) -> None:
        super().__init__("Stopped", message, ExitCode.PREEMPTED)
