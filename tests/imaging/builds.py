"""Small parts of images for tests: recipes, choices, and another user to build as."""

import os
import pwd
from pathlib import Path

from applianceforge.imaging import recipe_file
from applianceforge.imaging.package_set import Choice, Package, PackageSet
from applianceforge.imaging.recipe import ImageRecipe
from applianceforge.imaging.stages import Stages
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import ForgeError
from applianceforge.system.effects import Effects
from applianceforge.system.programs import User
from applianceforge.system.progress import NoProgress

EPOCH_S = 1_700_000_000
RECIPE = """
schema = 1
name = "small"
appliance = "box"
title = "A small one"
version = "1.2"
architecture = "amd64"
suite = "bookworm"
[packages]
include = ["udev"]
kernel = "linux-image-amd64"
[slot]
size = "256MiB"
[data]
size = "32MiB"
[[users]]
name = "web"
uid = 111
[[trees]]
path = "/usr/lib/i386"
architecture = "i386"
packages = ["hello"]
"""


def told_by(error: ForgeError) -> str:
    """Return all that a person reads of an error."""
    return "\n".join((error.message, *error.evidence, error.hint))


def small(more: str = "") -> ImageRecipe:
    """Return a small recipe, with more at its end."""
    return recipe_file.decode(RECIPE + more, "small.toml")


def package_set(architecture: Architecture, *names: str, security: bool = False) -> PackageSet:
    """Return a set of packages that have these names."""
    packages = tuple(
        Package(name, "1:2.3-4+deb12u1", architecture.value, "ab" * 32, 99) for name in names
    )
    return PackageSet("bookworm", architecture, security, EPOCH_S, packages)


def choice(*, security: bool = False) -> Choice:
    """Return what the small recipe may consist of."""
    own = package_set(Architecture.AMD64, "libc6", "linux-image-amd64", "udev", security=security)
    return Choice(own, (("/usr/lib/i386", package_set(Architecture.I386, "hello", "libc6")),))


def stages(cache: Path) -> Stages:
    """Return the stages of a build that nobody watches."""
    return Stages(cache, Effects(), NoProgress())


def plain_user() -> User | None:
    """Return a user who may have namespaces and is not root, if we could become that one."""
    if os.geteuid() != 0 or not Path("/etc/subuid").exists():
        return None
    for line in Path("/etc/subuid").read_text().splitlines():
        name, _, count = line.split(":")
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        if user.pw_uid and int(count) >= 65536:
            return User(user.pw_uid, user.pw_gid)
    return None
