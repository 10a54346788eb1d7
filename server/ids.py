"""Ids of sessions, items, responses, events and calls."""

import secrets


def new_id(prefix: str) -> str:
    """Returns an id that nobody can guess, such as `item_…`."""
    return f"{prefix}_{secrets.token_hex(12)}"
