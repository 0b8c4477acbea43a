"""Write a system into the slot that does not run, and let it start.

The image is checked as a whole before anything is changed; then it is written as `sealing` says.
`activate` then is one write of one sector, and refuses a slot that this processor cannot run.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from applianceforge.cpuid import remedies
from applianceforge.cpuid.verdict import Verdict
from applianceforge.formats.bootenv import Environment
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import InhibitedError, SlotError
from applianceforge.slots import images, sealing
from applianceforge.slots.description import Description
from applianceforge.slots.disk import BootDisk
from applianceforge.slots.environment import Loader
from applianceforge.slots.images import Image
from applianceforge.slots.layout import Slot
from applianceforge.slots.sealing import (
    SEAL_AT,
    SEAL_BYTES,
    Opening,
    Partition,
    Unsealed,
    not_kept,
)
from applianceforge.system.effects import Effects
from applianceforge.system.files import named_errors
from applianceforge.system.in_place import InPlace
from applianceforge.system.progress import Counter, ProgressSink, StepEnded, StepStarted

_STEPS = 3


@dataclass(frozen=True)
class Written:
    """What was written into a slot.

    Attributes:
        slot: Which.
        description: What the slot says of itself.
        size_bytes: Of the image, decompressed.
        sha256: Of the image, decompressed.
    """

    slot: Slot
    description: Description
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class _Checked:
    description: Description
    size_bytes: int
    sha256: str
    seal: bytes


@dataclass(frozen=True)
class SlotWriter:
    """What writes the slot that does not run.

    Attributes:
        disk: The disk that the system runs from.
        loader: Its boot environment.
        effects: Told of each write.
        sink: Shown the progress.
        opening: Opens the partition; by default as `InPlace`.
    """

    disk: BootDisk
    loader: Loader
    effects: Effects
    sink: ProgressSink
    opening: Opening | None = None

    def write(self, path: Path, expected_sha256: str = "") -> Written:
        """Write an image into the slot that does not run; it starts only after `activate`.

        Args:
            path: The image, as it is or compressed by zstd.
            expected_sha256: Of the image, decompressed; "" if nobody knows it.

        Raises:
            SlotError: The image is none or does not fit, or the running slot is not good.
            ReadBackError: The disk does not keep what is written. The slot is not bootable then.
            BootEnvironmentError: The environment cannot be read or written.
            AccessDeniedError: Only root may.
        """
        slot = self.disk.booted.other
        device = self.disk.device(slot)
        image = Image(path)
        _refuse_itself(path, device)
        with self._open(device) as partition:
            checked = self._check(image, partition.size_bytes, expected_sha256.lower())
            unsealed = sealing.begin(self.loader, slot, partition, device, checked.seal)
            self._write(image, unsealed, checked)
            self._seal(unsealed, checked)
        return Written(slot, checked.description, checked.size_bytes, checked.sha256)

    def activate(self, verdict: Verdict) -> tuple[Environment, Description]:
        """Let the slot that does not run start next.

        Args:
            verdict: Whether this machine runs 64-bit programs.

        Raises:
            SlotError: The slot holds no whole system.
            InhibitedError: This machine cannot run it.
            BootEnvironmentError: The environment cannot be read or written.
        """
        slot = self.disk.booted.other
        described = describe(self.disk.device(slot), self.effects)
        if described.architecture is Architecture.AMD64 and verdict.long_mode is False:
            finding = remedies.finding(verdict)
            raise InhibitedError(
                f"slot {slot.value} holds a 64-bit system, and this machine does not run those",
                status=verdict.capability.exit_status,
                hint="see what can be done about it: applianceforge check",
                evidence=() if finding is None else finding.evidence,
            )
        return self.loader.activate(slot), described

    def _open(self, device: Path) -> AbstractContextManager[Partition]:
        if self.opening is not None:
            return self.opening(device)
        return InPlace(device, self.effects)

    def _check(self, image: Image, room_bytes: int, expected: str) -> _Checked:
        """Read the image once as a whole: nothing is changed for one that is damaged."""
        described, system_bytes = images.look_at_image(image, room_bytes)
        began = self._begin("slot.check", "Check the image", 1, 0)
        counter = Counter("slot.check", self.sink)
        digest = hashlib.sha256()
        size_bytes = 0
        seal = b""
        for chunk in image.chunks():
            seal = seal or chunk[SEAL_AT : SEAL_AT + SEAL_BYTES]
            digest.update(chunk)
            size_bytes += len(chunk)
            if size_bytes > room_bytes:
                # Not read to its end: a few bytes can be made to unpack to any number.
                raise images.too_large(str(image.path), size_bytes, room_bytes)
            counter.advance(add_bytes=len(chunk))
        if size_bytes < system_bytes:
            raise SlotError(
                f"{image.path} ends after {size_bytes} of {system_bytes} bytes",
                hint="it was cut short: fetch or build it again",
            )
        found = digest.hexdigest()
        if expected and found != expected:
            raise SlotError(
                f"{image.path} is not the image that was expected",
                hint="fetch it again; if it stays so, ask who made it for the right digest",
                evidence=(f"expected SHA-256 {expected}", f"found    SHA-256 {found}"),
            )
        self._end("slot.check", began, size_bytes, f"{described.name} {described.version}")
        return _Checked(described, size_bytes, found, seal)

    def _write(self, image: Image, unsealed: Unsealed, checked: _Checked) -> None:
        began = self._begin("slot.write", "Write the slot", 2, checked.size_bytes)
        counter = Counter("slot.write", self.sink)
        whole = hashlib.sha256()
        at = 0
        for chunk in image.chunks():
            whole.update(chunk)
            if at + len(chunk) > checked.size_bytes:
                break
            unsealed.write(at, chunk)
            at += len(chunk)
            counter.advance(add_bytes=len(chunk))
        if whole.hexdigest() != checked.sha256:
            raise SlotError(
                f"{image.path} was changed while it was written",
                hint="let nothing write to it, then write the slot again; it is not bootable now",
            )
        unsealed.flush()
        self._end("slot.write", began, at, unsealed.device.name)

    def _seal(self, unsealed: Unsealed, checked: _Checked) -> None:
        began = self._begin("slot.verify", "Read the slot again", 3, checked.size_bytes)
        counter = Counter("slot.verify", self.sink)

        def prove(chunks: Iterator[bytes]) -> None:
            found = hashlib.sha256()
            for chunk in chunks:
                found.update(chunk)
                counter.advance(add_bytes=len(chunk))
            if found.hexdigest() != checked.sha256:
                raise not_kept(unsealed.device)

        unsealed.seal(checked.size_bytes, prove)
        self._end("slot.verify", began, checked.size_bytes, f"SHA-256 {checked.sha256}")

    def _begin(self, key: str, title: str, number: int, total_bytes: int) -> float:
        self.sink.emit(StepStarted(key, title, number, _STEPS, total_bytes))
        return time.monotonic()

    def _end(self, key: str, began: float, done_bytes: int, detail: str) -> None:
        self.sink.emit(StepEnded(key, time.monotonic() - began, done_bytes, 0, detail))


def _refuse_itself(image: Path, device: Path) -> None:
    with named_errors(image, "read"):
        same = device.exists() and image.samefile(device)
    if same:
        raise SlotError(
            f"{image} is the slot itself, which would be emptied before it is written",
            hint="name the image, and not where it goes",
        )


def describe(device: Path, effects: Effects) -> Description:
    """Return what a slot's partition says of itself.

    Raises:
        SlotError: It holds no whole system.
        AccessDeniedError: It may not be read.
    """
    with InPlace(device, effects, writable=False) as partition:
        return images.look_at(partition.read, str(device))[0]
