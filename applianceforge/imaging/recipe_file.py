"""The recipe's file: a TOML file beside the overlay directories that it names.

docs/images.md describes each key. An unknown key is an error that names the nearest known one, and
all problems are named at once.

Releases of one appliance differ in little. What they share is a base, a file that each of them
names: its tables are merged with the recipe's, lists go before the recipe's, and of anything else
the recipe's value counts.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from applianceforge.imaging import recipe_checks
from applianceforge.imaging.recipe import (
    ForeignTree,
    ImageRecipe,
    Mode,
    Packages,
    Requires,
    Units,
    User,
    Wheel,
    error_of,
)
from applianceforge.imaging.recipe_table import Problem, Table
from applianceforge.model.errors import RecipeError
from applianceforge.preflight.requirements import Last32Bit

SCHEMA = 1

_MIB = 1 << 20
_SMALLEST_SLOT_BYTES = 64 * _MIB
_SMALLEST_DATA_BYTES = 8 * _MIB
_LARGEST_BYTES = recipe_checks.LARGEST_BYTES
# GRUB's environment block of a slot has 1024 bytes for all of its variables.
_LONGEST_ARGUMENTS = 700
_LARGEST_ID = 65533
_HIGHEST_LEVEL = 4

_NAME = r"[a-z][a-z0-9-]{0,30}"
_VERSION = r"[0-9][0-9A-Za-z.+~-]{0,40}"
_SUITE = r"[a-z][a-z0-9-]*"
_PACKAGE = r"[a-z0-9][a-z0-9+.-]+"
_USER = r"[a-z_][a-z0-9_-]{0,30}"
_OWNER = rf"({_USER}|[0-9]+):({_USER}|[0-9]+)"
_ABSOLUTE = r"/[^\0\n:]*"
_GLOB = r"/[^\0\n]*"
_BASE = r"[A-Za-z0-9][A-Za-z0-9._/-]*\.toml"
_DIRECTORY = recipe_checks.DIRECTORY
_WHEEL = r"[a-z0-9]+(-[a-z0-9]+)*"
_WHEEL_VERSION = r"[0-9][0-9a-z.!+]{0,40}"
_SHA256 = r"[0-9a-f]{64}"
_DAY = r"20[0-9]{2}-[01][0-9]-[0-3][0-9]"
_UNIT = r"[A-Za-z0-9@:_.\\-]+\.(service|socket|timer|target|mount|path|device|swap|automount|slice)"
_MODE = r"[0-7]{3,4}"
_ARGUMENTS = r"[ -\[\]-~]+"
# Shown on terminals and to other hypervisors: without control characters, or marks that turn text.
_SHOWN = r"[^\0-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
_LINE = _SHOWN + "{1,200}"
_ADVICE = _SHOWN + "{1,1000}"


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
    problems += recipe_checks.contradictions(recipe)
    if directories is not None:
        problems += recipe_checks.missing_directories(recipe, tuple(directories))
    if problems:
        raise error_of(file, problems)
    return recipe


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
        appliance=table.text("appliance", _NAME, "small letters, digits and -, at most 31"),
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
        wheels=tuple(_wheel(one) for one in table.tables("wheels")),
        requires=_requires(table.table("requires", required=False)),
        last_32_bit=_last(table),
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


def _wheel(table: Table) -> Wheel:
    with table:
        return Wheel(
            table.text("name", _WHEEL, "its name, with small letters, digits and -"),
            table.text("version", _WHEEL_VERSION, "a version such as 7.0.1"),
            table.text("sha256", _SHA256, "the 64 digits that the package's page shows"),
        )


def _requires(table: Table) -> Requires:
    with table:
        return Requires(
            table.size("memory", _MIB, _LARGEST_BYTES, 0),
            table.size("data", _MIB, _LARGEST_BYTES, 0),
            table.text("minimum_version", _VERSION, "a version such as 2.4.1", ""),
            table.number("x86_64_level", 1, _HIGHEST_LEVEL, 1),
        )


def _last(table: Table) -> Last32Bit | None:
    with table.table("last_32_bit", required=False) as last:
        if last.empty:
            return None
        return Last32Bit(
            last.text("version", _VERSION, "a version such as 1.9.0"),
            last.text("supported_until", _DAY, "a day such as 2028-06-30", ""),
            last.text("advice", _ADVICE, "what the owner can do, one line", ""),
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
