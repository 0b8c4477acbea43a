"""Wheels of an image: fetched by pip, held against their digests, and put beside Debian's modules.

pip asks the package index that this machine uses anyway; what it brings is known by its digest
beforehand. There is no pip in the image.
"""

import hashlib
import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from applianceforge.imaging import store, wheel_file
from applianceforge.imaging.content import Entry, file_entry
from applianceforge.imaging.recipe import Wheel, error_of
from applianceforge.imaging.recipe_table import Problem
from applianceforge.imaging.roottree import NETWORK_VARIABLES
from applianceforge.imaging.stages import Stages
from applianceforge.model.errors import ProgramFailedError, ProgramMissingError
from applianceforge.system import programs
from applianceforge.system.programs import Command

MODULES = "usr/lib/python3/dist-packages"
# Goes up when the same wheel makes other files than before.
_SCHEMA = 1
_GOT = re.compile(r"\bGot\s+([0-9a-f]{64})")
_VERSIONS = re.compile(r"\(from versions: (.*)\)")
_NO_NETWORK = (
    "Retrying (",
    "connection broken",
    "Could not fetch URL",
    "NewConnectionError",
    "ReadTimeoutError",
)
_NO_PIP = "No module named pip"


class _WrongWheelError(Exception):
    """A wheel is not as the recipe says."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.what)
        self.problem = problem


def entries_of(wheels: Iterable[Wheel], file: str, stages: Stages) -> tuple[Entry, ...]:
    """Return the files of all wheels as they go into the image, fetched if the cache lacks them.

    Args:
        wheels: Which.
        file: The recipe's name, for messages.
        stages: Of this build.

    Raises:
        RecipeError: One does not exist, is another than the recipe says, or brings what no image
            takes. All problems are named at once.
        ProgramFailedError: One cannot be fetched.
        ProgramMissingError: There is no pip.
    """
    found: dict[str, Entry] = {}
    problems = []
    for wheel in wheels:
        try:
            data = _obtain(wheel, stages).read_bytes()
        except _WrongWheelError as error:
            problems.append(error.problem)
            continue
        content = wheel_file.decode(data, wheel.name, wheel.version)
        problems += [_refused(wheel, what) for what in content.problems]
        for member in content.members:
            place = f"{MODULES}/{member.path}"
            if place in found:
                problems.append(_refused(wheel, f"has {member.path}, as another wheel has"))
            found[place] = file_entry(place, member.content)
    if problems:
        raise error_of(file, problems)
    return tuple(found.values())


def _refused(wheel: Wheel, what: str) -> Problem:
    return Problem(
        "wheels.name",
        f"has {wheel.name}, whose {wheel.file} {what}",
        "take another version, or a package of Debian",
    )


def _obtain(wheel: Wheel, stages: Stages) -> Path:
    """Return a wheel's file."""

    def make(directory: Path) -> None:
        asked = directory / "asked"
        asked.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
        try:
            programs.run(_command(asked), stages.effects)
        except ProgramFailedError as error:
            raise _explained(wheel, error) from error
        asked.unlink()
        (fetched,) = directory.iterdir()
        # pip held it against the digest, and is a program from outside.
        if hashlib.sha256(fetched.read_bytes()).hexdigest() != wheel.sha256:
            raise ProgramFailedError(
                f"pip brought a {fetched.name} that is not what was asked for",
                hint="look at the package index that this machine uses",
            )
        if fetched.name != wheel.file:
            raise _WrongWheelError(_refused(wheel, f"is not there, only {fetched.name}"))

    key = store.key_of((str(_SCHEMA), wheel.name, wheel.version, wheel.sha256))
    title = f"fetch the wheel {wheel.name} {wheel.version}"
    return stages.obtain(f"wheel-{wheel.name}-{key}", title, make) / wheel.file


def _command(asked: Path) -> Command:
    of_pip = ((key, value) for key, value in os.environ.items() if key.startswith("PIP_"))
    network = ((name, os.environ[name]) for name in NETWORK_VARIABLES if name in os.environ)
    return Command(
        (
            *(sys.executable, "-P", "-m", "pip", "download"),
            *("--no-deps", "--require-hashes", f"--requirement={asked}"),
            # With these, pip takes no wheel but one for every machine.
            *("--only-binary=:all:", "--platform=any", "--implementation=py", "--abi=none"),
            *("--no-input", "--disable-pip-version-check", "--progress-bar=off"),
        ),
        (*sorted(of_pip), *network),
        directory=asked.parent,
        name="pip",
    )


def _explained(wheel: Wheel, error: ProgramFailedError) -> Exception:
    """Return the error that a person can act on for a wheel that pip did not bring."""
    said = "\n".join(error.evidence)
    evidence = tuple(line.strip() for line in error.evidence if line.startswith("ERROR"))
    if _NO_PIP in said:
        return ProgramMissingError(
            f"{sys.executable} has no pip, which fetches the wheels of an image",
            hint="make the checkout's environment again: ./forge setup",
        )
    got = _GOT.search(said)
    if got:
        return _WrongWheelError(
            Problem(
                "wheels.sha256",
                f"of {wheel.name} is {wheel.sha256}, but what is there has {got[1]}",
                "look it up on the package's own page; if that agrees, write it",
            )
        )
    versions = _VERSIONS.search(said)
    if versions and not any(mark in said for mark in _NO_NETWORK):
        known = [one for one in versions[1].split(", ") if one != "none"]
        what = f"of {wheel.name} is {wheel.version}, of which there is no py3-none-any wheel"
        if known:
            return _WrongWheelError(Problem.unknown("wheels.version", what, wheel.version, known))
        what = f"has {wheel.name}, of which there is no py3-none-any wheel at all"
        # Told not to try again, pip says no more where there is no network.
        remedy = "write it as its page does, and check the network"
        return _WrongWheelError(Problem("wheels.name", what, remedy))
    return ProgramFailedError(
        f"the wheel {wheel.name} {wheel.version} cannot be fetched",
        hint="check the network, and pip's settings on this machine (`pip config list`)",
        evidence=evidence or error.evidence,
    )
