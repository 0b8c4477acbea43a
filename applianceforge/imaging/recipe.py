"""The recipe of an image, as values: what is in it. The file in which a vendor writes it:
recipe_file.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from applianceforge.imaging.recipe_table import Problem
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import RecipeError
from applianceforge.preflight.requirements import Last32Bit


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
class Wheel:
    """A pure Python package as its authors published it: what Debian does not have, or too old."""

    name: str
    version: str
    sha256: str

    @property
    def file(self) -> str:
        """Return the file's name; of other names, a wheel is not for every machine."""
        return f"{self.name.replace('-', '_')}-{self.version}-py3-none-any.whl"


@dataclass(frozen=True)
class Requires:
    """What the release requires of a machine; its RELEASE.json says so.

    Attributes:
        memory_bytes: Of the machine; 0 for no requirement, as in the next one.
        data_bytes: Free on the data partition, beside what is there.
        minimum_version: The oldest version that it may be installed over; "" for any.
        x86_64_level: 1 to 4.
    """

    memory_bytes: int = 0
    data_bytes: int = 0
    minimum_version: str = ""
    x86_64_level: int = 1


@dataclass(frozen=True)
class ImageRecipe:
    """One image.

    Attributes:
        name: What its files are called.
        appliance: What all releases of one product have in common: an update never crosses it.
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
        wheels: Pure Python packages that do not come from Debian.
        requires: What the release requires of a machine.
        last_32_bit: The last release for machines without long mode, if that is not this one.
    """

    name: str
    appliance: str
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
    wheels: tuple[Wheel, ...] = ()
    requires: Requires = Requires()
    last_32_bit: Last32Bit | None = None


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
