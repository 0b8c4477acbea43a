"""Reading and writing the boot environment, in a directory that stands for the boot partition."""

from collections.abc import Callable
from pathlib import Path

import pytest

from applianceforge.formats import bootenv, envblock
from applianceforge.formats.bootenv import FACTORY, HIGHEST_NUMBER
from applianceforge.model.errors import BootEnvironmentError, ForgeError, SlotError
from applianceforge.slots.environment import Loader
from applianceforge.slots.layout import Slot
from applianceforge.system.effects import Effect, Effects
from tests.slots.power import new_ground

A, B = Slot


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return new_ground(tmp_path / "boot").directory


@pytest.fixture
def loader(directory: Path, effects: Effects) -> Loader:
    return Loader(directory, effects)


def test_a_new_disk(loader: Loader) -> None:
    assert loader.read() == FACTORY._replace(generation=2)
    assert loader.marker() is A
    assert bootenv.sane(loader.copies()) == ()


def test_changes_alternate_between_the_copies(loader: Loader) -> None:
    generations = []
    for change in (loader.activate, loader.mark_good):
        change(B)
        generations.append(tuple(bootenv.decode(copy).generation for copy in loader.copies()))
    loader.mark_bad(B, "services")
    generations.append(tuple(bootenv.decode(copy).generation for copy in loader.copies()))
    assert generations == [(3, 2), (3, 4), (5, 4)]
    assert bootenv.sane(loader.copies()) == ()
    assert loader.read().reason == "b-services"


def test_nothing_is_written_where_nothing_changes(directory: Path) -> None:
    seen: list[Effect] = []
    loader = Loader(directory, Effects(seen.append))
    before = loader.copies()
    loader.give_back(A)
    loader.mark_good(A)
    assert (loader.copies(), seen) == (before, [])
    loader.activate(B)
    assert [effect.subject for effect in seen] == [f"bytes of {directory / 'env1'}"]


def test_writing_a_slot_withdraws_it_everywhere(loader: Loader) -> None:
    loader.activate(B)
    loader.mark_good(B)
    assert loader.marker() is B
    loader.mark_good(A)
    loader.mark_good(B)
    loader.begin_writing(B)
    for copy in loader.copies():
        assert envblock.decode(copy)["b_boot"] == "0"
        assert envblock.decode(copy)["primary"] == "a"
    assert loader.marker() is A


def test_the_marker_follows(loader: Loader) -> None:
    loader.activate(B)
    assert loader.marker() is A
    loader.mark_good(B)
    assert loader.marker() is B
    loader.mark_bad(B, "by-hand")
    assert loader.marker() is A


def _cut(data: bytes) -> bytes:
    return data[:600]


def _emptied(data: bytes) -> bytes:
    return b""


def _torn(data: bytes) -> bytes:
    return data[:50] + bytes(50) + data[100:]


def _second_sector(data: bytes) -> bytes:
    return data[:512] + bytes(512)


def _longer(data: bytes) -> bytes:
    return data + b"more"


@pytest.mark.parametrize("damage", [_cut, _emptied, _torn, _second_sector, _longer])
@pytest.mark.parametrize("name", ["env1", "env2"])
def test_a_damaged_copy_is_mended_by_changes(
    damage: Callable[[bytes], bytes], name: str, loader: Loader, directory: Path
) -> None:
    path = directory / name
    path.write_bytes(damage(path.read_bytes()))
    assert bootenv.decode(path.read_bytes()).problems != ()
    loader.activate(B)
    loader.mark_good(B)
    assert loader.read().b == bootenv.KNOWN_GOOD
    # All is well again, but what is too long: it is never made shorter.
    for copy in loader.copies():
        assert bootenv.complete(copy) is not None
        assert copy[512:].strip(b"#") == b""
        assert envblock.changed(copy, {"a_tries": "1"}) is not None


@pytest.mark.parametrize("name", ["env1", "env2", "good"])
def test_a_missing_file_is_made_anew(name: str, loader: Loader, directory: Path) -> None:
    (directory / name).unlink()
    loader.activate(B)
    loader.mark_good(B)
    loader.mark_bad(B, "by-hand")
    assert bootenv.sane(loader.copies()) == ()
    assert loader.marker() is A


