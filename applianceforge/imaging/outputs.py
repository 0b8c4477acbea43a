"""Turn a raw disk image into the files that hypervisors take, always the same bytes from the same.

qemu-img writes them; the few bytes that it takes from the clock or at random are set to what
follows from the release. Each file is read back and held against the raw image before it appears.

    qcow2  nothing to set
    vmdk   the content ID in its descriptor
    vhd    time, UUID and creator in its footer; fixed, as Azure takes no other
    ova    a tar archive of our own with the vmdk in it

Source: QEMU 7.2, block/vmdk.c and block/vpc.c; formats/vmdk.py and formats/vhd.py.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from uuid import UUID

from applianceforge.formats import vhd, vmdk
from applianceforge.imaging import disk, ova, ovf
from applianceforge.imaging.ovf import Machine
from applianceforge.model.errors import NotProvedError, ProgramFailedError, SettingsError
from applianceforge.system import files, programs, sparse
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command
from applianceforge.system.progress import NoProgress, ProgressSink, StepEnded, StepStarted

# Goes up when the same disk makes other files than before.
_SCHEMA = 1
_QEMU_IMG = "/usr/bin/qemu-img"
_PUBLIC = 0o644
# 2000-01-01T00:00:00Z, from where a VHD counts.
_VHD_EPOCH_S = 946_684_800
_VHD_CREATOR = b"qem2"  # Readers take the exact size for this one, not the geometry's.
_VHD_CREATOR_VERSION = 0x50003
_VHD_SYSTEM = b"Wi2k"


class Output(Enum):
    """A kind of file, by its suffix."""

    RAW = "raw"
    QCOW2 = "qcow2"
    VMDK = "vmdk"
    VHD = "vhd"
    OVA = "ova"

    def path(self, directory: Path, name: str) -> Path:
        """Return where the file for a release lies."""
        return directory / f"{name}.{self.value}"


def named(words: Iterable[str]) -> tuple[Output, ...]:
    """Return outputs by their names, each once.

    Raises:
        SettingsError: There is none of that name.
    """
    known = {output.value: output for output in Output}
    wanted = dict.fromkeys(words)
    unknown = sorted(word for word in wanted if word not in known)
    if unknown:
        raise SettingsError(
            f"there is no output {', '.join(unknown)}", hint=f"name some of {', '.join(known)}"
        )
    return tuple(known[word] for word in wanted)


@dataclass(frozen=True)
class Identity:
    """What the files say of themselves.

    Attributes:
        machine: Name and hardware.
        epoch_s: The time of everything.
    """

    machine: Machine
    epoch_s: int

    def number(self, what: str) -> int:
        """Return 32 bits for a purpose that follow from the release."""
        return self.uuid(what).int >> 96

    def uuid(self, what: str) -> UUID:
        """Return a UUID for a purpose that follows from the release."""
        return disk.uuid_of(f"{self.machine.name} {self.machine.version}", what)


def write_all(
    outputs: Iterable[Output],
    raw: Path,
    directory: Path,
    name: str,
    identity: Identity,
    effects: Effects,
    progress: ProgressSink | None = None,
) -> tuple[Path, ...]:
    """Write several outputs; what is there and was made of the same disk, stays.

    The disk of a vmdk is packed into the ova as it is.

    Args:
        outputs: Their kinds.
        raw: The disk image that they are made of.
        directory: Where they go.
        name: Their name without the suffix.
        identity: What they say of themselves.
        effects: Told of programs and writes.
        progress: Told of each output; the step is keyed by the file's name.

    Returns:
        The files, in the order of `Output`.

    Raises:
        ForgeError: See `write`; outputs before the one that failed are there and whole.
    """
    sink = progress or NoProgress()
    asked = set(outputs)
    wanted = [output for output in Output if output in asked]
    paths = [output.path(directory.absolute(), name) for output in wanted]
    for number, (output, path) in enumerate(zip(wanted, paths, strict=True), 1):
        stamp = path.with_name(f".{path.name}.made")
        if path == raw.absolute() or _is_there(stamp, raw, path, identity):
            continue
        began_s = time.monotonic()
        stamp.unlink(missing_ok=True)
        sink.emit(StepStarted(path.name, f"write {path.name}", number, len(wanted), 0))
        write(output, raw, path, identity, effects, vmdk_is_there=Output.VMDK in wanted)
        files.write_file(stamp, _marks(raw, path, identity), effects, mode=_PUBLIC)
        took_s = time.monotonic() - began_s
        sink.emit(StepEnded(path.name, took_s, files.used_bytes(path), 0, str(path)))
    return tuple(paths)


def _is_there(stamp: Path, raw: Path, path: Path, identity: Identity) -> bool:
    """Return whether a file was made of this disk, and neither has changed since."""
    try:
        return stamp.read_bytes() == _marks(raw, path, identity)
    except OSError:
        return False


def _marks(raw: Path, path: Path, identity: Identity) -> bytes:
    marks = [[one.st_size, one.st_mtime_ns, one.st_ino] for one in (raw.stat(), path.stat())]
    return json.dumps([_SCHEMA, repr(identity), *marks]).encode()


def write(
    output: Output,
    raw: Path,
    target: Path,
    identity: Identity,
    effects: Effects,
    *,
    vmdk_is_there: bool = False,
) -> None:
    """Write one output; it appears under its name when it is whole and was read back.

    Args:
        output: Its kind.
        raw: The disk image that it is made of.
        target: The file, replaced if it is there; some kinds keep its name inside.
        identity: What it says of itself.
        effects: Told of programs and writes.
        vmdk_is_there: The vmdk of the same disk lies beside `target`, and goes into the ova.

    Raises:
        ProgramMissingError: qemu-img is not installed.
        ProgramFailedError: It failed.
        DiskFullError: The file does not fit.
        NotProvedError: What was written does not hold the same bytes as the raw image.
    """
    raw, target = raw.absolute(), target.absolute()
    if target == raw:
        return
    with tempfile.TemporaryDirectory(prefix=".output-", dir=target.parent) as name:
        made = Path(name, target.name)
        if output is Output.OVA and vmdk_is_there:
            _pack(target.with_suffix(".vmdk"), raw, made, identity, effects)
        else:
            _WRITERS[output](raw, made, identity, effects)
        made.chmod(_PUBLIC)
        files.sync_file(made, effects)
        files.rename(made, target, effects)


def _raw(raw: Path, target: Path, _identity: Identity, effects: Effects) -> None:
    sparse.create(target, raw.stat().st_size, effects)
    sparse.copy_into(raw, target, 0, effects)
    _prove(raw, target, "raw", effects)


def _qcow2(raw: Path, target: Path, _identity: Identity, effects: Effects) -> None:
    _convert(raw, target, "qcow2", "compat=1.1,cluster_size=65536", effects)
    _check(target, "qcow2", effects)
    _prove(raw, target, "qcow2", effects)


def _vmdk(raw: Path, target: Path, identity: Identity, effects: Effects) -> None:
    options = f"subformat=streamOptimized,adapter_type={ovf.ADAPTER}"
    _convert(raw, target, "vmdk", options, effects)
    header = vmdk.decode_header(sparse.read_at(target, 0, vmdk.HEADER_BYTES), target.name)
    told = sparse.read_at(target, header.descriptor_at, header.descriptor_bytes)
    # All bits set means no disk at all.
    content_id = identity.number("vmdk content") & 0x7FFFFFFF
    told = vmdk.with_content_id(told, content_id)
    sparse.write_at(target, header.descriptor_at, told, effects)
    _check(target, "vmdk", effects)
    _prove(raw, target, "vmdk", effects)


def _vhd(raw: Path, target: Path, identity: Identity, effects: Effects) -> None:
    _convert(raw, target, "vpc", "subformat=fixed,force_size=on", effects)
    at = target.stat().st_size - vhd.FOOTER_BYTES
    footer = vhd.decode(sparse.read_at(target, at, vhd.FOOTER_BYTES), target.name)
    footer = replace(
        footer,
        made_s=max(0, identity.epoch_s - _VHD_EPOCH_S),
        creator=_VHD_CREATOR,
        creator_version=_VHD_CREATOR_VERSION,
        creator_system=_VHD_SYSTEM,
        uuid=identity.uuid("vhd"),
    )
    sparse.write_at(target, at, vhd.encode(footer), effects)
    _prove(raw, target, "vpc", effects)


def _ova(raw: Path, target: Path, identity: Identity, effects: Effects) -> None:
    packed = target.with_suffix(".vmdk")
    _vmdk(raw, packed, identity, effects)
    _pack(packed, raw, target, identity, effects)
    packed.unlink()


def _pack(packed: Path, raw: Path, target: Path, identity: Identity, effects: Effects) -> None:
    ova.write(identity.machine, packed, raw.stat().st_size, target, identity.epoch_s, effects)


_WRITERS: Mapping[Output, Callable[[Path, Path, Identity, Effects], None]] = {
    Output.RAW: _raw,
    Output.QCOW2: _qcow2,
    Output.VMDK: _vmdk,
    Output.VHD: _vhd,
    Output.OVA: _ova,
}


def _convert(raw: Path, target: Path, kind: str, options: str, effects: Effects) -> None:
    # Writes go in the order of the disk unless -W is given: the file depends on that order.
    words = (_QEMU_IMG, "convert", "-f", "raw", "-O", kind, "-o", options)
    programs.run(Command((*words, str(raw), str(target))), effects)


def _check(target: Path, kind: str, effects: Effects) -> None:
    """Let qemu-img look for errors in the file's own structures."""
    programs.run(Command((_QEMU_IMG, "check", "-q", "-f", kind, str(target))), effects)


def _prove(raw: Path, target: Path, kind: str, effects: Effects) -> None:
    """Read the disk in the file back, and compare its size and all of its bytes."""
    told = programs.run(
        Command((_QEMU_IMG, "info", "--output=json", "-f", kind, str(target))), effects
    )
    size_bytes = json.loads(told.stdout)["virtual-size"]
    if size_bytes != raw.stat().st_size:
        raise NotProvedError(
            f"the disk in {target.name} has {size_bytes} bytes, that in {raw.name}"
            f" {raw.stat().st_size}",
            hint="report it, with the version of qemu-img",
        )
    # Strict (-s) would mean that both have their holes at the same places.
    words = (_QEMU_IMG, "compare", "-q", "-f", "raw", "-F", kind, str(raw), str(target))
    try:
        programs.run(Command(words, name="qemu-img compare"), effects)
    except ProgramFailedError as error:
        raise NotProvedError(
            f"{target.name} does not hold the same bytes as {raw.name}",
            hint="write it again; if it stays so, the build machine's memory, disk or qemu-img is"
            " at fault",
            evidence=error.evidence,
        ) from error
