import stat
import threading
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