def test_both_copies_lost(loader: Loader, directory: Path) -> None:
    for name in ("env1", "env2"):
        (directory / name).write_bytes(bytes(1024))
    with pytest.raises(BootEnvironmentError, match="are lost") as caught:
        loader.read()
    assert "mark-good" in caught.value.hint
    assert caught.value.evidence[0].startswith("env1: it does not begin")
    for change in (loader.activate, loader.begin_writing):
        with pytest.raises(BootEnvironmentError):
            change(B)
    # The slot that runs is not the one that was good last.
    loader.give_back(B)
    assert (loader.read().primary, loader.read().b.tries, loader.read().a.boot) == ("b", 3, False)
    for name in ("env1", "env2"):
        (directory / name).write_bytes(b"")
    loader.give_back(A)
    assert loader.read().a == bootenv.KNOWN_GOOD


@pytest.mark.parametrize("filling", [b"", bytes(1024), b"#" * 1024])
def test_what_is_lost_is_written_anew(filling: bytes, loader: Loader, directory: Path) -> None:
    assert loader.recover(B) == loader.read()
    for name in ("env1", "env2"):
        (directory / name).write_bytes(filling)
    found = loader.recover(A)
    assert (found.primary, found.a, found.b) == ("a", bootenv.KNOWN_GOOD, bootenv.NOT_BOOTABLE)
    assert bootenv.sane(loader.copies()) == ()
    assert all(bootenv.complete(copy) is not None for copy in loader.copies())


def test_no_environment_at_all(tmp_path: Path, effects: Effects) -> None:
    with pytest.raises(BootEnvironmentError, match="there is no boot environment"):
        Loader(tmp_path, effects).read()
    with pytest.raises(ForgeError):
        Loader(tmp_path / "nowhere", effects).mark_good(A)


def test_the_last_generation(loader: Loader, directory: Path) -> None:
    last = FACTORY._replace(generation=HIGHEST_NUMBER - 1)
    (directory / "env1").write_bytes(bootenv.encode(last))
    assert loader.activate(B).generation == HIGHEST_NUMBER
    with pytest.raises(BootEnvironmentError, match="the most that GRUB can count"):
        loader.mark_good(B)


def test_a_word_that_cannot_be_a_reason(loader: Loader) -> None:
    loader.activate(B)
    for word in ("", "two words", "x" * 25, "Ünicode", "a\nb"):
        with pytest.raises(SlotError, match="cannot be a reason"):
            loader.mark_bad(B, word)


def test_what_stood_in_the_reason_does_not_stop_a_change(loader: Loader, directory: Path) -> None:
    odd = envblock.changed(bootenv.encode(FACTORY._replace(generation=9)), {"reason": "two words"})
    assert odd is not None
    (directory / "env1").write_bytes(odd)
    assert loader.read().reason == "two words"
    assert loader.give_back(A).reason == "two words"
    loader.activate(B)
    assert loader.mark_good(B).reason == "none"


def test_a_disk_that_does_not_keep_it(directory: Path, effects: Effects) -> None:
    class Nothing:
        def __enter__(self) -> "Nothing":
            return self

        def __exit__(self, *_ended: object) -> None:
            return None

        def write(self, at_bytes: int, content: bytes) -> None:
            return None

        def flush(self) -> None:
            return None

    loader = Loader(directory, effects, lambda path: Nothing())
    with pytest.raises(BootEnvironmentError, match="does not hold what was written"):
        loader.activate(B)


def test_grub_and_linux_take_turns(loader: Loader, directory: Path) -> None:
    ground = new_ground(directory.parent / "other")
    loader = Loader(ground.directory, Effects())
    ground.archs[B] = ground.archs[A]
    ground.whole.add(B)
    loader.activate(B)
    for left in (2, 1, 0):
        ground.start(long_mode=True)
        assert loader.read().b.tries == left
    loader.give_back(B)
    assert loader.read().b.tries == 3
    for _ in range(5):
        ground.start(long_mode=True)
    assert loader.read().reason == "b-no-tries"
