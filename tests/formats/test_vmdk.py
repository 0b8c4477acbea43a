import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.formats import vmdk
from applianceforge.model.errors import SlotError

# As qemu-img 7.2 writes them for a disk of 64 MiB.
HEADER = bytes.fromhex(
    "4b444d5603000000030003000000020000000000800000000000000001000000"
    "0000000014000000000000000002000015000000000000001a00000000000000"
    "8000000000000000000a200d0a0100"
).ljust(512, b"\0")
DESCRIPTOR = b"""# Disk DescriptorFile
version=1
CID=bbed2f64
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW 131072 SPARSE "disk.vmdk"

# The Disk Data Base
#DDB

ddb.virtualHWVersion = "4"
ddb.adapterType = "lsilogic"
""".ljust(10240, b"\0")


def test_what_qemu_img_writes_is_decoded() -> None:
    header = vmdk.decode_header(HEADER)
    assert header == vmdk.Header(3, 131072, 128, 512, 10240)
    told = vmdk.decode_descriptor(DESCRIPTOR)
    assert told == vmdk.Descriptor(0xBBED2F64, "streamOptimized", "lsilogic", 131072, "disk.vmdk")


@pytest.mark.real
def test_the_real_program_writes_it_so(tmp_path: Path) -> None:
    raw, disk = tmp_path / "raw", tmp_path / "disk.vmdk"
    with open(raw, "wb") as stream:
        stream.truncate(64 << 20)
    options = "subformat=streamOptimized,adapter_type=lsilogic"
    subprocess.run(
        ["/usr/bin/qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", options, raw, disk],
        check=True,
    )
    data = disk.read_bytes()
    header = vmdk.decode_header(data[:512])
    assert header == vmdk.decode_header(HEADER)
    at, size = header.descriptor_at, header.descriptor_bytes
    told = vmdk.decode_descriptor(data[at : at + size])
    assert told.extent_name == "disk.vmdk"
    changed = vmdk.with_content_id(data[at : at + size], 0x1234ABCD)
    disk.write_bytes(data[:at] + changed + data[at + size :])
    said = subprocess.run(
        ["/usr/bin/qemu-img", "info", disk], capture_output=True, check=True
    ).stdout.decode()
    assert f"cid: {0x1234ABCD}" in said


@given(st.integers(0, 0xFFFFFFFE))
def test_only_the_content_id_changes(content_id: int) -> None:
    changed = vmdk.with_content_id(DESCRIPTOR, content_id)
    assert len(changed) == len(DESCRIPTOR)
    assert vmdk.decode_descriptor(changed).content_id == content_id
    assert changed.replace(f"CID={content_id:08x}".encode(), b"CID=bbed2f64", 1) == DESCRIPTOR


def test_a_content_id_of_fewer_digits_gets_all_of_them() -> None:
    short = DESCRIPTOR.replace(b"CID=bbed2f64", b"CID=7f").ljust(len(DESCRIPTOR), b"\0")
    assert vmdk.decode_descriptor(short).content_id == 0x7F
    assert vmdk.with_content_id(short, 0xBBED2F64) == DESCRIPTOR


def test_a_full_descriptor_is_refused() -> None:
    full = DESCRIPTOR.rstrip(b"\0").replace(b"CID=bbed2f64", b"CID=7f")
    with pytest.raises(SlotError, match="full"):
        vmdk.with_content_id(full, 1)


@pytest.mark.parametrize("content_id", [-1, 0xFFFFFFFF, 1 << 32])
def test_no_content_id_that_means_something_else(content_id: int) -> None:
    with pytest.raises(ValueError, match="no content ID"):
        vmdk.with_content_id(DESCRIPTOR, content_id)


@pytest.mark.parametrize(
    ("at", "change", "said"),
    [
        (0, b"COWD", "no VMDK"),
        (8, struct.pack("<I", 3), "not stream-optimized"),
        (0x4D, b"\0\0", "not stream-optimized"),
        (0x49, b"\n\n\n\n", "line ends were changed"),
        (0x0C, bytes(8), "0 sectors in grains of 128"),
        (0x14, struct.pack("<Q", 100), "grains of 100"),
        (0x1C, bytes(8), "descriptor has 20 sectors at 0"),
        (0x24, struct.pack("<Q", 1 << 40), "descriptor has"),
    ],
)
def test_malformed_headers(at: int, change: bytes, said: str) -> None:
    data = bytearray(HEADER)
    data[at : at + len(change)] = change
    with pytest.raises(SlotError) as caught:
        vmdk.decode_header(bytes(data), "x.vmdk")
    assert any(said in text for text in (caught.value.message, *caught.value.evidence))
    assert "x.vmdk" in caught.value.message


def test_a_short_header() -> None:
    with pytest.raises(SlotError, match="no VMDK"):
        vmdk.decode_header(HEADER[:511])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"CID=bbed2f64\n", b"", "CID is there 0 times"),
        (b"CID=bbed2f64", b"CID=bbed2f640", "CID is bbed2f640"),
        (b"CID=bbed2f64", b"CID=", "CID is "),
        (b"parentCID", b"CID=00000000\nparentCID", "CID is there 2 times"),
        (b"streamOptimized", b"monolithicSparse", "createType is monolithicSparse"),
        (b'RW 131072 SPARSE "disk.vmdk"\n', b"", "0 extents"),
        (b'"disk.vmdk"\n', b'"disk.vmdk"\nRW 1 SPARSE "b"\n', "2 extents"),
    ],
)
def test_malformed_descriptors(old: bytes, new: bytes, said: str) -> None:
    assert old in DESCRIPTOR
    with pytest.raises(SlotError) as caught:
        vmdk.decode_descriptor(DESCRIPTOR.replace(old, new), "x.vmdk")
    assert any(said in line for line in caught.value.evidence)


@given(st.binary(max_size=600))
def test_anything_is_decoded_or_refused(data: bytes) -> None:
    for decode in (vmdk.decode_header, vmdk.decode_descriptor):
        try:
            decode(data)
        except SlotError:
            continue
