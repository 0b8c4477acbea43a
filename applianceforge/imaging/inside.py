"""Work on a tree as root of a namespace: `python -m applianceforge.imaging.inside PLAN`.

Started by `slot_image`, never by a person. An error is one JSON document on standard output, with
the status of its kind, so that the caller can raise it again as it was.
"""

import json
import os
import sys
from pathlib import Path

from applianceforge.imaging import filesystem, normalise, plan, tree_facts
from applianceforge.imaging.chroot import Chroot
from applianceforge.imaging.plan import Plan, Product
from applianceforge.imaging.recipe import error_of
from applianceforge.imaging.recipe_table import Problem
from applianceforge.model.errors import ForgeError, ProgramFailedError
from applianceforge.slots import layout
from applianceforge.system import files, programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command

_TAR = "/usr/bin/tar"
_UMASK = 0o022
_FILES_AT_ONCE = 500


def main(arguments: list[str]) -> int:
    """Carry out the plan in the file that is named."""
    try:
        carry_out(plan.decode(Path(arguments[0]).read_text()), Effects())
    except ForgeError as error:
        said = {"message": error.message, "hint": error.hint, "evidence": error.evidence}
        print(json.dumps({"kind": type(error).__name__, **said}))
        return error.exit_status
    return 0


def carry_out(todo: Plan, effects: Effects) -> None:
    """Make the tree, and of it what is asked for.

    Raises:
        RecipeError: A unit, path or owner that the recipe names is not there, or it does not fit.
        ProgramFailedError: A program in the tree failed.
    """
    root = todo.work / "root"
    root.mkdir()
    if todo.product is Product.DATA:
        for tar in todo.tars:
            _unpack(tar, root, effects)
        _set_modes(root, todo)
        _make_file_system(filesystem.Kind.DATA, root, todo, effects)
        return
    _unpack(todo.tars[0], root, effects)
    _refuse_twins(root, todo)
    there = {glob for glob in todo.remove if normalise.matches(root, glob)}
    normalise.forget_machine(root)
    for tar in todo.tars[1:]:
        _unpack(tar, root, effects)
    version = _kernel(root, todo.recipe)
    with Chroot(root, todo.epoch_s, effects) as chroot:
        if todo.product is Product.INITRD:
            chroot.run("/usr/sbin/mkinitramfs", "-o", f"/{layout.INITRD}", version)
            (root / layout.INITRD).rename(todo.target)
            return
        _start_units(chroot, todo)
        _compile(chroot, todo.compile, todo.epoch_s)
        facts = tree_facts.gather(root, version, lambda *words: chroot.run(*words).stdout)
    if todo.facts is not None:
        todo.facts.write_text(tree_facts.encode(facts))
    _set_modes(root, todo)
    _remove(root, todo, there)
    normalise.forget_work(root)
    normalise.settle_passwords(root, todo.epoch_s)
    _place_kernel(root, version, todo.initrd)
    _refuse_specials(root, todo.recipe)
    normalise.clamp_times(root, todo.epoch_s)
    _make_file_system(filesystem.Kind.SLOT, root, todo, effects)


def _make_file_system(kind: filesystem.Kind, root: Path, todo: Plan, effects: Effects) -> None:
    filesystem.make(
        kind, root, todo.target, todo.size_bytes, todo.uuid, todo.label, todo.epoch_s, effects
    )


def _unpack(tar: Path, root: Path, effects: Effects) -> None:
    words = (
        *(_TAR, "--extract", f"--file={tar}", f"--directory={root}"),
        *("--numeric-owner", "--same-owner", "--same-permissions", "--delay-directory-restore"),
        *("--xattrs", "--xattrs-include=*", "--keep-directory-symlink"),
        # No device can be made in a user namespace, and none is needed in an image.
        *("--exclude=./dev/*", "--warning=no-timestamp"),
    )
    programs.run(Command(words, umask=_UMASK), effects)


def _kernel(root: Path, recipe: str) -> str:
    found = sorted(path.name.removeprefix("vmlinuz-") for path in root.glob("boot/vmlinuz-*"))
    if len(found) != 1:
        what = "installs no kernel" if not found else f"and others install {', '.join(found)}"
        remedy = "name one package of one kernel, such as linux-image-amd64"
        raise error_of(recipe, [Problem("packages.kernel", what, remedy)])
    return found[0]


