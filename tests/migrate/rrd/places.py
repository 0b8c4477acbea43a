"""Directories of RRDs that tests work on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.formats.rrd.build import I386, Ds, Machine, Rra, Spec, build

NOBODY = 65534
WHEN_NS = 1_600_000_000_123_456_789


def spec(number: int = 0) -> Spec:
    """Return one of many small RRDs; each number gives another."""
    return Spec(
        ds=(Ds(f"ds{number}"), Ds("out", "COUNTER")),
        rra=(Rra(rows=7), Rra("MAX", 5, 12, cur_row=number % 5)),
        values=tuple(range(number, number + 24)),
    )


def put(path: Path, number: int = 0, machine: Machine = I386, *, mode: int = 0o640) -> Path:
    """Write an RRD."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(build(spec(number), machine))
    path.chmod(mode)
    os.utime(path, ns=(WHEN_NS, WHEN_NS + number))
    return path


def tree(root: Path, count: int = 12) -> Path:
    """Write some RRDs in directories, with both kinds of links."""
    for number in range(count):
        put(root / f"host{number % 3}" / f"größe {number}.rrd", number)
    os.link(root / "host0/größe 0.rrd", root / "host1/again.rrd")
    root.joinpath("latest.rrd").symlink_to("host2/größe 2.rrd")
    root.joinpath("host2/absolute.rrd").symlink_to(root / "host0/größe 3.rrd")
    root.joinpath("alias").symlink_to("host1")
    root.joinpath("host0/notes.txt").write_text("not an RRD")
    root.joinpath("host1").chmod(0o750)
    os.utime(root / "host1", ns=(WHEN_NS, WHEN_NS))
    return root


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user who owns nothing; needs root."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
