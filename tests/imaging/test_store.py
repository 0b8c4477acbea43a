import os
import stat
import threading
import time
from pathlib import Path

import pytest

from applianceforge.imaging import store
from applianceforge.system.effects import Effects


def test_an_entry_is_made_once(tmp_path: Path, effects: Effects) -> None:
    made = []

    def make(directory: Path) -> None:
        made.append(directory)
        (directory / "content").write_text("whole")

    workers = [
        threading.Thread(target=store.obtain, args=(tmp_path / "a", "entry", make, effects))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(made) == 1
    assert (tmp_path / "a/entry/content").read_text() == "whole"
    assert (tmp_path / "a").stat().st_mode & stat.S_IXOTH


def test_an_interrupted_entry_is_made_again(tmp_path: Path, effects: Effects) -> None:
    def interrupted(directory: Path) -> None:
        (directory / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.obtain(tmp_path, "entry", interrupted, effects)
    assert not (tmp_path / "entry").exists()
    entry = store.obtain(tmp_path, "entry", lambda d: (d / "whole").touch(), effects)
    assert [path.name for path in entry.iterdir()] == ["whole"]


def test_parts_are_told_apart() -> None:
    assert store.key_of(("ab", "c")) != store.key_of(("a", "bc"))


def test_what_was_not_used_for_long_goes(tmp_path: Path, effects: Effects) -> None:
    def entry(name: str, age_s: float) -> Path:
        path = tmp_path / name
        path.mkdir()
        os.utime(path, (time.time() - age_s, time.time() - age_s))
        return path

    old = [entry(f"slot-a-{number:016x}", 5000 + number) for number in range(5)]
    young = entry("slot-a-ffffffffffffffff", 10)
    other = entry("slot-a-b-ffffffffffffffff", 9000)
    store.prune(tmp_path, "slot-a", effects, keep=3, idle_s=3600)
    assert [path for path in old if path.exists()] == old[:2]
    assert young.exists()
    assert other.exists()
    store.used(old[1])
    store.prune(tmp_path, "slot-a", effects, keep=1, idle_s=3600)
    assert not old[0].exists()
    assert old[1].exists()