def _place_kernel(root: Path, version: str, initrd: Path | None) -> None:
    kernel = root / layout.KERNEL
    kernel.unlink(missing_ok=True)
    kernel.symlink_to(f"vmlinuz-{version}")
    if initrd is not None:
        target = root / layout.INITRD
        target.unlink(missing_ok=True)
        target.write_bytes(initrd.read_bytes())
        target.chmod(0o644)


def _start_units(chroot: Chroot, todo: Plan) -> None:
    problems = []
    for verb, key, units in (
        ("enable", "units.enable", todo.enable),
        ("mask", "units.mask", todo.mask),
        ("set-default", "units.default_target", (todo.default_target,)),
    ):
        named = tuple(filter(None, units))
        if not named or _systemctl(chroot, verb, named) is None:
            continue
        # One by one, to learn which of them it is.
        for unit in named:
            error = _systemctl(chroot, verb, (unit,))
            if error is not None:
                said = error.evidence[-1] if error.evidence else "systemctl fails"
                problems.append(
                    Problem(
                        key,
                        f"has {unit}, which systemctl cannot {verb}: {said}",
                        "name a unit of a package in packages.include or of an overlay",
                    )
                )
    if problems:
        raise error_of(todo.recipe, problems)


def _systemctl(chroot: Chroot, verb: str, units: tuple[str, ...]) -> ProgramFailedError | None:
    try:
        chroot.run("/usr/bin/systemctl", "--quiet", verb, *units)
    except ProgramFailedError as error:
        return error
    return None


def _compile(chroot: Chroot, directories: tuple[str, ...], epoch_s: int) -> None:
    """Compile modules once and for all: the image is read-only, and dates do not matter.

    Besides our own, those of packages that are newer than the image: their dates will be changed,
    and what Debian compiled would be held to be old at every start.
    """
    root = chroot.root
    if not (root / "usr/bin/python3").exists():
        return
    found = [name for name in directories if (root / name.lstrip("/")).exists()]
    found += [
        f"/{path.relative_to(root)}"
        for path in sorted(root.glob("usr/lib/python3*/**/*.py"))
        if path.lstat().st_mtime > epoch_s
    ]
    mode = ("-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash")
    for first in range(0, len(found), _FILES_AT_ONCE):
        names = found[first : first + _FILES_AT_ONCE]
        chroot.run("/usr/bin/python3", "-I", *mode, *names)


def _set_modes(root: Path, todo: Plan) -> None:
    users, groups = _ids(root / "etc/passwd"), _ids(root / "etc/group")
    problems = []
    for one in todo.modes:
        path = root / one.path.lstrip("/")
        user, _, group = one.owner.partition(":")
        uid, gid = users.get(user, user), groups.get(group, group)
        if not path.exists() or path.is_symlink():
            what, remedy = f"names {one.path}, which is not there", "let an overlay bring it"
            problems.append(Problem("modes.path", what, remedy))
        elif not (uid.isdecimal() and gid.isdecimal()):
            names = [*users, *groups]
            missing = group if uid.isdecimal() else user
            what = f"names {missing}, whom the image does not know"
            problems.append(Problem.unknown("modes.owner", what, missing, names))
        else:
            files.change_owner(path, int(uid), int(gid))
            path.chmod(one.mode)
    if problems:
        raise error_of(todo.recipe, problems)


def _ids(file: Path) -> dict[str, str]:
    lines = file.read_text().splitlines() if file.is_file() else []
    return {line.split(":")[0]: line.split(":")[2] for line in lines if line.count(":") >= 3}


def _remove(root: Path, todo: Plan, there: set[str]) -> None:
    problems = [
        Problem("remove", f"has {glob}, which matches nothing", "leave it out")
        for glob in normalise.remove(root, todo.remove)
        # A name is a promise; a pattern takes what it finds.
        if glob not in there and not set(glob) & set("*?[")
    ]
    if problems:
        raise error_of(todo.recipe, problems)


def _refuse_twins(root: Path, todo: Plan) -> None:
    both = [path for path in todo.wheels if os.path.lexists(root / path)]
    if both:
        what = f"bring {both[0]}, which a package of Debian has too"
        more = f" ({len(both)} such files)" if len(both) > 1 else ""
        remedy = "leave out the wheel or the package"
        raise error_of(todo.recipe, [Problem("wheels", what + more, remedy)])


def _refuse_specials(root: Path, recipe: str) -> None:
    found = normalise.sockets_and_pipes(root)
    if found:
        what = f"leaves sockets, pipes or devices: {', '.join(found[:5])}"
        raise error_of(recipe, [Problem("packages.include", what, "name them in remove")])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
