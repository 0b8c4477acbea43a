"""Compile locales into a tree of packages."""

from pathlib import Path

from applianceforge.system import programs
from applianceforge.system.effects import Effects
from applianceforge.system.programs import Command

_LOCALEDEF = "/usr/bin/localedef"


def compile_into(locale: str, root: Path, effects: Effects) -> None:
    """Compile one locale, such as "de_DE.UTF-8", from the tree's own sources into the tree.

    The host's localedef will do: a compiled locale depends on the byte order alone.
    """
    language, _, charset = locale.partition(".")
    name = f"{language}.{charset.lower().replace('-', '')}"
    directory = root / "usr/lib/locale"
    command = Command(
        (
            _LOCALEDEF,
            "--no-archive",
            f"--inputfile={language}",
            f"--charmap={charset}",
            f"./{name}",
        ),
        environment=(("I18NPATH", str(root / "usr/share/i18n")),),
        directory=directory,
    )
    programs.run(command, effects, timeout_s=120)
    for path in (directory / name, *(directory / name).rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
