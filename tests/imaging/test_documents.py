"""The documents beside an image: manifest and bill of materials."""

import json

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from applianceforge.imaging import manifest, sbom
from applianceforge.imaging.manifest import File, Inputs
from tests.imaging import builds

WHEEL = '[[wheels]]\nname = "tuf"\nversion = "7.0.1"\nsha256 = "' + "ef" * 32 + '"\n'


def bill() -> str:
    return sbom.encode(builds.small(WHEEL), builds.choice(), "cd" * 32)


def test_the_bill_of_materials_is_cyclonedx() -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_5)
    assert validator.validate_str(bill()) is None
    assert validator.validate_str(bill().replace('"library"', '"librarian"', 1)) is not None


def test_every_package_is_in_the_bill_once() -> None:
    document = json.loads(bill())
    references = [one["bom-ref"] for one in document["components"]]
    assert len(set(references)) == len(references)
    names = [one["name"] for one in document["components"]]
    assert sorted(names) == sorted(
        [
            *(one.name for one in builds.choice().image.packages),
            "hello",
            "libc6",
            "applianceforge",
            "tuf",
        ]
    )
    (wheel,) = (one for one in document["components"] if one["name"] == "tuf")
    assert wheel["purl"] == "pkg:pypi/tuf@7.0.1"
    assert wheel["hashes"] == [{"alg": "SHA-256", "content": "ef" * 32}]
    (udev,) = (one for one in document["components"] if one["name"] == "udev")
    assert udev["purl"] == "pkg:deb/debian/udev@1%3A2.3-4%2Bdeb12u1?arch=amd64&distro=bookworm"
    (foreign,) = (one for one in document["components"] if one["name"] == "hello")
    assert foreign["properties"][0]["value"] == "/usr/lib/i386"
    (relation,) = document["dependencies"]
    assert relation["ref"] == document["metadata"]["component"]["bom-ref"]
    assert sorted(relation["dependsOn"]) == sorted(references)


def test_the_same_image_has_the_same_bill() -> None:
    assert bill() == bill()
    other = sbom.encode(builds.small(), builds.choice(), "ef" * 32)
    assert json.loads(other)["serialNumber"] != json.loads(bill())["serialNumber"]


def listed(*, security: bool) -> dict[str, object]:
    text = manifest.encode(
        builds.small(WHEEL),
        builds.choice(security=security),
        Inputs("11", "22", "33"),
        0xABCD,
        (File("small.raw", "cd" * 32, 7),),
    )
    content: dict[str, object] = json.loads(text)
    return content


def test_the_manifest_says_whether_security_updates_were_left_out() -> None:
    document = listed(security=True)
    assert document["image"]["security_updates"] == "taken"  # type: ignore[index]
    trees = document["trees"]
    assert isinstance(trees, dict)
    assert trees["/usr/lib/i386"]["security_updates"] == "left out"
    assert listed(security=False)["image"]["security_updates"] == "left out"  # type: ignore[index]


def test_the_manifest_names_files_inputs_and_packages() -> None:
    document = listed(security=True)
    assert document["files"] == {"small.raw": {"sha256": "cd" * 32, "size_bytes": 7}}
    assert document["inputs"] == {"recipe": "11", "content": "22", "before": "33", "extra": []}
    assert document["wheels"] == [{"name": "tuf", "version": "7.0.1", "sha256": "ef" * 32}]
    assert document["disk"]["signature"] == "0000abcd"  # type: ignore[index]
    assert document["image"]["packages"][0]["name"] == "libc6"  # type: ignore[index]
