"""What runs in a small virtual machine: a 32-bit kernel, busybox, Python, and commands.

The first serial port is the kernel's console, the second takes what the commands say, each between
two lines of its own. Then the machine ends.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from applianceforge.imaging.roottree import Recipe
from applianceforge.migrate.tree import ProgramTree
from applianceforge.model.architecture import Architecture
from tests.vm.cpio import Archive

# Debian's 686 kernel, not 686-pae: it runs on a Pentium II, and on all that came after.
RECIPE = Recipe(
    "bookworm", Architecture.I386, ("busybox-static", "linux-image-686", "python3"), security=False
)
CHECKOUT = Path(__file__).parent.parent.parent
BEGIN, END = "<<< begin ", "<<< end "
_PYTHON = "/usr/bin/python3.11"
_INIT = f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm
mount -t tmpfs shm /dev/shm
mount -t tmpfs tmp /tmp
insmod /cpuid.ko
exec >/dev/ttyS1 2>&1 </dev/null
for script in /commands/*; do
    echo "{BEGIN}${{script##*/}}"
    sh "$script"
    echo "{END}${{script##*/}} $?"
done
reboot -f
"""
# Do what the commands will do; then compile all that was loaded for it, here where it is fast.
_COLLECT = """
import encodings.ascii, encodings.latin_1, encodings.utf_8, os, py_compile, sys
compiled, checkout, rehearsal = sys.argv[1:]
sys.path.insert(0, checkout)
output = os.dup(1)
os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
exec(rehearsal)
sys.stdout.flush()
os.dup2(output, 1)
unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
for number, module in enumerate(list(sys.modules.values())):
    file = getattr(module, "__file__", None)
    if file and file.endswith(".py"):
        py_compile.compile(
            file, f"{compiled}/{number}", file, doraise=True, invalidation_mode=unchecked
        )
        print(number, file, sep="\\t")
    elif file:
        print("", file, sep="\\t")
"""


@dataclass(frozen=True)
class Guest:
    """A kernel and its first root file system."""

    kernel: Path
    initramfs: Path


def build(
    tree: ProgramTree,
    directory: Path,
    rehearsal: str,
    commands: Mapping[str, str],
    files: Mapping[str, Path],
) -> Guest:
    """Put together what a machine runs.

    Args:
        tree: Made from `RECIPE`.
        directory: An empty one to work in, where the archive stays.
        rehearsal: Python that is run here first; the machine has the modules that it loads.
        commands: Shell scripts by their names, run in the order of their names.
        files: Put in the machine, by their path there without a leading slash.
    """
    archive = Archive()
    for path in ("proc", "sys", "dev", "tmp", "commands"):
        archive.add_directory(path)
    archive.add("init", _INIT.encode(), 0o755)
    archive.add("bin/busybox", tree.path("/bin/busybox").read_bytes(), 0o755)
    (module,) = tree.root.glob("lib/modules/*/kernel/arch/x86/kernel/cpuid.ko")
    archive.add("cpuid.ko", module.read_bytes())
    _add_python(archive, tree, directory, rehearsal)
    for name, script in commands.items():
        archive.add(f"commands/{name}", script.encode())
    for path, original in files.items():
        archive.add(path, original.read_bytes(), original.stat().st_mode & 0o777)
    initramfs = directory / "initramfs.gz"
    initramfs.write_bytes(archive.encode())
    (kernel,) = tree.root.glob("boot/vmlinuz-*-686")
    return Guest(kernel, initramfs)


def _add_python(archive: Archive, tree: ProgramTree, directory: Path, rehearsal: str) -> None:
    compiled = directory / "compiled"
    compiled.mkdir()
    words = ("-I", "-S", "-B", "-c", _COLLECT, str(compiled), str(CHECKOUT), rehearsal)
    command = tree.command(_PYTHON, *words).arguments
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    programs = [tree.path(_PYTHON)]
    library = f"usr/lib/{Path(_PYTHON).name}"
    for line in said.stdout.splitlines():
        number, _, name = line.partition("\t")
        file = Path(name)
        if not number:
            programs.append(file)
            archive.add(str(file.relative_to(tree.root)), file.read_bytes(), 0o755)
        elif file.is_relative_to(CHECKOUT / "applianceforge"):
            # Python reads compiled files without their source, under the plain name.
            path = file.relative_to(CHECKOUT).with_suffix(".pyc")
            archive.add(f"{library}/{path}", (compiled / number).read_bytes())
        else:
            path = file.relative_to(tree.root).with_suffix(".pyc")
            archive.add(str(path), (compiled / number).read_bytes())
    # Python looks for this one to find its library.
    archive.add(f"{library}/os.py", tree.path(f"{library}/os.py").read_bytes())
    archive.add(_PYTHON.lstrip("/"), tree.path(_PYTHON).read_bytes(), 0o755)
    archive.link("bin/python3", _PYTHON)
    _add_libraries(archive, tree, programs)


def _add_libraries(archive: Archive, tree: ProgramTree, programs: Sequence[Path]) -> None:
    """Add the loader, and the libraries that programs need, as the loader itself lists them."""
    prefix = tree.command(_PYTHON).arguments[:-1]
    archive.add("lib/ld-linux.so.2", Path(prefix[0]).read_bytes(), 0o755)
    for program in programs:
        listed = subprocess.run(
            [*prefix, "--list", str(program)], check=False, capture_output=True, text=True
        )
        if listed.returncode != 0:
            raise AssertionError(f"{program}: {listed.stdout}{listed.stderr}")
        for line in listed.stdout.splitlines():
            name, arrow, where = line.strip().partition(" => ")
            if arrow:
                path = Path(where.rpartition(" (")[0])
                archive.add(f"lib/{name}", path.read_bytes(), 0o755)
