"""Read the control file of a data directory."""

from pathlib import Path

from applianceforge.formats import pg_control
from applianceforge.formats.pg_control import ControlData
from applianceforge.model.errors import DamagedClusterError, SettingsError
from applianceforge.system import files


def read_control(data: Path) -> ControlData:
    """Read the control file of a data directory.

    Raises:
        SettingsError: There is no data directory.
        DamagedClusterError: The control file is missing or damaged.
        ForeignClusterError: It is of a machine or release that is not known.
        AccessDeniedError: It may not be read.
    """
    path = data / "global" / "pg_control"
    with files.named_errors(data, "read the data directory"):
        data.stat()
        version = data / "PG_VERSION"
        if not version.exists():
            raise SettingsError(
                f"{data} is not a PostgreSQL data directory: it has no PG_VERSION",
                hint="name the directory that holds PG_VERSION, base/ and global/; Debian's is"
                " /var/lib/postgresql/15/main",
            )
        if not path.exists():
            raise DamagedClusterError(
                f"{path} is missing: the data directory is damaged",
                hint="restore it from a backup; never run pg_resetwal without a copy of the whole"
                " directory",
            )
        return pg_control.decode(path.read_bytes(), name=str(path))
