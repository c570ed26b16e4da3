"""What ends a run early, in words for a user."""


class UserError(Exception):
    """Something that only the user can put right; its text is one line that says what to do."""


class BusyError(Exception):
    """Another process is at work on the run that its text names."""


class Interrupted(KeyboardInterrupt):
    """A signal ended the run; its text is one line that says what is saved.

    Args:
        said: that line.
        signal: its number.
    """

    def __init__(self, said: str, signal: int):
        super().__init__(said)
        self.signal = signal
