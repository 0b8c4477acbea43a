"""The recipe of an image: what is in it, as a vendor writes it.

One TOML file beside the overlay directories that it names; docs/images.md describes each key. An
unknown key is an error that names the nearest known one, and all problems are named at once.

Releases of one appliance differ in little. What they share is a base, a file that each of them
names: its tables are merged with the recipe's, lists go before the recipe's, and of anything else
the recipe's value counts.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from applianceforge.imaging.recipe_table import Problem, Table
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import RecipeError

SCHEMA = 1

_MIB = 1 << 20
_SMALLEST_SLOT_BYTES = 64 * _MIB
_SMALLEST_DATA_BYTES = 8 * _MIB
# An MBR counts sectors in 32 bits; two slots and the data partition share that.
_LARGEST_BYTES = 512 << 30
# GRUB's environment block of a slot has 1024 bytes for all of its variables.
_LONGEST_ARGUMENTS = 700
_LARGEST_ID = 65533

_NAME = r"[a-z][a-z0-9-]{0,30}"
_VERSION = r"[0-9][0-9A-Za-z.+~-]{0,40}"
_SUITE = r"[a-z][a-z0-9-]*"
_PACKAGE = r"[a-z0-9][a-z0-9+.-]+"
_USER = r"[a-z_][a-z0-9_-]{0,30}"
_OWNER = rf"({_USER}|[0-9]+):({_USER}|[0-9]+)"
_ABSOLUTE = r"/[^\0\n:]*"
_GLOB = r"/[^\0\n]*"
_BASE = r"[A-Za-z0-9][A-Za-z0-9._/-]*\.toml"
_DIRECTORY = r"[A-Za-z0-9][A-Za-z0-9._/-]*"
_UNIT = r"[A-Za-z0-9@:_.\\-]+\.(service|socket|timer|target|mount|path|device|swap|automount|slice)"
_MODE = r"[0-7]{3,4}"
_ARGUMENTS = r"[ -\[\]-~]+"
# Shown on terminals and to other hypervisors: without control characters, or marks that turn text.
_LINE = r"[^\0-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]{1,200}"


@dataclass(frozen=True)
class Packages:
    """What is installed.

    Attributes:
        include: The packages; what they depend on comes along, what they recommend does not.
        kernel: The kernel's package.
        exclude_paths: Globs of dpkg's path-exclude: such files of a package are left out.
        include_paths: Globs of dpkg's path-include: exceptions to that.
        before: Directories whose files are there before any package is configured.
    """

    include: tuple[str, ...]
    kernel: str
    exclude_paths: tuple[str, ...] = ()
    include_paths: tuple[str, ...] = ()
    before: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """Return every package that is asked for."""
        return (*self.include, self.kernel)


@dataclass(frozen=True)
class User:
    """A user with fixed ids, made before packages are installed, as their scripts make others."""

    name: str
    uid: int
    gid: int
    group: str
    home: str
    shell: str


@dataclass(frozen=True)
class ForeignTree:
    """A tree of another architecture's packages, unpacked into a directory of the image.

    Attributes:
        path: Where it goes.
        architecture: Of its packages.
        suite: Debian's name of the release.
        packages: What is in it; what they depend on comes along.
        security: Whether Debian's security updates are taken too.
        locales: Compiled into it.
        exclude_paths: Globs of what is left out, as they lie in the tree.
    """

    path: str
    architecture: Architecture
    suite: str
    packages: tuple[str, ...]
    security: bool = True
    locales: tuple[str, ...] = ()
    exclude_paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mode:
    """The mode and owner of a path, where they are not those of an overlay's files."""

    path: str
    mode: int
    owner: str = "root:root"


@dataclass(frozen=True)
class Units:
    """What systemd starts."""

    enable: tuple[str, ...] = ()
    mask: tuple[str, ...] = ()
    default_target: str = ""


@dataclass(frozen=True)
class ImageRecipe:
    """One image.

    Attributes:
        name: What its files are called.
        title: What people call it.
        version: Of the release.
        architecture: Of everything but the foreign trees.
        suite: Debian's name of its release.
        packages: What is installed.
        security: Whether Debian's security updates are taken too.
        overlays: Directories whose files are copied in, in this order.
        modes: Exceptions to the modes and owners of those.
        users: Made before the packages are installed.
        trees: Foreign trees.
        slot_bytes: The size of each slot's partition.
        data_bytes: The size of the data partition in the image; it grows at first boot.
        data_overlay: A directory whose files the data partition begins with; may be "".
        boot_arguments: The kernel's arguments beside those that name the slot.
        initrd_paths: What of the overlays goes into the initial RAM disk, beside its settings.
        units: What systemd starts.
        remove: Globs of what is removed at the end.
    """

    name: str
    title: str
    version: str
    architecture: Architecture
    suite: str
    packages: Packages
    security: bool
    overlays: tuple[str, ...]
    modes: tuple[Mode, ...]
    users: tuple[User, ...]
    trees: tuple[ForeignTree, ...]
    slot_bytes: int
    data_bytes: int
    data_overlay: str
    boot_arguments: str
    initrd_paths: tuple[str, ...]
    units: Units
    remove: tuple[str, ...]


