"""The bill of materials beside an image, as CycloneDX 1.5.

Source: CycloneDX v1.5 JSON schema (bom-1.5.schema.json); package-url's types "deb" and "pypi".
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid5

from applianceforge.imaging.package_set import Choice, PackageSet
from applianceforge.imaging.recipe import ImageRecipe, Wheel
from applianceforge.model.version import VERSION

_DOCUMENTS = UUID("0c5f9f39-3c1b-5a55-8f0c-2d1b1f0f7a61")
# The vendor's own numbers decide what a CVE is about; Debian is what they are of.
_VENDOR = "debian"


def encode(recipe: ImageRecipe, chosen: Choice, slot_sha256: str) -> str:
    """Return the document.

    Args:
        recipe: What was built.
        chosen: Its packages.
        slot_sha256: The digest of the slot image, which the document is about.
    """
    about = f"{recipe.name}@{recipe.version}"
    components = [
        *_components(chosen.image, ""),
        *map(_wheel, recipe.wheels),
        *(part for path, one in chosen.trees for part in _components(one, path)),
        {
            "type": "application",
            "bom-ref": f"applianceforge@{VERSION}",
            "name": "applianceforge",
            "version": VERSION,
            "licenses": [{"license": {"id": "Apache-2.0"}}],
        },
    ]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid5(_DOCUMENTS, slot_sha256)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(chosen.image.epoch_s, UTC).isoformat(),
            "tools": {
                "components": [
                    {"type": "application", "name": "applianceforge", "version": VERSION}
                ]
            },
            "component": {
                "type": "operating-system",
                "bom-ref": about,
                "name": recipe.name,
                "version": recipe.version,
                "description": recipe.title,
                "hashes": [{"alg": "SHA-256", "content": slot_sha256}],
            },
        },
        "components": components,
        "dependencies": [{"ref": about, "dependsOn": [one["bom-ref"] for one in components]}],
    }
    return json.dumps(document, indent=1) + "\n"


def _wheel(one: Wheel) -> dict[str, Any]:
    url = f"pkg:pypi/{quote(one.name, safe='')}@{quote(one.version, safe='')}"
    return {
        "type": "library",
        "bom-ref": url,
        "name": one.name,
        "version": one.version,
        "purl": url,
        "hashes": [{"alg": "SHA-256", "content": one.sha256}],
    }


def _components(chosen: PackageSet, path: str) -> Iterator[dict[str, Any]]:
    for one in chosen.packages:
        url = (
            f"pkg:deb/{_VENDOR}/{quote(one.name, safe='')}@{quote(one.version, safe='')}"
            f"?arch={one.architecture}&distro={chosen.suite}"
        )
        component: dict[str, Any] = {
            "type": "library",
            # A package may be in the image and in a foreign tree.
            "bom-ref": f"{url}#{path.strip('/')}" if path else url,
            "name": one.name,
            "version": one.version,
            "purl": url,
            "hashes": [{"alg": "SHA-256", "content": one.sha256}],
        }
        if path:
            component["properties"] = [{"name": "applianceforge:tree", "value": path}]
        yield component
