"""The vendor's guide: each of its commands is run, in its order."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from applianceforge.cli import release
from applianceforge.model.architecture import Architecture
from applianceforge.preflight import release_file
from applianceforge.preflight.requirements import Release
from tests.release.vendor import Box, Vendor

GUIDE = Path(__file__).parents[2] / "docs/releases.md"
BUILT = {
    "legacy": ("1.0.0", Architecture.I386),
    "migration": ("2.0.0", Architecture.AMD64),
    "current": ("3.0.0", Architecture.AMD64),
}


def _commands() -> list[list[str]]:
    lines = re.findall(r"^    applianceforge (release .*)$", GUIDE.read_text(), re.MULTILINE)
    # Those with words in capitals are for what a reader has: a module, a server.
    return [shlex.split(line) for line in lines if " DIR" not in line]


def test_every_command_of_the_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    vendor = Vendor(tmp_path)
    images = tmp_path / "build/images"
    images.mkdir(parents=True)
    for name, (version, architecture) in BUILT.items():
        shutil.move(vendor.slot(version, architecture), images / f"{name}.slot")
        document = release_file.encode(Release(architecture, "gateway", version))
        (images / f"{name}.release.json").write_text(json.dumps(document))
    commands = _commands()
    assert len(commands) > 15
    for command in commands:
        assert release.main(command) == 0, command
    public = tmp_path / "gateway-repo/public"
    seen = Box(tmp_path / "box", public, (public / "metadata/1.root.json").read_bytes()).look()
    assert seen.root == 5
    assert [(one.version, one.share_percent) for one in seen.graph.offers] == [
        ("1.0.0", 100),
        ("2.0.0", 50),
        ("3.0.0", 50),
    ]
    assert seen.graph.offers[2].withdrawn
