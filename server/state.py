"""Where Parley keeps what it makes for this user and this machine."""

import os
from pathlib import Path


def state_folder() -> Path:
    """Returns `$XDG_STATE_HOME/parley`, by default ~/.local/state/parley."""
    base = os.environ.get("XDG_STATE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state") / "parley"


def own_certificate() -> Path:
    """Returns the file with the certificate that `parley serve --tls` makes, for clients that are to trust it."""
    return state_folder() / "tls" / "certificate.pem"
