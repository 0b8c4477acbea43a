"""Pack the check into one file that runs wherever there is a Python.

The file is a zip archive with a line for the shell in front (PEP 441), of exactly those modules
that `applianceforge.cli.standalone` reaches. The same sources give the same bytes.

Source: PEP 441; docs.python.org, zipapp.
"""

import ast
import io
import zipfile
from pathlib import Path

import applianceforge
from applianceforge.model.errors import ProgramFailedError
from applianceforge.system.effects import Effects
from applianceforge.system.files import write_file

ENTRY = "applianceforge.cli.standalone"
MOST_BYTES = 250_000
# What is read as data, beside the modules.
_DATA = (
    "applianceforge/preflight/check.sh",
    "applianceforge/preflight/report.schema.json",
    "applianceforge/preflight/scan.schema.json",
)
_PACKAGE = Path(applianceforge.__file__ or "").parent
# Any Python can read this, so that an old one can say what is wrong.
_MAIN = f'''"""Check whether this machine can go 64-bit."""
import sys

if sys.version_info < (3, 7):
    sys.stderr.write(
        "this needs Python 3.7 or later; run check.sh here, and give what it prints to"
        " check --from-dump elsewhere\\n"
    )
    sys.exit(41)

from {ENTRY} import main

sys.exit(main(sys.argv[1:]))
'''


def sources() -> dict[str, Path]:
    """Return the modules that the check reaches, by their path in the archive, in order."""
    root = _PACKAGE.parent
    found: dict[str, Path] = {}
    todo = [ENTRY]
    while todo:
        path = _path(todo.pop())
        if path is None or str(path.relative_to(root)) in found:
            continue
        found[str(path.relative_to(root))] = path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                todo += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                todo += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    for name in list(found):
        for parent in Path(name).parents[:-1]:
            found.setdefault(str(parent / "__init__.py"), root / parent / "__init__.py")
    return dict(sorted(found.items()))


def _path(module: str) -> Path | None:
    """Return the file of one of our modules; None for a package, another's, or a mere name."""
    path = (_PACKAGE.parent / module.replace(".", "/")).with_suffix(".py")
    return path if module.startswith("applianceforge.") and path.is_file() else None


def content() -> bytes:
    """Return the file's bytes.

    Raises:
        ProgramFailedError: It is larger than an administrator would copy around.
    """
    buffer = io.BytesIO()
    buffer.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        _add(archive, "__main__.py", _MAIN.encode())
        for name, path in sources().items():
            _add(archive, name, path.read_bytes())
        for name in _DATA:
            _add(archive, name, (_PACKAGE.parent / name).read_bytes())
    packed = buffer.getvalue()
    if len(packed) > MOST_BYTES:
        raise ProgramFailedError(
            f"the zipapp has {len(packed)} bytes, and {MOST_BYTES} is the limit",
            hint="see which module the check has come to import",
        )
    return packed


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    # The same date in every build, the earliest that a zip archive can hold.
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data)


def build(target: Path, effects: Effects) -> int:
    """Write the file, executable for everyone, and return its size in bytes."""
    packed = content()
    write_file(target, packed, effects, mode=0o755)
    return len(packed)