def base_of(text: str, file: str) -> str:
    """Return the path of a recipe's base, beside the recipe; "" if it has none.

    Raises:
        RecipeError: Not TOML, of another schema, or the base is no path.
    """
    base = _parsed(text, file).get("base", "")
    if base and not (isinstance(base, str) and re.fullmatch(_BASE, base) and ".." not in base):
        problem = Problem("base", f"is {base!r}", "write the path of a .toml file below the recipe")
        raise error_of(file, [problem])
    return str(base)


def _parsed(text: str, file: str) -> dict[str, Any]:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{file} is not TOML: {error}", hint="mend that line") from error
    except (ValueError, RecursionError) as error:
        # Numbers of thousands of digits, and brackets within brackets; Python has limits for both.
        raise RecipeError(f"{file} is no recipe: {error}", hint="mend it") from error
    if content.get("schema") != SCHEMA:
        raise RecipeError(
            f"{file}: schema is {content.get('schema', 'missing')!r}; this version knows {SCHEMA}",
            hint=f"write `schema = {SCHEMA}` as its first line, or build with the applianceforge"
            " that the recipe was written for",
        )
    return content


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(base)
    for key, value in own.items():
        before = base.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            found[key] = _merged(before, value)
        elif isinstance(before, list) and isinstance(value, list):
            found[key] = before + value
        else:
            found[key] = value
    return found


def decode(
    text: str, file: str, directories: Iterable[str] | None = None, base: str = ""
) -> ImageRecipe:
    """Decode a recipe.

    Args:
        text: Its content.
        file: Its name, for messages.
        directories: Those that lie beside it, to hold the named ones against; None is not known.
        base: The content of the base that it names (see `base_of`).

    Raises:
        RecipeError: Not TOML, an unknown or missing key, a value of the wrong kind, or values that
            contradict each other. All problems are named at once.
    """
    content = _parsed(text, file)
    name = content.pop("base", "")
    if base:
        shared = _parsed(base, f"{file}, its base {name}")
        if "base" in shared:
            problem = Problem("base", f"of {name} is set", "a base has no base of its own")
            raise error_of(file, [problem])
        content = _merged(shared, content)
    problems: list[Problem] = []
    recipe = _recipe(Table(content, "", problems))
    problems += _contradictions(recipe)
    if directories is not None:
        problems += _missing_directories(recipe, tuple(directories))
    if problems:
        raise error_of(file, problems)
    return recipe


def error_of(file: str, problems: Iterable[Problem]) -> RecipeError:
    """Return the one error for all problems of a recipe."""
    found = list(dict.fromkeys(problems))
    if len(found) == 1:
        (one,) = found
        return RecipeError(f"{file}: {one.key} {one.what}", hint=one.remedy)
    return RecipeError(
        f"{file} has {len(found)} mistakes",
        hint="mend them all, then build again",
        evidence=tuple(f"{one.key} {one.what}: {one.remedy}" for one in found),
    )


def _recipe(table: Table) -> ImageRecipe:
    table.number("schema", 1, SCHEMA, SCHEMA)
    suite = table.text("suite", _SUITE, "a Debian release such as bookworm")
    with table.table("packages") as packages:
        chosen = Packages(
            packages.texts("include", _PACKAGE, "names of packages", required=True),
            packages.text("kernel", _PACKAGE, "the name of a package such as linux-image-amd64"),
            packages.texts("exclude_paths", _GLOB, "absolute paths, with * where needed"),
            packages.texts("include_paths", _GLOB, "absolute paths, with * where needed"),
            packages.texts("before", _DIRECTORY, "directories beside the recipe"),
        )
    with table.table("sources", required=False) as sources:
        security = sources.flag("security", True)
    with table.table("slot") as slot:
        slot_bytes = slot.size("size", _SMALLEST_SLOT_BYTES, _LARGEST_BYTES)
    with table.table("data") as data:
        data_bytes = data.size("size", _SMALLEST_DATA_BYTES, _LARGEST_BYTES)
        data_overlay = data.text("overlay", _DIRECTORY, "a directory beside the recipe", "")
    with table.table("boot", required=False) as boot:
        arguments = boot.text("arguments", _ARGUMENTS, "one line of plain ASCII, no backslash", "")
        if len(arguments) > _LONGEST_ARGUMENTS:
            boot.problem(
                "arguments",
                f"has {len(arguments)} characters",
                f"shorten it to {_LONGEST_ARGUMENTS}: GRUB has one small block for it",
            )
        initrd_paths = boot.texts("initrd_paths", _ABSOLUTE, "absolute paths of overlays' files")
    with table.table("units", required=False) as units:
        started = Units(
            units.texts("enable", _UNIT, "names of units such as ssh.service"),
            units.texts("mask", _UNIT, "names of units such as apt-daily.timer"),
            units.text("default_target", _UNIT, "the name of a target", ""),
        )
    recipe = ImageRecipe(
        name=table.text("name", _NAME, "small letters, digits and -, at most 31"),
        title=table.text("title", _LINE, "one line"),
        version=table.text("version", _VERSION, "a version such as 2.4.1"),
        architecture=table.architecture("architecture"),
        suite=suite,
        packages=chosen,
        security=security,
        overlays=table.texts("overlays", _DIRECTORY, "directories beside the recipe"),
        modes=tuple(_mode(one) for one in table.tables("modes")),
        users=tuple(_user(one) for one in table.tables("users")),
        trees=tuple(_tree(one, suite, security) for one in table.tables("trees")),
        slot_bytes=slot_bytes,
        data_bytes=data_bytes,
        data_overlay=data_overlay,
        boot_arguments=arguments,
        initrd_paths=initrd_paths,
        units=started,
        remove=table.texts("remove", _GLOB, "absolute paths, with * where needed"),
    )
    table.end()
    return recipe


