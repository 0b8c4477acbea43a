"""The probe in 32-bit guests on emulated processors; `inv test.processors` takes them all."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import shown
from tests.vm import batch, processors
from tests.vm.cpio import Archive
from tests.vm.guest import Guest
from tests.vm.hardware import NARROW, WIDE
from tests.vm.processors import ESX, MODELS, SMOKE, Model


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Guest:
    if shutil.which(WIDE) is None:
        pytest.skip("needs qemu-system-x86")
    with shown(pytestconfig) as lines:
        return processors.build(
            tmp_path_factory.mktemp("guest"), lines, {"more": "echo more; exit 3"}
        )


@pytest.mark.real
@pytest.mark.parametrize("model", SMOKE, ids=lambda model: model.title)
def test_verdict_in_a_32_bit_guest(model: Model, built: Guest) -> None:
    problems, said, _ = processors.check(model, built)
    assert problems == []
    assert said["ask"]["evidence"]
    assert said["check"]["findings"] or model.verdict == "capable"


@pytest.mark.real
def test_guest_that_does_not_come_up_is_told_with_its_console(built: Guest) -> None:
    # The kernel of the guest needs CMOV, which a Pentium lacks, and halts.
    with pytest.raises(AssertionError, match="did not come to its end"):
        batch.run(built, "pentium", timeout_s=3)


def test_table_is_large_enough_and_of_every_kind() -> None:
    assert len({model.name for model in MODELS}) >= 12
    assert {model.verdict for model in MODELS} == {"capable", "incapable", "masked-by-hypervisor"}
    assert all((model.level is not None) == (model.verdict == "capable") for model in MODELS)
    assert {model.program for model in MODELS} == {WIDE, NARROW}


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "incapable"},
        {"hypervisor": "VMware"},
        {"contradictions": ["memfd says this, device says that"]},
        {"failures": {"device": "not there"}},
        {"long_mode_by": {}},
        {"bits": 64},
    ],
)
def test_a_wrong_answer_is_told(change: Mapping[str, Any]) -> None:
    right = {
        "bits": 32,
        "kernel": "i686",
        "failures": {},
        "long_mode_by": dict.fromkeys([*processors.ROUTES, "procinfo"], False),
        "lm_in_flags": False,
        "verdict": "masked-by-hypervisor",
        "long_mode": False,
        "level": None,
        "hypervisor": "VMware ESX 3.5",
        "environment": "vm:VMware ESX 3.5",
        "contradictions": [],
    }
    assert processors.wrong(ESX, right) == []
    assert len(processors.wrong(ESX, {**right, **change})) == 1


def test_firmware_table() -> None:
    table = processors.firmware(0xE791)
    assert table[0] == 0
    assert table[6:8] == b"\x91\xe7"
    assert table[table[1] :].endswith(b"\0\0")


def test_what_commands_say_is_told_apart() -> None:
    lines = ["<<< begin a", "one", "two", "<<< end a 0", "<<< begin b", "<<< end b 3"]
    assert batch.parse([*lines, "<<< begin c", "cut"]) == {
        "a": batch.Said("one\ntwo", 0),
        "b": batch.Said("", 3),
    }


def test_archive_is_what_cpio_reads(tmp_path: Path) -> None:
    cpio = shutil.which("cpio")
    if cpio is None:
        pytest.skip("needs cpio")
    archive = Archive()
    archive.add("a/b/odd", b"12345", 0o755)
    archive.link("a/link", "b/odd")
    archive.add_directory("empty")
    content = gzip.decompress(archive.encode())
    done = subprocess.run(
        [cpio, "--extract", "--quiet"], input=content, cwd=tmp_path, capture_output=True, check=True
    )
    assert done.stderr == b""
    assert (tmp_path / "a/link").read_bytes() == b"12345"
    assert (tmp_path / "a/b/odd").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "empty").is_dir()
