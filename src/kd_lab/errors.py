"""What ends a run early, in words for a user."""


class UserError(Exception):
    """Something that only the user can put right; its text is one line that says what to do."""


class BusyError(UserError):
    """Another process is at work on the run ``title``, and nobody waits for it."""

    def __init__(self, title: str):
        super().__init__(f"another process is at work on {title}: run this again when it has ended")
        self.title = title


class Interrupted(KeyboardInterrupt):
    """A signal ended the run; its text is one line that says what is saved.

    Args:
        said: that line.
        signal: its number.
    """

    def __init__(self, said: str, signal: int):
        super().__init__(said)
        self.signal = signal
