"""The long stories of virtual machines, one after the other, with a table at the end.

Each is a real appliance, or the real GRUB, brought into a situation that takes minutes. `inv
test.vm` runs them; what the default tests prove in seconds is not repeated here.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from applianceforge.model.architecture import Architecture
from tests.slots import agreement
from tests.vm import accelerator, boots, crossing, power_cuts, unattended, update_cuts
from tests.vm import story as whole
from tests.vm.power_cuts import Scene

Tell = Callable[[str], None]
_ENVIRONMENTS = 500


@dataclass(frozen=True)
class Story:
    """One story.

    Attributes:
        name: What the command line calls it.
        about: What must come out.
        tell: Tells it; returns what is wrong, or raises AssertionError.
    """

    name: str
    about: str
    tell: Callable[[Tell], list[str]]


@dataclass(frozen=True)
class Told:
    """How a story ended."""

    story: Story
    elapsed_s: float
    problems: tuple[str, ...]


def _crossing(scene: str) -> Callable[[Tell], list[str]]:
    def tell(_say: Tell) -> list[str]:
        # The prepared appliance is made once for all scenes of a run of the stories.
        crossing.run(scene, place=_prepared())
        return []

    return tell


_PLACES: list[tempfile.TemporaryDirectory[str]] = []


def _prepared() -> Path:
    if not _PLACES:
        _PLACES.append(tempfile.TemporaryDirectory(prefix="vm-crossing-"))
    return Path(_PLACES[0].name) / "prepared"


def _agreement(say: Tell) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="vm-agreement-") as name:
        return agreement.run(_ENVIRONMENTS, Path(name), say)


def _power_cuts(say: Tell) -> list[str]:
    built = crossing.images("legacy", "migration")
    scene = Scene(
        built["legacy"].raw,
        built["legacy"].slot,
        built["migration"].slot,
        new_architecture=Architecture.AMD64,
        ends_good=False,
    )
    return power_cuts.run(scene, tell=say)


def _update_cuts(say: Tell) -> list[str]:
    return update_cuts.run(tell=say)


STORIES = (
    Story("agreement", "GRUB and its model choose the same slot, on every machine", _agreement),
    *(
        Story(f"crossing-{name}", (scene.__doc__ or "").splitlines()[0], _crossing(name))
        for name, scene in crossing.SCENES.items()
    ),
    *(
        Story(f"boot-{name}", f"the appliance comes up, or starts again: {name}", case)
        for name, case in boots.CASES.items()
    ),
    Story("power-cuts", "a slot is installed and the power goes anywhere", _power_cuts),
    Story("update", "from 32 bits to the newest release by updates alone", whole.tell),
    Story("unattended", "a box that nobody touches, and a power cut in between", unattended.tell),
    Story("update-cuts", "a whole update, and the power goes anywhere", _update_cuts),
)


def run(
    names: Sequence[str] = (),
    *,
    stories: Sequence[Story] = STORIES,
    say: Tell = print,
) -> list[str]:
    """Tell stories; return what is wrong.

    Args:
        names: Of stories; by default all.
        stories: Which there are.
        say: Takes lines, as they come.

    Raises:
        ValueError: There is no such story; says which there are.
    """
    known = {story.name: story for story in stories}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"there is no story {unknown[0]}; known are {', '.join(known)}")
    choice = accelerator.choose()
    say(f"accelerator: {choice.name}; {choice.why}")
    told = []
    for story in [known[name] for name in names] or stories:
        say(f"--- {story.name}: {story.about}")
        began = time.monotonic()
        try:
            problems = story.tell(say)
        except AssertionError as error:
            problems = ["\n".join([str(error), *getattr(error, "__notes__", ())])]
        told.append(Told(story, time.monotonic() - began, tuple(problems)))
    say(table(told))
    return [f"{each.story.name}: {problem}" for each in told for problem in each.problems]


def table(told: Sequence[Told]) -> str:
    """Return the summary: each story, its seconds, right or wrong."""
    width = max(len(each.story.name) for each in told)
    lines = [
        f"{each.story.name:{width}}  {each.elapsed_s:7.1f} s "
        f" {'WRONG' if each.problems else 'right'}  {each.story.about}"
        for each in told
    ]
    wrong = sum(bool(each.problems) for each in told)
    return "\n".join([*lines, f"{len(told)} stories, {wrong} wrong"])
