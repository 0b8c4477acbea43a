"""Two builds of one image into one directory, at the same time."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.release import demo


def test_the_later_one_waits_and_finds_it_done(tmp_path: Path) -> None:
    demo.images("legacy")  # All but the writing of the files is in the cache then.
    with ThreadPoolExecutor(2) as pool:
        works = [pool.submit(demo.images, "legacy", directory=tmp_path) for _ in range(2)]
        one, other = (work.result()["legacy"] for work in works)
    # One of them wrote the files.
    assert sorted(len(image.made) for image in (one, other)) == [0, 1]
    assert other.raw == one.raw
    said = json.loads(one.manifest.read_text())["files"]
    for path in (one.raw, one.slot):
        with path.open("rb") as stream:
            assert hashlib.file_digest(stream, "sha256").hexdigest() == said[path.name]["sha256"]
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".new")]
