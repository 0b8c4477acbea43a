"""Slots of a tree that is small enough for every run of the tests: files, and no program in it."""

import io
import stat
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from applianceforge.imaging import slot_image
from applianceforge.imaging.content import file_entry, tree_of
from applianceforge.imaging.packages import ROOT
from applianceforge.imaging.recipe import ImageRecipe, Mode, Units
from applianceforge.imaging.slot_image import INITRD, Inputs
from applianceforge.imaging.wheels import MODULES
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import RecipeError
from applianceforge.slots import description
from applianceforge.slots.description import Description
from tests.imaging import builds, differences

FILES = {
    "boot/vmlinuz-6.1.0-1": "a kernel",
    "boot/initrd.img-6.1.0-1": "of the packages",
    "etc/group": "root:x:0:\nweb:x:111:\n",
    "etc/hostname": "the-build-machine",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/passwd": "root:x:0:0::/root:/bin/sh\nweb:x:111:111::/:/bin/false\n",
    "etc/shadow": "root:*:12345:0:99999:7:::\n",
    "usr/lib/old/file": "x",
    "var/log/dpkg.log": "today",
    "vmlinuz": "a link as packages make it",
}


def a_root(directory: Path, more: tuple[tarfile.TarInfo, ...] = ()) -> Path:
    """Make the stage of the packages."""
    directory.mkdir(parents=True)
    names = {parent for name in FILES for parent in Path(name).parents if parent.name}
    with tarfile.open(directory / ROOT, "w") as archive:
        for name in ("dev", "proc", *sorted(str(one) for one in names)):
            member = tarfile.TarInfo(f"./{name}")
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        for name, text in FILES.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size, member.mtime, member.mode = len(text), 2_000_000_000, 0o644
            archive.addfile(member, io.BytesIO(text.encode()))
        for member in more:
            archive.addfile(member)
    return directory


def an_initrd(directory: Path) -> Path:
    directory.mkdir()
    (directory / INITRD).write_text("an initial RAM disk")
    return directory


def a_recipe(tmp_path: Path) -> ImageRecipe:
    overlay = tmp_path / "overlay/etc"
    overlay.mkdir(parents=True, exist_ok=True)
    (overlay / "hostname").write_text("gateway\n")
    (overlay / "secret").write_text("s")
    return replace(
        builds.small(),
        overlays=("overlay",),
        trees=(),
        modes=(Mode("/etc/secret", 0o640, "root:web"),),
        remove=("/usr/lib/old", "/usr/share/nothing*"),
        boot_arguments="quiet panic=10",
    )


def make(
    recipe: ImageRecipe, tmp_path: Path, name: str, root: Path, inputs: Inputs | None = None
) -> Path:
    initrd = tmp_path / "initrd"
    if not initrd.exists():
        an_initrd(initrd)
    inputs = inputs or Inputs(slot_image.content_of(recipe, tmp_path, builds.EPOCH_S), ())
    made = slot_image.make_slot(
        recipe, root, initrd, inputs, builds.EPOCH_S, lambda _: root, builds.stages(tmp_path / name)
    )
    return made / slot_image.IMAGE


