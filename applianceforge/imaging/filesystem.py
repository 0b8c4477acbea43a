"""Make file systems as files, bit for bit the same from the same content.

mke2fs copies a directory into a file system without mounting it. It walks each directory in the
order of the names' bytes, makes holes of all blocks of zeros, and takes its own times from
E2FSPROGS_FAKE_TIME; what it still takes from the build machine is mended by one run of debugfs:

    ctime, atime, crtime    become the epoch
    mtime                   becomes the epoch where it is later
    extended attributes     are stored in the order of their names, not in that of the source

Nothing is taken from the host's mke2fs.conf. Read by GRUB 2.06: no feature that it refuses.

Source: e2fsprogs 1.47.0, misc/create_inode.c, misc/mke2fs.c; grub-core/fs/ext2.c.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from uuid import UUID, uuid5

from applianceforge.imaging import filesystem_mend, filesystem_size
from applianceforge.model.errors import (
    ForgeError,
    ProgramFailedError,
    RecipeError,
    SettingsError,
)
from applianceforge.system import files, programs, sparse
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command

_FIND = "/usr/bin/find"
_MKE2FS = "/usr/sbin/mke2fs"
_E2FSCK = "/usr/sbin/e2fsck"
_INODE_BYTES = 256
_PUBLIC = 0o644
# In a user namespace, we are nobody to the files of the user who started it.
_OPEN_TO_NAMESPACE = 0o666
_TOO_FULL = (
    "Could not allocate block",
    "Could not allocate inode",
    "journal size too big",
)
_LATEST_S = 2**31 - 1
_MOST_LABEL_BYTES = 16
_FIRST_SPARE = 0.005
_MOST_TRIES = 6
# An MBR reaches no farther.
_LARGEST_DISK_BYTES = 2 << 40


@dataclass(frozen=True)
class _Shape:
    features: tuple[str, ...]
    block_bytes: int
    journal_bytes: int = 0
    reserved_percent: int = 0
    bytes_per_inode: int = 16384
    grows: bool = False


_BASE = ("ext_attr", "filetype", "sparse_super", "large_file")
_EXT4 = (
    *_BASE,
    "has_journal",
    "dir_index",
    "extent",
    "flex_bg",
    "huge_file",
    "dir_nlink",
    "extra_isize",
    "metadata_csum",
)


class Kind(Enum):
    """What a file system is for."""

    BOOT = "boot"  # ext2 in blocks of 1 KiB: an environment block is one block of its own.
    SLOT = "slot"  # ext4, mounted read-only for ever.
    DATA = "data"  # ext4, grown while it is mounted.

    @property
    def block_bytes(self) -> int:
        """Return the size of a block."""
        return _SHAPES[self].block_bytes


# The smallest that there is, for a file system that is never written or is small.
_SMALL_JOURNAL_BYTES = 4 << 20
_SMALL_BYTES = 128 << 20

_SHAPES = {
    Kind.BOOT: _Shape(_BASE, 1024, bytes_per_inode=65536),
    Kind.SLOT: _Shape(_EXT4, 4096, journal_bytes=_SMALL_JOURNAL_BYTES),
    Kind.DATA: _Shape(
        (*_EXT4, "resize_inode"), 4096, journal_bytes=16 << 20, reserved_percent=1, grows=True
    ),
}


@dataclass(frozen=True)
class Made:
    """What was made.

    Attributes:
        image: The file.
        size_bytes: Of the file system, which is the file's.
        used_bytes: What of it is not free, the file system's own blocks included.
        inodes: How many are in use.
    """

    image: Path
    size_bytes: int
    used_bytes: int
    inodes: int


def make(
    kind: Kind,
    source: Path | None,
    image: Path,
    size_bytes: int | None,
    uuid: UUID,
    label: str,
    epoch_s: int,
    effects: Effects,
    *,
    prefix: tuple[str, ...] = (),
) -> Made:
    """Make a file system in a file, from the content of a directory.

    The file appears under its name when it is whole and was checked. Neither the order nor the
    file system of the directory matters, nor the times of its inodes beyond `epoch_s`.

    Args:
        kind: What it is for.
        source: The directory whose content is copied; None for an empty file system.
        image: The file; replaced if it is there.
        size_bytes: A multiple of the block; None makes it as small as the content needs, and about
            one in a hundred more.
        uuid: Of the file system.
        label: Of the file system, at most 16 bytes.
        epoch_s: The latest time of a file, and that of all other time stamps.
        effects: Told of programs and writes.
        prefix: Put before commands that read `source`, such as ("/usr/bin/mmdebstrap",
            "--unshare-helper") for a tree in that user namespace. `image` is open to all while
            such a command writes it.

    Raises:
        RecipeError: The content does not fit into `size_bytes`.
        SettingsError: `size_bytes`, `label` or `epoch_s` is none that an ext file system can have.
        DiskFullError: The file does not fit.
        ProgramMissingError: A program of e2fsprogs is not installed.
        ProgramFailedError: One of them failed.
    """
    shape = _SHAPES[kind]
    if size_bytes is not None and shape.journal_bytes and size_bytes < _SMALL_BYTES:
        shape = replace(shape, journal_bytes=_SMALL_JOURNAL_BYTES)
    _require(shape, size_bytes, label, epoch_s)
    image = image.absolute()
    source = None if source is None else source.absolute()
    staging = image.with_name(f".{image.name}.new")
    environment = (("E2FSPROGS_FAKE_TIME", str(epoch_s)), ("MKE2FS_CONFIG", "/dev/null"))
    inodes: int | None = None
    sizes: Iterator[int]
    if size_bytes is None:
        census = filesystem_size.Census(0, 0) if source is None else _count(source, prefix, effects)
        inodes = filesystem_size.inodes_for(census)
        sizes = _sizes_for(census, shape)
    else:
        sizes = iter((size_bytes,))
    try:
        for size in sizes:
            mode = _OPEN_TO_NAMESPACE if prefix else _PUBLIC
            sparse.create(staging, size, effects, mode=mode)
            words = _mke2fs(shape, source, staging, size, inodes, uuid, label)
            try:
                programs.run(Command((*prefix, *words), environment, name="mke2fs"), effects)
                break
            except ProgramFailedError as error:
                if not any(mark in line for mark in _TOO_FULL for line in error.evidence):
                    raise
                if size_bytes is not None:
                    raise _does_not_fit(source, size_bytes) from error
        else:
            raise ProgramFailedError(
                f"mke2fs finds no room for {source} in any size that was tried",
                hint="look for files with large holes, or name the size",
            )
        staging.chmod(_PUBLIC)
        owned = kind is Kind.BOOT
        filesystem_mend.mend(staging, epoch_s, environment, effects, owned_by_root=owned)
        check(staging, effects)
        superblock = filesystem_mend.read_superblock(staging)
        files.sync_file(staging, effects)
        files.rename(staging, image, effects)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise
    used = superblock.inodes - superblock.free_inodes
    return Made(image, superblock.size_bytes, superblock.used_bytes, used)


def check(image: Path, effects: Effects) -> None:
    """Let e2fsck look at all of a file system without changing it.

    Raises:
        ProgramFailedError: It finds anything to mend.
    """
    try:
        programs.run(Command((_E2FSCK, "-f", "-n", str(image))), effects)
    except ProgramFailedError as error:
        raise ProgramFailedError(
            f"the file system {image} has errors", hint=error.hint, evidence=error.evidence
        ) from error


def _require(shape: _Shape, size_bytes: int | None, label: str, epoch_s: int) -> None:
    if size_bytes is not None and (size_bytes <= 0 or size_bytes % shape.block_bytes):
        raise SettingsError(
            f"a file system of {size_bytes} bytes cannot be made",
            hint=f"name a multiple of {shape.block_bytes} bytes",
        )
    if len(label.encode()) > _MOST_LABEL_BYTES:
        raise SettingsError(
            f"the label {label!r} is longer than {_MOST_LABEL_BYTES} bytes",
            hint="choose a shorter one",
        )
    if not 0 <= epoch_s <= _LATEST_S:
        raise SettingsError(
            f"the time {epoch_s} s cannot be stored in every inode",
            hint=f"choose one between 0 and {_LATEST_S} s after 1970",
        )


def _does_not_fit(source: Path | None, size_bytes: int) -> ForgeError:
    return RecipeError(
        f"the content of {source or 'an empty file system'} does not fit into"
        f" {size_bytes / 2**20:.0f} MiB",
        hint="name a larger size in the recipe, or take packages or files out",
    )


def _count(source: Path, prefix: tuple[str, ...], effects: Effects) -> filesystem_size.Census:
    words = (_FIND, str(source), "-printf", filesystem_size.FIND_FORMAT)
    said = programs.run(Command((*prefix, *words), name="find"), effects)
    return filesystem_size.census_of(said.stdout, _SHAPES[Kind.SLOT].block_bytes)


def _sizes_for(census: filesystem_size.Census, shape: _Shape) -> Iterator[int]:
    spare = _FIRST_SPARE
    for _ in range(_MOST_TRIES):
        blocks = filesystem_size.blocks_for(
            census, _INODE_BYTES, shape.block_bytes, shape.journal_bytes, spare
        )
        yield blocks * shape.block_bytes
        spare = spare * 2 + 0.01


def _mke2fs(
    shape: _Shape,
    source: Path | None,
    image: Path,
    size_bytes: int,
    inodes: int | None,
    uuid: UUID,
    label: str,
) -> tuple[str, ...]:
    extended = [
        f"hash_seed={uuid5(uuid, 'hash seed of directories')}",
        "root_owner=0:0",
        "lazy_itable_init=1",
        "nodiscard",
    ]
    if shape.grows:
        extended.append(f"resize={_LARGEST_DISK_BYTES // shape.block_bytes}")
    return (
        _MKE2FS,
        *("-q", "-F"),
        *("-O", ",".join(("none", *shape.features))),
        *("-b", str(shape.block_bytes)),
        *("-I", str(_INODE_BYTES)),
        *(("-i", str(shape.bytes_per_inode)) if inodes is None else ("-N", str(inodes))),
        *("-m", str(shape.reserved_percent)),
        *(("-J", f"size={shape.journal_bytes >> 20}") if shape.journal_bytes else ()),
        *("-U", str(uuid)),
        *("-L", label),
        *("-E", ",".join(extended)),  # Only one: a second replaces the first.
        *(("-d", str(source)) if source is not None else ()),
        str(image),
        str(size_bytes // shape.block_bytes),
    )
