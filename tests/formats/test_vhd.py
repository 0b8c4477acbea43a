import subprocess
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.formats import vhd
from applianceforge.formats.vhd import Footer
from applianceforge.model.errors import SlotError

OURS = Footer(
    made_s=848678321,
    creator=b"qem2",
    creator_version=0x50003,
    creator_system=b"Wi2k",
    original_bytes=2433744896,
    size_bytes=2433744896,
    cylinders=65535,
    heads=16,
    sectors=255,
    kind=vhd.FIXED,
    uuid=UUID("779dbe0b-3bc8-4c4c-980e-f80c401dbcec"),
)
U32 = st.integers(0, 0xFFFFFFFF)
FOOTERS = st.builds(
    Footer,
    made_s=U32,
    creator=st.binary(min_size=4, max_size=4),
    creator_version=U32,
    creator_system=st.binary(min_size=4, max_size=4),
    original_bytes=st.integers(0, 2**64 - 1),
    size_bytes=st.integers(1, 2**50).map(lambda n: n * 512),
    cylinders=st.integers(0, 0xFFFF),
    heads=st.integers(0, 0xFF),
    sectors=st.integers(0, 0xFF),
    kind=st.just(vhd.FIXED),
    uuid=st.uuids(),
)


@given(FOOTERS)
def test_round_trip(footer: Footer) -> None:
    assert vhd.decode(vhd.encode(footer)) == footer


@given(st.integers(0, 511), st.integers(1, 255))
def test_any_changed_byte_is_found(at: int, change: int) -> None:
    data = bytearray(vhd.encode(OURS))
    data[at] ^= change
    with pytest.raises(SlotError):
        vhd.decode(bytes(data))


@pytest.mark.real
@pytest.mark.parametrize("kind", ["fixed", "dynamic"])
def test_qemu_img_writes_such_a_footer(tmp_path: Path, kind: str) -> None:
    disk = tmp_path / "disk.vhd"
    options = f"subformat={kind},force_size=on"
    subprocess.run(
        ["/usr/bin/qemu-img", "create", "-q", "-f", "vpc", "-o", options, disk, "64M"], check=True
    )
    data = disk.read_bytes()[-512:]
    footer = vhd.decode(data)
    assert footer.size_bytes == 64 << 20
    assert (footer.kind == vhd.FIXED) == (kind == "fixed")
    assert vhd.encode(footer) == data


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": 7}, "the kind is 7"),
        ({"kind": 3}, "next header"),
        ({"size_bytes": 1000}, "the size is 1000"),
        ({"size_bytes": 0}, "the size is 0"),
        ({"next_header": 512}, "next header is at 200h"),
    ],
)
def test_malformed(change: dict[str, int], said: str) -> None:
    data = vhd.encode(replace(OURS, **change))  # type: ignore[arg-type]
    with pytest.raises(SlotError, match=r"x\.vhd") as caught:
        vhd.decode(data, "x.vhd")
    assert any(said in line for line in caught.value.evidence)


@pytest.mark.parametrize("data", [b"", bytes(512), vhd.encode(OURS)[:-1], b"conectix"])
def test_what_is_no_footer(data: bytes) -> None:
    with pytest.raises(SlotError, match="does not end in the footer"):
        vhd.decode(data)
