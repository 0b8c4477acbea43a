"""Read the settings of an appliance's update."""

from __future__ import annotations

from applianceforge.release.update import settings
from applianceforge.release.update.places import UpdatePlaces
from applianceforge.release.update.settings import UpdateSettings
from applianceforge.system import files


def read(places: UpdatePlaces) -> UpdateSettings:
    """Return what the vendor's and the administrator's settings say together.

    Raises:
        SettingsError: They are wrong.
        AccessDeniedError: They may not be read.
    """
    found = []
    for path in places.settings:
        content = files.read_plain(path, follow=True)
        if content is not None:
            found.append((str(path), content.decode(errors="replace")))
    return settings.decode(found)
