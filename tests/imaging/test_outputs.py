"""What hypervisors take: the same bytes each time, and the same disk in each."""

import hashlib
import io
import os
import subprocess
import tarfile
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from applianceforge.formats import vhd, vmdk
from applianceforge.imaging import outputs, ova, ovf
from applianceforge.imaging.outputs import Identity, Output
from applianceforge.imaging.ovf import Disk, Machine
from applianceforge.model.errors import (
    NotProvedError,
    ProgramFailedError,
    SettingsError,
)
from applianceforge.system import programs, sparse
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command
from tests.imaging import disks

MACHINE = Machine("small", 'Mail & "Gateway" <1>', "2.4.1~rc1")
IDENTITY = Identity(MACHINE, disks.EPOCH_S)
NAME = "small-2.4.1"
OVF = "{http://schemas.dmtf.org/ovf/envelope/1}"
RASD = "{http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData}"
VMW = "{http://www.vmware.com/schema/ovf}"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return disks.write(tmp_path_factory.mktemp("disk"))[1]


@pytest.fixture(scope="module")
def made(raw: Path) -> dict[Output, Path]:
    paths = outputs.write_all(list(Output)[1:], raw, raw.parent, NAME, IDENTITY, Effects())
    return dict(zip(list(Output)[1:], paths, strict=True))


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.real
@pytest.mark.parametrize("output", list(Output)[1:])
def test_twice_from_two_places_gives_the_same(
    raw: Path,
    made: dict[Output, Path],
    output: Output,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    if time.time() % 1 > 0.9:
        time.sleep(0.2)
    copy = tmp_path / "another.raw"
    copy.write_bytes(raw.read_bytes())  # Without its holes.
    old = os.umask(0o077)
    try:
        again = output.path(tmp_path, NAME)
        outputs.write(output, copy, again, IDENTITY, Effects())
    finally:
        os.umask(old)
    assert digest(again) == digest(made[output])
    assert again.stat().st_mode & 0o777 == 0o644
    assert {path.name for path in tmp_path.iterdir()} == {"another.raw", again.name}


@pytest.mark.real
def test_what_has_not_changed_is_not_made_again(raw: Path, tmp_path: Path) -> None:
    wanted = (Output.QCOW2, Output.VMDK, Output.OVA)
    copy = tmp_path / "disk.raw"
    sparse.create(copy, raw.stat().st_size, Effects())
    sparse.copy_into(raw, copy, 0, Effects())

    def effects_of_writing() -> int:
        effects = Effects()
        outputs.write_all(wanted, copy, tmp_path, NAME, IDENTITY, effects)
        return effects.count

    assert effects_of_writing() > 0
    before = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    assert effects_of_writing() == 0
    assert {path.name: path.stat().st_ino for path in tmp_path.iterdir()} == before
    (tmp_path / f"{NAME}.qcow2").write_bytes(b"changed")
    assert effects_of_writing() > 0
    assert (tmp_path / f"{NAME}.qcow2").read_bytes().startswith(b"QFI")
    sparse.write_at(copy, 5, b"boot", Effects())
    old = digest(tmp_path / f"{NAME}.ova")
    assert effects_of_writing() > 0
    assert digest(tmp_path / f"{NAME}.ova") != old


def test_outputs_are_named() -> None:
    assert outputs.named(["vhd", "raw", "vhd"]) == (Output.VHD, Output.RAW)
    with pytest.raises(SettingsError, match="no output vdi, vhdx") as caught:
        outputs.named(["vhdx", "ova", "vdi"])
    assert "raw, qcow2, vmdk, vhd, ova" in caught.value.hint


@pytest.mark.real
def test_another_release_is_told_apart(raw: Path, tmp_path: Path) -> None:
    other = Identity(Machine("small", "x", "2.4.2"), disks.EPOCH_S)
    for number, identity in enumerate((IDENTITY, other)):
        place = tmp_path / str(number)
        place.mkdir()
        outputs.write_all((Output.VHD, Output.VMDK), raw, place, NAME, identity, Effects())
    for suffix in ("vhd", "vmdk"):
        assert digest(tmp_path / f"0/{NAME}.{suffix}") != digest(tmp_path / f"1/{NAME}.{suffix}")


@pytest.mark.real
@pytest.mark.parametrize(
    ("output", "kind"), [(Output.QCOW2, "qcow2"), (Output.VMDK, "vmdk"), (Output.VHD, "vpc")]
)
def test_the_disk_in_it_is_the_disk(
    raw: Path, made: dict[Output, Path], output: Output, kind: str, tmp_path: Path
) -> None:
    back = tmp_path / "back"
    subprocess.run(
        ["/usr/bin/qemu-img", "convert", "-f", kind, "-O", "raw", made[output], back], check=True
    )
    assert digest(back) == digest(raw)


@pytest.mark.real
def test_a_vhd_is_what_hyper_v_and_azure_take(raw: Path, made: dict[Output, Path]) -> None:
    content = made[Output.VHD].read_bytes()
    footer = vhd.decode(content[-512:])
    assert footer.kind == vhd.FIXED
    assert footer.size_bytes == raw.stat().st_size == len(content) - 512
    assert footer.size_bytes % (1 << 20) == 0
    assert footer.made_s == disks.EPOCH_S - 946_684_800


@pytest.mark.real
def test_a_vmdk_names_itself_and_its_controller(made: dict[Output, Path]) -> None:
    content = made[Output.VMDK].read_bytes()
    header = vmdk.decode_header(content[:512])
    told = vmdk.decode_descriptor(content[header.descriptor_at :][: header.descriptor_bytes])
    assert told.extent_name == f"{NAME}.vmdk"
    assert told.adapter == "lsilogic"
    assert told.content_id == IDENTITY.number("vmdk content") & 0x7FFFFFFF


@pytest.mark.real
def test_an_ova_is_whole(raw: Path, made: dict[Output, Path]) -> None:
    with tarfile.open(made[Output.OVA], "r:") as archive:
        entries = archive.getmembers()
        assert [entry.name for entry in entries] == [f"{NAME}.{x}" for x in ("ovf", "mf", "vmdk")]
        for entry in entries:
            assert (entry.uid, entry.gid, entry.uname, entry.gname) == (0, 0, "", "")
            assert (entry.mode, entry.mtime) == (0o644, disks.EPOCH_S)
        contents = {}
        for entry in entries:
            stream = archive.extractfile(entry)
            assert stream is not None
            contents[entry.name] = stream.read()
    assert contents[f"{NAME}.vmdk"] == made[Output.VMDK].read_bytes()
    for line in contents[f"{NAME}.mf"].decode().splitlines():
        name, _, told = line.removeprefix("SHA256(").partition(")= ")
        assert hashlib.sha256(contents[name]).hexdigest() == told
    assert contents[f"{NAME}.mf"].count(b"\n") == 2
    envelope = ElementTree.fromstring(contents[f"{NAME}.ovf"])
    file = envelope.find(f"{OVF}References/{OVF}File")
    assert file is not None
    assert file.get(f"{OVF}href") == f"{NAME}.vmdk"
    assert file.get(f"{OVF}size") == str(len(contents[f"{NAME}.vmdk"]))
    disk = envelope.find(f"{OVF}DiskSection/{OVF}Disk")
    assert disk is not None
    assert disk.get(f"{OVF}capacity") == str(raw.stat().st_size)
    assert disk.get(f"{OVF}fileRef") == file.get(f"{OVF}id")


def envelope() -> ElementTree.Element:
    return ElementTree.fromstring(ovf.descriptor(MACHINE, Disk("a b&.vmdk", 10, 512)))


def test_the_machine_has_a_bios_and_64_bits() -> None:
    system = envelope().find(f"{OVF}VirtualSystem")
    assert system is not None
    told = system.find(f"{OVF}OperatingSystemSection")
    assert told is not None
    assert told.get(f"{OVF}id") == "96"
    assert (told.get(f"{VMW}osType") or "").endswith("_64Guest")
    settings = {one.get(f"{VMW}key"): one.get(f"{VMW}value") for one in system.iter(f"{VMW}Config")}
    assert settings == {"firmware": "bios"}


def test_text_is_escaped() -> None:
    found = envelope()
    assert found.findtext(f".//{OVF}Product") == MACHINE.title
    assert found.findtext(f".//{OVF}Version") == MACHINE.version
    file = found.find(f".//{OVF}File")
    assert file is not None
    assert file.get(f"{OVF}href") == "a b&.vmdk"


def test_sections_and_items_are_in_the_order_of_the_schema() -> None:
    found = envelope()
    assert [child.tag.removeprefix(OVF) for child in found] == [
        "References",
        "DiskSection",
        "NetworkSection",
        "VirtualSystem",
    ]
    for section in found.iter():
        if section.tag.endswith("Section"):
            assert section[0].tag == f"{OVF}Info"
    items = list(found.iter(f"{OVF}Item"))
    assert len(items) == 5
    for item in items:
        names = [part.tag for part in item]
        assert names == sorted(names)
        assert {f"{RASD}ElementName", f"{RASD}InstanceID", f"{RASD}ResourceType"} <= set(names)


def test_references_within_the_descriptor_resolve() -> None:
    found = envelope()
    numbers = [item.findtext(f"{RASD}InstanceID") for item in found.iter(f"{OVF}Item")]
    assert len(set(numbers)) == len(numbers)
    for item in found.iter(f"{OVF}Item"):
        parent = item.findtext(f"{RASD}Parent")
        assert parent is None or parent in numbers
        network = item.findtext(f"{RASD}Connection")
        assert network in (None, *(one.get(f"{OVF}name") for one in found.iter(f"{OVF}Network")))
        host = item.findtext(f"{RASD}HostResource")
        identities = {f"ovf:/disk/{one.get(f'{OVF}diskId')}" for one in found.iter(f"{OVF}Disk")}
        assert host is None or host in identities


def test_an_ova_has_a_largest_size(tmp_path: Path) -> None:
    with open(tmp_path / "x.vmdk", "wb") as stream:
        stream.truncate(8 << 30)
    with pytest.raises(SettingsError, match=r"8\.0 GiB"):
        ova.write(MACHINE, tmp_path / "x.vmdk", 512, tmp_path / "x.ova", 0, Effects())
    assert not (tmp_path / "x.ova").exists()


@pytest.mark.real
def test_a_changed_byte_is_not_proved(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof looks at every byte: one that changes while it is written is found."""
    real = programs.run
    damaged = []

    def run(command: Command, effects: Effects) -> programs.Output:
        said = real(command, effects)
        if "convert" in command.arguments:
            path = Path(command.arguments[-1])
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
            damaged.append(path)
        return said

    monkeypatch.setattr(programs, "run", run)
    with pytest.raises(NotProvedError):
        outputs.write(Output.VHD, raw, tmp_path / "x.vhd", IDENTITY, Effects())
    assert damaged
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_a_disk_of_another_size_is_not_proved(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeros at the end are equal to nothing at all for `qemu-img compare`."""
    real = programs.run
    grown = []

    def run(command: Command, effects: Effects) -> programs.Output:
        said = real(command, effects)
        if "convert" in command.arguments:
            path = command.arguments[-1]
            subprocess.run(["/usr/bin/qemu-img", "resize", "-q", path, "+1M"], check=True)
            grown.append(path)
        return said

    monkeypatch.setattr(programs, "run", run)
    with pytest.raises(NotProvedError, match="bytes, that in"):
        outputs.write(Output.QCOW2, raw, tmp_path / "x.qcow2", IDENTITY, Effects())
    assert grown


@pytest.mark.real
def test_a_raw_image_that_is_missing_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailedError, match="qemu-img"):
        outputs.write(Output.QCOW2, tmp_path / "missing", tmp_path / "x.qcow2", IDENTITY, Effects())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_raw_is_a_sparse_copy_or_stays(raw: Path, tmp_path: Path) -> None:
    before = digest(raw)
    outputs.write(Output.RAW, raw, raw, IDENTITY, Effects())
    outputs.write(Output.RAW, raw, tmp_path / "x.raw", IDENTITY, Effects())
    assert digest(raw) == digest(tmp_path / "x.raw") == before
    assert (tmp_path / "x.raw").stat().st_blocks <= raw.stat().st_blocks


def test_the_archive_is_of_the_kind_that_the_specification_names(tmp_path: Path) -> None:
    (tmp_path / "x.vmdk").write_bytes(b"disk")
    ova.write(MACHINE, tmp_path / "x.vmdk", 512, tmp_path / "x.ova", 7, Effects())
    content = (tmp_path / "x.ova").read_bytes()
    assert content[257:263] == b"ustar\0"
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert archive.getnames() == ["x.ovf", "x.mf", "x.vmdk"]
