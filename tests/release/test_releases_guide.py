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
from applianceforge.release.publish.expiry import Role
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
        ("2.0.0", 50),
        ("3.0.0", 50),
    ]
    assert seen.graph.offers[1].withdrawn


def _passes(public: Path) -> list[list[Path]]:
    """Return the files in the three passes that the guide copies them in."""
    files = sorted(path.relative_to(public) for path in public.rglob("*") if path.is_file())
    roots = [path for path in files if path.name.endswith(".root.json")]
    stamp = Path("metadata/timestamp.json")
    return [[path for path in files if path not in (*roots, stamp)], [stamp], roots]


@pytest.mark.parametrize("backwards", [False, True])
def test_the_order_of_copying_shows_no_box_a_half(backwards: bool, tmp_path: Path) -> None:
    vendor = Vendor(tmp_path)
    vendor.create()
    server = tmp_path / "server"
    shutil.copytree(vendor.layout.public, server)
    box = Box(tmp_path / "box", server, (server / "metadata/1.root.json").read_bytes())
    vendor.add("1.0.0")
    vendor.publish()
    looks = 0
    for role in (None, *Role, Role.TIMESTAMP):
        if role is not None:
            vendor.rotate(role)
        for files in _passes(vendor.layout.public):
            for path in reversed(files) if backwards else files:
                goal = server / path
                if (
                    goal.exists()
                    and goal.read_bytes() == (vendor.layout.public / path).read_bytes()
                ):
                    continue
                goal.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(vendor.layout.public / path, goal)
                looks += 1
                box.look()
                Box(tmp_path / f"new-{looks}", server, box.root).look()
    assert looks > 15
    assert box.look() == vendor.box("other").look()
