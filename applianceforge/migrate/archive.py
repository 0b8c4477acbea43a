"""A portable archive on disk: digest its files, check them, pack and unpack it as tar."""

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from applianceforge.migrate import manifest
from applianceforge.migrate.manifest import ArchivedFile, Manifest
from applianceforge.model.errors import ArchiveError
from applianceforge.system import files
from applianceforge.system.effects import Effects
from applianceforge.system.progress import Counter

_BLOCK_BYTES = 1 << 20
_HINT = "take another copy of the archive, or export it again"


def digest_files(root: Path, counter: Counter) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of every file of an archive but its manifest.

    Raises:
        ArchiveError: Something in it is neither a file nor a directory.
        AccessDeniedError: A file may not be read.
    """
    found = {}
    for path in _files_below(root):
        name = path.relative_to(root).as_posix()
        if name == manifest.NAME:
            continue
        digest = hashlib.sha256()
        size = 0
        with files.named_errors(path, "read"), open(path, "rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
                size += len(block)
                counter.advance(add_bytes=len(block), item=name)
        found[name] = (size, digest.hexdigest())
    return found


def _files_below(root: Path) -> Iterator[Path]:
    pending = [root]
    while pending:
        directory = pending.pop()
        with files.named_errors(directory, "read"):
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                pending.append(Path(entry.path))
            elif entry.is_file(follow_symlinks=False):
                yield Path(entry.path)
            else:
                raise ArchiveError(f"{entry.path} is neither a file nor a directory", hint=_HINT)


def write_manifest(root: Path, contents: Manifest, effects: Effects) -> None:
    """Write the manifest, which makes the archive one."""
    files.write_file(root / manifest.NAME, manifest.encode(contents), effects)


def archived_files(found: dict[str, tuple[int, str]]) -> tuple[ArchivedFile, ...]:
    """Return what the manifest says of files."""
    return tuple(ArchivedFile(name, *found[name]) for name in sorted(found))


def read_manifest(root: Path) -> Manifest:
    """Read the manifest of an archive.

    Raises:
        ArchiveError: There is none, or it was changed.
        AccessDeniedError: It may not be read.
    """
    path = root / manifest.NAME
    if not path.is_file():
        raise ArchiveError(
            f"{root} is not a whole archive: it has no {manifest.NAME}",
            hint="an export that was interrupted leaves none; export it again",
        )
    with files.named_errors(path, "read"):
        return manifest.decode(path.read_bytes(), str(path))


def check(root: Path, contents: Manifest, counter: Counter, name: Path) -> None:
    """Check every file of an archive against its manifest.

    Args:
        root: Its directory, or what was unpacked of it.
        contents: Its manifest.
        counter: Told of the bytes that were read.
        name: What the message calls it.

    Raises:
        ArchiveError: Files were changed, cut short, are missing or do not belong to it; each is
            named in the evidence.
    """
    wrong = manifest.differences(contents.files, digest_files(root, counter))
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ArchiveError(
            f"the archive {name} is not whole: {wrong[0]}{more}", hint=_HINT, evidence=wrong
        )


def pack(root: Path, target: Path, effects: Effects) -> None:
    """Write an archive directory as one tar file, 0600; it has its name when it is whole."""
    staging = target.with_name(f".{target.name}.packing")
    with files.named_errors(staging, "write"):
        staging.unlink(missing_ok=True)
        handle = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(handle, "wb") as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
            # The manifest first: a reader of the stream knows at once what comes.
            names = sorted(
                (one.name for one in root.iterdir()), key=lambda n: (n != manifest.NAME, n)
            )
            for name in names:
                tar.add(root / name, arcname=name, filter=_anonymous)
    files.sync_tree(target.parent, effects)
    files.rename(staging, target, effects)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o700 if member.isdir() else 0o600
    return member


def unpack(source: Path, root: Path, counter: Counter) -> None:
    """Unpack a tar file into a new private directory.

    Only plain files and directories below it are accepted, whatever the tar file says.

    Raises:
        ArchiveError: It is no tar file, was cut short, or holds something else.
    """
    try:
        with files.named_errors(root, "write"), tarfile.open(source, mode="r|") as tar:
            root.mkdir(mode=0o700)
            for member in tar:
                try:
                    _unpack_member(tar, member, root, counter)
                except (FileExistsError, NotADirectoryError) as error:
                    raise ArchiveError(
                        f"the tar file holds {member.name!r} twice, as a file or a directory",
                        hint=_HINT,
                    ) from error
    except (tarfile.TarError, EOFError) as error:
        raise ArchiveError(f"{source} is not a whole tar file: {error}", hint=_HINT) from error


def _unpack_member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, root: Path, counter: Counter
) -> None:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or not (member.isfile() or member.isdir()):
        raise ArchiveError(
            f"the tar file holds {member.name!r}, which no archive of ours has", hint=_HINT
        )
    path = root / name
    if member.isdir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = tar.extractfile(member)
    assert source is not None
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(handle, "wb") as target:
        while block := source.read(_BLOCK_BYTES):
            target.write(block)
            counter.advance(add_bytes=len(block), item=member.name)


def is_tar(path: Path) -> bool:
    """Tell whether an archive is given as a file rather than as a directory.

    Raises:
        SettingsError: There is nothing of that name.
        AccessDeniedError: It may not be looked at.
    """
    with files.named_errors(path, "read"):
        return stat.S_ISREG(path.stat().st_mode)
