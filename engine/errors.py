"""The one exception that stands for a user's mistake."""


class UserError(Exception):
    """Something the user can mend; the scripts print its message as one line and exit with status 2."""
