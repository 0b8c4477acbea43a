"""Read the settings file of a migration, as every command about one does."""

from pathlib import Path

import click

from applianceforge.migrate.settings import Settings, decode
from applianceforge.model.errors import SettingsError
from applianceforge.system import files

_APPLIANCE_SETTINGS = Path("/data/config/applianceforge.toml")

settings_option = click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    default=_APPLIANCE_SETTINGS,
    show_default=True,
    help="The settings file; `applianceforge migrate settings` prints an example.",
)


def read_settings(path: Path) -> Settings:
    """Read a settings file.

    Raises:
        SettingsError: It is not there, or wrong.
        AccessDeniedError: It may not be read.
    """
    if not path.exists():
        raise SettingsError(
            f"there is no settings file {path}",
            hint="name the right one; `applianceforge migrate settings` prints an example",
        )
    with files.named_errors(path, "read the settings"):
        return decode(path.read_text(errors="replace"), str(path))
