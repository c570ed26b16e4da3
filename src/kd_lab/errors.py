class UserError(Exception):
    """Something that only the user can put right; its text is one line that says what to do."""
