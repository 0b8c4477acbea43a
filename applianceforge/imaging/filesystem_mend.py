"""Take out of a new file system what mke2fs took from the build machine.

All inodes are read here, and changed by one run of debugfs, which keeps the checksums right.
"""

from collections.abc import Iterator
from pathlib import Path

from applianceforge.formats import ext
from applianceforge.model.errors import ProgramFailedError
from applianceforge.system import files, programs, sparse
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command

_DEBUGFS = "/usr/sbin/debugfs"


def read_superblock(image: Path, offset_bytes: int = 0) -> ext.Superblock:
    """Read the superblock of a file system that begins at a byte of a file or device.

    Raises:
        SlotError: There is no file system, or a damaged one.
    """
    data = sparse.read_at(image, offset_bytes + ext.SUPERBLOCK_AT, ext.SUPERBLOCK_BYTES)
    return ext.decode_superblock(data, str(image))


def inodes(image: Path) -> Iterator[tuple[int, ext.Inode, tuple[str, ...]]]:
    """Yield each inode in use: its number, its fields, and all its extended attributes' names."""
    superblock = read_superblock(image)
    block = superblock.block_bytes
    length = superblock.groups * superblock.descriptor_bytes
    groups = ext.decode_groups(sparse.read_at(image, superblock.groups_at, length), superblock)
    per_group, size = superblock.inodes_per_group, superblock.inode_bytes
    for number, group in enumerate(groups):
        if group.unused:
            continue
        bitmap = sparse.read_at(image, group.inode_bitmap_block * block, -(-per_group // 8))
        used = ext.used_inodes(bitmap, number * per_group + 1, per_group)
        if not used:
            continue
        table = sparse.read_at(image, group.inode_table_block * block, per_group * size)
        for inode_number in used:
            at = (inode_number - 1) % per_group * size
            inode = ext.decode_inode(table[at : at + size])
            if inode.mode:
                names = inode.attributes
                if inode.attribute_block:
                    stored = sparse.read_at(image, inode.attribute_block * block, block)
                    names += ext.decode_attribute_block(stored)
                yield inode_number, inode, names


def mend(
    image: Path,
    epoch_s: int,
    environment: tuple[tuple[str, str], ...],
    effects: Effects,
    *,
    owned_by_root: bool,
) -> None:
    """Give every inode the same times and order of attributes, whatever the build machine has.

    Args:
        image: The file system.
        epoch_s: The latest time of a file, and all other times.
        environment: Of debugfs.
        effects: Told of programs and writes.
        owned_by_root: Give every file to root, whoever owns it on the build machine.

    Raises:
        ProgramFailedError: debugfs did not do all of it.
    """
    attributes = {
        number: names
        for number, _, names in inodes(image)
        if len(names) > 1 and list(names) != sorted(names)
    }
    values = image.with_name(f"{image.name}.values")
    try:
        files.make_directory(values, effects)
        _debugfs(image, _attribute_commands(attributes, values), environment, effects, values)
        owners = _owner_commands(image) if owned_by_root else []
        _debugfs(image, owners, environment, effects, values)
        _debugfs(image, _time_commands(image, epoch_s), environment, effects, values)
    finally:
        files.remove_tree(values, effects)
    left = _time_commands(image, epoch_s)
    unsorted = [n for n, _, names in inodes(image) if list(names) != sorted(names)]
    if left or unsorted:
        raise ProgramFailedError(
            f"debugfs did not set every time and attribute of {image}",
            hint="look whether e2fsprogs is of another version than 1.47",
            evidence=(*left[:3], *(f"inode {number}" for number in unsorted[:3])),
        )


def _owner_commands(image: Path) -> list[str]:
    """Return commands that give root all that is there, whoever builds."""
    return [f"sif <{n}> {field} 0" for n, _, _ in inodes(image) for field in ("uid", "gid")]


def _time_commands(image: Path, epoch_s: int) -> list[str]:
    wanted = ext.Time(epoch_s, 0)
    commands = []
    for number, inode, _ in inodes(image):
        changes = [
            (name, wanted)
            for name, time in (
                ("ctime", inode.ctime),
                ("atime", inode.atime),
                ("crtime", inode.crtime),
            )
            if time != wanted
        ]
        if inode.mtime.seconds > epoch_s or inode.mtime.extra:
            seconds = min(inode.mtime.seconds, epoch_s)
            changes.append(("mtime", ext.Time(seconds, 0)))
        for name, time in changes:
            commands.append(f"sif <{number}> {name} @{time.seconds}")
            commands.append(f"sif <{number}> {name}_extra 0")
    return commands


def _attribute_commands(attributes: dict[int, tuple[str, ...]], values: Path) -> list[str]:
    """Return commands that store attributes anew in order, each by way of a file in `values`."""
    commands = []
    for number, names in attributes.items():
        ordered = [(_quoted(name), _quoted(str(values / str(n)))) for n, name in enumerate(names)]
        ordered.sort(key=lambda pair: pair[0])
        commands += [f"ea_get -f {file} <{number}> {name}" for name, file in ordered]
        commands += [f"ea_rm <{number}> {name}" for name, _ in ordered]
        commands += [f"ea_set -f {file} <{number}> {name}" for name, file in ordered]
    return commands


def _quoted(word: str) -> str:
    doubled = word.replace('"', '""')
    return f'"{doubled}"'


def _debugfs(
    image: Path,
    commands: list[str],
    environment: tuple[tuple[str, str], ...],
    effects: Effects,
    directory: Path,
) -> None:
    if not commands:
        return
    script = directory / "commands"
    content = "".join(f"{command}\n" for command in commands)
    files.write_file(script, content.encode(errors="surrogateescape"), effects)
    words = (_DEBUGFS, "-w", "-f", str(script), str(image))
    programs.run(Command(words, environment), effects, output=directory / "said")