def asked(image: Path, request: str) -> str:
    words = ["/usr/sbin/debugfs", "-R", request, str(image)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.mark.real
def test_a_slot_has_what_boots_and_nothing_of_the_build_machine(tmp_path: Path) -> None:
    image = make(a_recipe(tmp_path), tmp_path, "cache", a_root(tmp_path / "root"))
    assert 'Fast link dest: "vmlinuz-6.1.0-1"' in asked(image, "stat /boot/vmlinuz")
    assert asked(image, "cat /boot/initrd.img") == "an initial RAM disk"
    block = asked(image, "cat /boot/slot.env").encode()
    assert description.decode(block, "it") == Description(
        Architecture.AMD64, "small", "1.2", "quiet panic=10"
    )
    assert asked(image, "cat /etc/hostname") == "gateway\n"
    assert asked(image, "cat /etc/machine-id") == ""
    assert asked(image, "cat /etc/applianceforge/release.env") == (
        f"NAME=small\nVERSION=1.2\nARCHITECTURE=amd64\nAPPLIANCE=box\nBUILT_S={builds.EPOCH_S}\n"
    )
    assert asked(image, "cat /etc/shadow").split(":")[2] == str(builds.EPOCH_S // 86400)
    secret = asked(image, "stat /etc/secret")
    assert "Mode:  0640" in secret
    assert "User:     0   Group:   111" in secret
    for gone in ("/var/log/dpkg.log", "/usr/lib/old", "/vmlinuz", "/boot/initrd.img-6.1.0-1"):
        assert "Inode:" not in asked(image, f"stat {gone}"), gone
    for kept in ("/data", "/boot/loader", "/dev", "/proc", "/var/log", "/usr/bin/applianceforge"):
        assert "Inode:" in asked(image, f"stat {kept}"), kept
    assert "null" not in asked(image, "ls /dev")


@pytest.mark.real
def test_the_same_slot_twice(tmp_path: Path) -> None:
    recipe = a_recipe(tmp_path)
    root = a_root(tmp_path / "root")
    inputs = Inputs(slot_image.content_of(recipe, tmp_path, builds.EPOCH_S), ())
    one = make(recipe, tmp_path, "one", root, inputs)
    other = make(recipe, tmp_path, "two", root, inputs)
    assert one != other
    assert one.read_bytes() == other.read_bytes()
    (tmp_path / "overlay/etc/hostname").write_text("other\n")
    changed = make(recipe, tmp_path, "one", root)
    assert changed.parent != one.parent
    assert any("etc/hostname" in line for line in differences.of_file_systems(one, changed))
    assert differences.of_file_systems(one, other) == []
    assert differences.of_bytes(one, changed)


def device(name: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(f"./{name}")
    member.type, member.mode = kind, 0o644
    return member


@pytest.mark.real
@pytest.mark.parametrize(
    ("change", "more", "says", "remedy"),
    [
        (
            {"modes": (Mode("/etc/sceret", 0o600),)},
            (),
            "modes.path names /etc/sceret, which is not there",
            "let an overlay bring it",
        ),
        (
            {"modes": (Mode("/etc/secret", 0o600, "wbe:root"),)},
            (),
            "modes.owner names wbe, whom the image does not know",
            "did you mean web?",
        ),
        ({"remove": ("/usr/lib/odl",)}, (), "remove has /usr/lib/odl", "leave it out"),
        (
            {"units": Units(enable=("ssh.service",))},
            (),
            "units.enable has ssh.service, which systemctl cannot enable",
            "name a unit of a package",
        ),
        (
            {},
            (device("boot/vmlinuz-7.0", tarfile.REGTYPE),),
            "packages.kernel and others install 6.1.0-1, 7.0",
            "name one package of one kernel",
        ),
        (
            {},
            (device("srv/pipe", tarfile.FIFOTYPE),),
            "leaves sockets, pipes or devices: srv/pipe",
            "name them in remove",
        ),
    ],
)
def test_what_is_wrong_with_the_tree_is_named(
    tmp_path: Path,
    change: dict[str, object],
    more: tuple[tarfile.TarInfo, ...],
    says: str,
    remedy: str,
) -> None:
    recipe = replace(a_recipe(tmp_path), **change)  # type: ignore[arg-type]
    with pytest.raises(RecipeError) as caught:
        make(recipe, tmp_path, "cache", a_root(tmp_path / "root", more))
    assert caught.value.message.startswith("small.toml")
    assert says in builds.told_by(caught.value)
    assert remedy in builds.told_by(caught.value)
    assert not list((tmp_path / "cache").glob("slot-*"))


def wheel_inputs(recipe: ImageRecipe, directory: Path, *names: str) -> Inputs:
    entries = tuple(file_entry(f"{MODULES}/{name}", b"x = 1\n") for name in names)
    content = slot_image.content_of(recipe, directory, builds.EPOCH_S, (), entries)
    return Inputs(content, (), tuple(entry.path for entry in entries))


@pytest.mark.real
def test_a_wheel_lies_beside_other_modules(tmp_path: Path) -> None:
    recipe = a_recipe(tmp_path)
    root = a_root(tmp_path / "root")
    inputs = wheel_inputs(recipe, tmp_path, "thing/__init__.py", "thing-1.dist-info/WHEEL")
    image = make(recipe, tmp_path, "cache", root, inputs)
    assert asked(image, f"cat /{MODULES}/thing/__init__.py") == "x = 1\n"
    assert make(recipe, tmp_path, "cache", root) != image


@pytest.mark.real
def test_a_wheel_may_not_replace_a_file_of_a_package(tmp_path: Path) -> None:
    member = device(f"{MODULES}/thing/__init__.py", tarfile.REGTYPE)
    recipe = a_recipe(tmp_path)
    inputs = wheel_inputs(recipe, tmp_path, "thing/__init__.py", "thing/more.py")
    with pytest.raises(RecipeError, match="which a package of Debian has too") as caught:
        make(recipe, tmp_path, "cache", a_root(tmp_path / "root", (member,)), inputs)
    assert "thing/__init__.py" in caught.value.message
    assert "leave out the wheel or the package" in caught.value.hint


def test_a_vendors_overlay_goes_over_all_others(tmp_path: Path) -> None:
    recipe = a_recipe(tmp_path)
    for name in ("etc/hostname", "etc/applianceforge/root.json", "etc/applianceforge/release.env"):
        path = tmp_path / "extra" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("the vendor's")
    extra = (tmp_path / "extra",)
    content = slot_image.content_of(recipe, tmp_path, builds.EPOCH_S, extra)
    found = {entry.path: entry.read() for entry in content.entries}
    assert found["etc/hostname"] == found["etc/applianceforge/root.json"] == b"the vendor's"
    assert found["etc/applianceforge/release.env"].startswith(b"NAME=small\n")
    assert content.digest != slot_image.content_of(recipe, tmp_path, builds.EPOCH_S).digest


def test_the_initial_ram_disk_depends_on_its_own_files_alone(tmp_path: Path) -> None:
    recipe = replace(a_recipe(tmp_path), initrd_paths=("/usr/lib/early",))
    for name in (
        "overlay/etc/initramfs-tools/modules",
        "overlay/etc/modprobe.d/x.conf",
        "overlay/usr/lib/early/program",
        "overlay/usr/lib/earlybird",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    content = slot_image.content_of(recipe, tmp_path, builds.EPOCH_S)
    part = slot_image.initrd_content(recipe, content)
    assert [entry.path for entry in part.entries if stat.S_ISREG(entry.mode)] == [
        "etc/initramfs-tools/modules",
        "etc/modprobe.d/x.conf",
        "usr/lib/early/program",
    ]
    (tmp_path / "overlay/etc/hostname").write_text("other\n")
    again = slot_image.content_of(recipe, tmp_path, builds.EPOCH_S)
    assert again.digest != content.digest
    assert slot_image.initrd_content(recipe, again).digest == part.digest


def test_our_own_package_comes_along_whole(tmp_path: Path) -> None:
    content = slot_image.content_of(a_recipe(tmp_path), tmp_path, builds.EPOCH_S)
    paths = {entry.path for entry in content.entries}
    below = "usr/lib/python3/dist-packages/applianceforge"
    assert f"{below}/cli/entry.py" in paths
    assert f"{below}/migrate/example.toml" in paths
    assert not [path for path in paths if "__pycache__" in path]
    assert tree_of(iter(content.entries)).digest == content.digest
