"""Where weights lie. Nothing heavy is loaded here, since settings ask before a server starts."""

from importlib.resources import files
from pathlib import Path

from sculptor.errors import SettingsError

SHIPPED = Path(str(files("sculptor") / "mom" / "weights"))
"""The folder of the weights that come with the package."""

_CONFIG = "config.json"
_MAKE = (
    "Make some with `sculptor mom train RECIPE --out RUN` and `sculptor mom export RUN FOLDER`, "
    "and name the folder: mom_weights in sculptor.toml, or SCULPTOR_MOM_WEIGHTS."
)


def find_weights(folder: str = "") -> Path | None:
    """Return the folder named, else the shipped one; None where it holds no weights."""
    path = Path(folder).expanduser() if folder else SHIPPED
    return path if (path / _CONFIG).is_file() else None


def need_weights(folder: str = "") -> Path:
    """Return the folder of the weights to load.

    Raises:
        SettingsError: it holds none.
    """
    path = find_weights(folder)
    if path is not None:
        return path
    if folder:
        raise SettingsError(f"{folder} holds no model: {_CONFIG} is missing. {_MAKE}")
    raise SettingsError(f"This version ships no trained model. {_MAKE}")
