"""Crash states: complete, without a trace, and sharp enough to find each planted bug."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.vm import commits, recorder, small
from tests.vm.commits import Bug
from tests.vm.crash_states import Effort, Kind, Replay, State, epochs, states
from tests.vm.guest import Guest
from tests.vm.hardware import Bus, Disk, Hardware
from tests.vm.machine import Machine, MachineError
from tests.vm.region import Region
from tests.vm.write_log import Flags, Written, decode, encode

FLUSH = Written(0, flags=Flags.FLUSH)


def test_epochs_end_at_flushes() -> None:
    writes = [Written(n, bytes([n]) * 512) for n in range(5)]
    both = Written(7, b"7" * 512, Flags.FLUSH)
    mark = Written(0, b"here", Flags.MARK, 0)
    log = decode(encode([writes[0], writes[1], mark, FLUSH, FLUSH, writes[2], both, writes[3]]))
    assert [[entry.first_sector for entry in epoch] for epoch in epochs(log)] == [
        [0, 1],
        [],
        [2],
        [7, 3],
    ]


def test_each_kind_and_none_twice() -> None:
    log = decode(encode([*(Written(8 * n, bytes(4096)) for n in range(4)), FLUSH]))
    found = list(states(log, Effort(subsets=20, torn=20)))
    assert len(found) == len(set(found))
    assert {state.kind for state in found} == set(Kind)
    assert [state.done for state in found[:5]] == [(), (0,), (0, 1), (0, 1, 2), (0, 1, 2, 3)]
    torn = [state for state in found if state.kind is Kind.TORN]
    assert {state.torn for state in torn} == {0, 1, 2, 3}
    assert all(len(state.sectors) < 8 for state in torn)
    assert list(states(log, Effort(subsets=20, torn=20))) == found
    assert list(states(log, Effort(seed=2, subsets=20, torn=20))) != found


def test_forced_write_is_there_once_another_began() -> None:
    log = decode(encode([Written(0, bytes(512), Flags.FUA), Written(1, bytes(512)), FLUSH]))
    found = list(states(log, Effort(subsets=200)))
    assert all(0 in state.done for state in found if 1 in state.done)


def test_a_state_leaves_no_trace_and_holds_what_it_says() -> None:
    draw = random.Random(7)
    entries = []
    for _ in range(60):
        if draw.random() < 0.2:
            entries.append(FLUSH)
        size = draw.randrange(1, 5)
        content = draw.randbytes(512 * size)
        entries.append(Written(draw.randrange(60), content))
        if draw.random() < 0.1:
            entries.append(Written(draw.randrange(60), flags=Flags.DISCARD, sectors=3))
    record = encode(entries)
    log = decode(record)
    disk = bytearray(draw.randbytes(64 * 512))
    stable = bytearray(disk)
    replay = Replay(disk, record, log)
    all_epochs = epochs(log)
    at_epoch = 0
    for state in states(log):
        while at_epoch < state.epoch:
            for entry in all_epochs[at_epoch]:
                put(stable, record, entry.first_sector, entry.sectors, entry)
            at_epoch += 1
        expected = bytearray(stable)
        for place in state.done:
            entry = all_epochs[state.epoch][place]
            put(expected, record, entry.first_sector, entry.sectors, entry)
        if state.torn is not None:
            entry = all_epochs[state.epoch][state.torn]
            for sector in state.sectors:
                data = record[entry.data_at + sector * 512 :][:512]
                start = (entry.first_sector + sector) * 512
                expected[start : start + 512] = data
        assert replay.take_on(state) == expected
        if draw.random() < 0.3:
            replay.take_out()
            assert disk == stable


def put(disk: bytearray, record: bytes, first: int, sectors: int, entry: object) -> None:
    at = getattr(entry, "data_at", 0)
    discard = getattr(entry, "flags", 0) & Flags.DISCARD
    content = bytes(sectors * 512) if discard else record[at : at + sectors * 512]
    disk[first * 512 : (first + sectors) * 512] = content


def test_states_come_in_order() -> None:
    record = encode([Written(0, bytes(512)), FLUSH] * 3)
    replay = Replay(bytearray(4096), record, decode(record))
    replay.take_on(State(2, Kind.NONE, ()))
    with pytest.raises(ValueError, match="at epoch 2 already"):
        replay.take_on(State(1, Kind.NONE, ()))


def test_region_follows_each_change() -> None:
    draw = random.Random(3)
    disk = bytearray(draw.randbytes(40 * 512))
    expected = bytes(disk[512 * 5 : 512 * 20 + 100])
    region = Region(disk, 512 * 5, expected)
    assert region.complete
    for _ in range(400):
        first, size = draw.randrange(38), draw.randrange(1, 3)
        content = draw.randbytes(512 * size)
        if draw.random() < 0.5:
            # Back to what should be there, as far as it is known.
            whole = bytes(512 * 5) + expected + bytes(40 * 512)
            content = whole[first * 512 : (first + size) * 512]
        disk[first * 512 : (first + size) * 512] = content
        region.changed(first * 512, len(content))
        assert region.complete == (disk[512 * 5 : 512 * 20 + 100] == expected)
        again = Region(disk, 512 * 5, expected)
        assert region.wrong_sectors == again.wrong_sectors


@pytest.mark.parametrize("bug", Bug)
def test_planted_bugs_are_found(bug: Bug) -> None:
    record = commits.record(bug)
    log = decode(record, commits.DISK_BYTES)
    found = list(commits.failing(commits.empty_disk(), record, log, Effort(subsets=10, torn=10)))
    assert len(found) >= 50
    assert any(found) == (bug is not Bug.NONE)


@pytest.mark.real
@pytest.mark.parametrize("bus", [Bus.VIRTIO, Bus.IDE])
def test_real_guest_is_recorded(bus: Bus, small_guest: Guest, tmp_path: Path) -> None:
    """One guest does it right, and then wrong in each way, on disks of their own."""
    bugs = tuple(Bug)
    image = tmp_path / "disk.raw"
    image.write_bytes(commits.empty_disk())
    disks = tuple(Disk(image, bus=bus, record=True) for _ in bugs)
    hardware = Hardware(disks, memory_mib=96, kernel=small.kernel_of(small_guest))
    with Machine(hardware, name="commits") as machine:
        machine.start()
        for number, bug in enumerate(bugs):
            device = machine.device(number)
            machine.wait_until_succeeds(f"test -b {device}")
            machine.succeed(commits.script(device, bug))
        for number, bug in enumerate(bugs):
            directory = tmp_path / bug.name
            directory.mkdir()
            taken = recorder.take(machine, number, directory)
            with taken.opened() as (disk, record, log):
                assert disk[:] == commits.empty_disk()
                flushes = sum(bool(entry.flags & Flags.FLUSH) for entry in log.entries)
                assert flushes >= len(commits.LETTERS) - 1
                effort = Effort(subsets=20, torn=20)
                found = Counter(
                    state is not None for state in commits.failing(disk, record, log, effort)
                )
                assert sum(found.values()) > 60
                assert bool(found[True]) == (bug is not Bug.NONE), (bug, found)
    assert image.read_bytes() == commits.empty_disk()


@pytest.mark.real
def test_disk_that_is_not_recorded(small_guest: Guest, tmp_path: Path) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(bytes(1 << 20))
    kernel = small.kernel_of(small_guest)
    machine = Machine(Hardware((Disk(image),), kernel=kernel))
    with pytest.raises(MachineError, match="is not recorded"):
        recorder.take(machine, 0, tmp_path)
    machine.close()
