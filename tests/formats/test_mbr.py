import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from applianceforge.formats import mbr
from applianceforge.formats.mbr import Mbr, Partition
from applianceforge.model.errors import SlotError

CODE = bytes(range(220)) * 2
OURS = Mbr(
    CODE,
    0xC49FEA74,
    (
        Partition(1, 2048, 32768, active=True),
        Partition(2, 34816, 2097152),
        Partition(3, 2131968, 2097152),
        Partition(4, 4229120, 524288),
    ),
)
# The last three entries as sfdisk 2.38.1 writes them for such a disk of 4753408 sectors.
ENTRY_BYTES = 16


@st.composite
def records(draw: st.DrawFn) -> Mbr:
    numbers = draw(st.lists(st.integers(1, 4), unique=True, max_size=4).map(sorted))
    edges = draw(
        st.lists(
            st.integers(1, 0x7FFFFFFF),
            min_size=2 * len(numbers),
            max_size=2 * len(numbers),
            unique=True,
        ).map(sorted)
    )
    active = draw(st.sampled_from([0, *numbers]))
    return Mbr(
        draw(st.binary(min_size=440, max_size=440)),
        draw(st.integers(0, 0xFFFFFFFF)),
        tuple(
            Partition(
                number,
                edges[2 * at],
                edges[2 * at + 1] - edges[2 * at],
                draw(st.sampled_from([0x83, 0x82, 0x0C])),
                number == active,
            )
            for at, number in enumerate(numbers)
        ),
    )


@given(records())
def test_round_trip(record: Mbr) -> None:
    assert mbr.decode(mbr.encode(record)) == record


@given(st.binary(min_size=512, max_size=512))
def test_anything_is_decoded_or_refused(sector: bytes) -> None:
    for data in (sector, sector[:510] + b"\x55\xaa"):
        try:
            record = mbr.decode(data, 1 << 20)
        except SlotError:
            continue
        assert mbr.problems(record.partitions, 1 << 20) == []


@pytest.mark.real
def test_sfdisk_writes_the_same_table(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with open(disk, "wb") as stream:
        stream.truncate(4753408 * 512)
        stream.write(CODE)
    lines = "".join(
        f"start={one.first_sector}, size={one.sectors}, type=83{', bootable' if one.active else ''}"
        "\n"
        for one in OURS.partitions
    )
    script = f"label: dos\nlabel-id: 0x{OURS.signature:08x}\n{lines}"
    subprocess.run(
        ["/usr/sbin/sfdisk", "-q", "--wipe", "never", "--no-tell-kernel", disk],
        input=script.encode(),
        check=True,
        capture_output=True,
    )
    with open(disk, "rb") as stream:
        theirs = stream.read(512)
    assert mbr.decode(theirs, 4753408) == OURS
    assert mbr.encode(OURS) == theirs


def entry(number: int) -> int:
    return 446 + (number - 1) * ENTRY_BYTES


@pytest.mark.parametrize(
    ("at", "change", "said"),
    [
        (510, b"\0\0", "no partition table"),
        (entry(1) + 4, b"\xee", "GPT"),
        (entry(2) + 4, b"\x05", "partition 2 is extended"),
        (entry(2), b"\x01", "status 01h"),
        (entry(2), b"\x80", "more than one partition is active"),
        (entry(3) + 8, struct.pack("<I", 34817), "partitions 2 and 3 overlap"),
        (entry(4) + 12, struct.pack("<I", 524289), "ends at sector 4753409, the disk at 4753408"),
        (entry(4) + 12, struct.pack("<I", 0), "has 0 sectors"),
        (entry(1) + 8, struct.pack("<I", 0), "at 0"),
    ],
)
def test_malformed(at: int, change: bytes, said: str) -> None:
    sector = bytearray(mbr.encode(OURS))
    assert mbr.decode(bytes(sector), 4753408) == OURS
    sector[at : at + len(change)] = change
    with pytest.raises(SlotError) as caught:
        mbr.decode(bytes(sector), 4753408, "x.raw")
    assert any(said in text for text in (caught.value.message, *caught.value.evidence))
    assert "x.raw" in caught.value.message
    assert caught.value.hint


def test_a_short_sector_is_refused() -> None:
    with pytest.raises(SlotError, match="first sector"):
        mbr.decode(mbr.encode(OURS)[:511])


@pytest.mark.parametrize(
    "record",
    [
        Mbr(CODE[:-1], 1, ()),
        Mbr(CODE, 1 << 32, ()),
        Mbr(CODE, 1, (Partition(5, 1, 1),)),
        Mbr(CODE, 1, (Partition(1, 1, 1), Partition(1, 2, 1))),
        Mbr(CODE, 1, (Partition(1, 1 << 32, 1),)),
    ],
)
def test_what_cannot_be_is_not_encoded(record: Mbr) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        mbr.encode(record)


def test_a_partition_is_found_by_its_number() -> None:
    assert OURS.partition(3) == OURS.partitions[2]
    assert OURS.partition(5) is None
    assert OURS.partitions[0].first_byte == 1 << 20
    assert OURS.partitions[0].size_bytes == 16 << 20