def _mode(table: Table) -> Mode:
    with table:
        return Mode(
            table.text("path", _ABSOLUTE, "an absolute path"),
            int(table.text("mode", _MODE, 'octal digits in quotes such as "0640"') or "0", 8),
            table.text("owner", _OWNER, "USER:GROUP", "root:root"),
        )


def _user(table: Table) -> User:
    with table:
        name = table.text("name", _USER, "small letters, digits, _ and -, at most 31")
        uid = table.number("uid", 1, _LARGEST_ID)
        return User(
            name,
            uid,
            table.number("gid", 1, _LARGEST_ID, uid),
            table.text("group", _USER, "small letters, digits, _ and -, at most 31", name),
            table.text("home", _ABSOLUTE, "an absolute path", "/nonexistent"),
            table.text("shell", _ABSOLUTE, "an absolute path", "/usr/sbin/nologin"),
        )


def _tree(table: Table, suite: str, security: bool) -> ForeignTree:
    with table:
        return ForeignTree(
            table.text("path", _ABSOLUTE, "an absolute path"),
            table.architecture("architecture"),
            table.text("suite", _SUITE, "a Debian release such as bookworm", suite),
            table.texts("packages", _PACKAGE, "names of packages", required=True),
            table.flag("security", security),
            table.texts("locales", r"[a-z]{2,3}_[A-Z]{2}\.[A-Za-z0-9-]+", "such as de_DE.UTF-8"),
            table.texts("exclude_paths", _GLOB, "absolute paths, with * where needed"),
        )


def _contradictions(recipe: ImageRecipe) -> list[Problem]:
    found = []
    groups = {(user.gid, user.group) for user in recipe.users}
    for key, values in (
        ("users.name", [user.name for user in recipe.users]),
        ("users.uid", [str(user.uid) for user in recipe.users]),
        ("users.gid", [str(gid) for gid, _ in groups]),
        ("users.group", [group for _, group in groups]),
        ("packages.include", list(recipe.packages.all)),
        ("overlays", list(recipe.overlays)),
        ("trees.path", [tree.path for tree in recipe.trees]),
        ("modes.path", [mode.path for mode in recipe.modes]),
        ("units.enable", list(recipe.units.enable)),
    ):
        for value, times in Counter(values).items():
            if times > 1:
                found.append(Problem(key, f"has {value} {times} times", "name each once"))
    found += [
        Problem("units.mask", f"has {unit}, which units.enable has too", "choose one of them")
        for unit in sorted(set(recipe.units.enable) & set(recipe.units.mask))
    ]
    for key, paths in (
        ("modes.path", [mode.path for mode in recipe.modes]),
        ("trees.path", [tree.path for tree in recipe.trees]),
        ("remove", list(recipe.remove)),
        ("overlays", list(recipe.overlays)),
        ("packages.before", list(recipe.packages.before)),
        ("data.overlay", [recipe.data_overlay]),
    ):
        found += [
            Problem(key, f"has {path}, which goes up by ..", "name the place itself")
            for path in paths
            if ".." in path.split("/")
        ]
    found += [
        Problem(key, "is the whole image", "name what is below it")
        for key, paths in (
            ("trees.path", [tree.path for tree in recipe.trees]),
            ("remove", list(recipe.remove)),
        )
        for path in paths
        if not path.strip("/*")
    ]
    if 2 * recipe.slot_bytes + recipe.data_bytes > 2 * _LARGEST_BYTES:
        found.append(Problem("slot.size", "and data.size make too large a disk", "shrink one"))
    return found


def _missing_directories(recipe: ImageRecipe, there: tuple[str, ...]) -> list[Problem]:
    named = (
        *(("overlays", name) for name in recipe.overlays),
        *(("packages.before", name) for name in recipe.packages.before),
        *([("data.overlay", recipe.data_overlay)] if recipe.data_overlay else []),
    )
    return [
        Problem.unknown(key, f"names the directory {name}, which is not there", name, there)
        for key, name in named
        if re.fullmatch(_DIRECTORY, name) and name not in there
    ]
