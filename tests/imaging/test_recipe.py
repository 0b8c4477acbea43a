import re
from pathlib import Path

import pytest

from applianceforge.imaging import recipe_file, recipes
from applianceforge.imaging.recipe import (
    ForeignTree,
    ImageRecipe,
    Mode,
    Requires,
    User,
    Wheel,
)
from applianceforge.model.architecture import Architecture
from applianceforge.model.errors import RecipeError
from applianceforge.preflight.requirements import Last32Bit
from tests.imaging.builds import told_by

SMALL = """
schema = 1
name = "small"
appliance = "box"
title = "A small one"
version = "1.2"
architecture = "i386"
suite = "bookworm"
[packages]
include = ["udev"]
kernel = "linux-image-686"
[slot]
size = "256MiB"
[data]
size = "1 GiB"
"""
WHEEL = '\n[[wheels]]\nname = "tuf"\nversion = "7.0.1"\nsha256 = "' + "ab" * 32 + '"\n'
USER = '\n[[users]]\nname = "web"\nuid = 111\n'


def decode(text: str, directories: tuple[str, ...] | None = None) -> ImageRecipe:
    return recipe_file.decode(text, "small.toml", directories)


def changed(old: str, new: str) -> str:
    assert SMALL.count(old) == 1, old
    return SMALL.replace(old, new)


def test_what_is_not_named_has_a_default() -> None:
    small = decode(SMALL)
    assert small.architecture is Architecture.I386
    assert small.packages.all == ("udev", "linux-image-686")
    assert (small.slot_bytes, small.data_bytes) == (256 << 20, 1 << 30)
    assert small.security
    assert (small.overlays, small.users, small.trees, small.remove) == ((), (), (), ())


@pytest.mark.parametrize(
    "line", [f"x = {'9' * 5000}", f"x = {'[' * 20_000}", "x = " + "{a = " * 20_000]
)
def test_what_python_itself_gives_up_is_an_error_of_the_recipe(line: str) -> None:
    with pytest.raises(RecipeError, match=r"small\.toml is no") as caught:
        decode(f"{SMALL}\n{line}\n")
    assert caught.value.hint


def test_every_key_is_read() -> None:
    text = (
        changed('suite = "bookworm"', 'suite = "bookworm"\noverlays = ["a"]\nremove = ["/x/*"]')
        + USER
        + '[[modes]]\npath = "/etc/x"\nmode = "0640"\nowner = "root:web"\n'
        + '[[trees]]\npath = "/usr/lib/t"\narchitecture = "amd64"\npackages = ["rrdtool"]\n'
        + 'locales = ["de_DE.UTF-8"]\nexclude_paths = ["/usr/lib/*/libLLVM*"]\nsecurity = true\n'
        + "[sources]\nsecurity = false\n"
        + '[boot]\narguments = "quiet"\ninitrd_paths = ["/usr/lib/x"]\n'
        + '[units]\nenable = ["a.service"]\nmask = ["b@.timer"]\n'
        + 'default_target = "multi-user.target"\n'
    )
    full = decode(text + WHEEL, ("a",))
    assert full.wheels == (Wheel("tuf", "7.0.1", "ab" * 32),)
    assert full.wheels[0].file == "tuf-7.0.1-py3-none-any.whl"
    assert full.users == (User("web", 111, 111, "web", "/nonexistent", "/usr/sbin/nologin"),)
    assert full.modes == (Mode("/etc/x", 0o640, "root:web"),)
    assert full.trees == (
        ForeignTree(
            "/usr/lib/t",
            Architecture.AMD64,
            "bookworm",
            ("rrdtool",),
            True,
            ("de_DE.UTF-8",),
            ("/usr/lib/*/libLLVM*",),
        ),
    )
    assert (full.overlays, full.remove, full.security) == (("a",), ("/x/*",), False)
    assert (full.boot_arguments, full.initrd_paths) == ("quiet", ("/usr/lib/x",))
    assert full.units.enable == ("a.service",)
    assert full.units.mask == ("b@.timer",)
    assert full.units.default_target == "multi-user.target"


@pytest.mark.parametrize(
    ("text", "says", "remedy"),
    [
        (changed("kernel =", "kernal ="), "packages.kernal is no key", "did you mean kernel?"),
        (changed("title =", "titel ="), "title is missing", "write title, one line"),
        (changed('"box"', '"Box 1"'), "appliance is 'Box 1'", "small letters"),
        (changed('appliance = "box"', ""), "appliance is missing", "write appliance"),
        (
            SMALL + '[requires]\nmemory = "1"\n',
            "requires.memory is '1'",
            'such as "768MiB"',
        ),
        (
            SMALL + "[requires]\nx86_64_level = 2\n",
            "requires.x86_64_level is 2, and architecture is i386",
            "leave it out",
        ),
        (
            SMALL + "[requires]\nx86_64_level = 5\n",
            "requires.x86_64_level is 5",
            "a number from 1 to 4",
        ),
        (
            SMALL + '[requires]\nminimum = "1"\n',
            "requires.minimum is no key",
            "did you mean minimum_version?",
        ),
        (
            SMALL + '[last_32_bit]\nversion = "1.0"\n',
            "last_32_bit is set",
            "leave it out",
        ),
        (
            changed('"i386"', '"amd64"') + '[last_32_bit]\nsupported_until = "2028-06-30"\n',
            "last_32_bit.version is missing",
            "write last_32_bit.version",
        ),
        (
            changed('"i386"', '"amd64"')
            + '[last_32_bit]\nversion = "1"\nsupported_until = "soon"\n',
            "last_32_bit.supported_until is 'soon'",
            "a day such as 2028-06-30",
        ),
        (SMALL + WHEEL + WHEEL, "wheels.name has tuf 2 times", "name each once"),
        (SMALL + WHEEL.replace("tuf", "TUF"), "wheels[1].name is 'TUF'", "small letters"),
        (SMALL + WHEEL.replace("7.0.1", ">=7"), "wheels[1].version is '>=7'", "such as 7.0.1"),
        (SMALL + WHEEL.replace("ab", "b", 1), "wheels[1].sha256 is 'bab", "64 digits"),
        (SMALL + WHEEL.replace("sha256", "sha"), "wheels[1].sha256 is missing", "64 digits"),
        (changed("A small one", r"\u001b[31mred"), r"title is '\x1b[31mred'", "write one line"),
        (changed("A small one", r"a\u202eb"), "title is 'a\\u202eb'", "write one line"),
        (changed('"256MiB"', '"256MB"'), "slot.size is '256MB'", "in whole MiB or GiB"),
        (changed('"256MiB"', '"1MiB"'), "slot.size is '1MiB'", "from 64MiB"),
        (changed('"256MiB"', "256"), "slot.size is 256", "from 64MiB"),
        (changed('"1 GiB"', '"9999GiB"'), "data.size is '9999GiB'", "to 512GiB"),
        (changed('"i386"', '"i486"'), "architecture is 'i486'", "i386 or amd64"),
        (changed('"1.2"', '"one"'), "version is 'one'", "such as 2.4.1"),
        (changed('["udev"]', "[]"), "packages.include is []", "names of packages"),
        (changed('["udev"]', '["Udev!"]'), "packages.include has 'Udev!'", "in quotes"),
        (changed('["udev"]', '["udev", "udev"]'), "has udev 2 times", "name each once"),
        (changed('include = ["udev"]', ""), "packages.include is missing", "names of packages"),
        (SMALL + USER + USER, "users.name has web 2 times", "name each once"),
        (
            SMALL + USER + USER.replace('"web"', '"mail"'),
            "users.uid has 111 2 times",
            "name each once",
        ),
        (
            SMALL + USER + USER.replace("111", "112") + 'group = "g"\n',
            "users.name has web 2 times",
            "name each once",
        ),
        (SMALL + USER.replace("111", "0"), "users[1].uid is 0", "from 1 to 65533"),
        (SMALL + USER.replace("111", "true"), "users[1].uid is True", "from 1 to 65533"),
        (SMALL + USER.replace("uid", "uuid"), "users[1].uuid is no key", "did you mean uid?"),
        (SMALL + '[users]\nname = "x"\n', "users is no array", "[[users]]"),
        (SMALL + 'units = "x"\n', "data.units is no key", "known: overlay, size"),
        (
            SMALL + '[units]\nenable = ["a.service"]\nmask = ["a.service"]\n',
            "units.mask has a.service, which units.enable has too",
            "choose one",
        ),
        (SMALL + '[units]\nenable = ["ssh"]\n', "units.enable has 'ssh'", "such as ssh.service"),
        (
            SMALL + f'[boot]\narguments = "{"x" * 701}"\n',
            "boot.arguments has 701 characters",
            "shorten it to 700",
        ),
        (
            SMALL + '[boot]\narguments = "a=ä"\n',
            "boot.arguments is 'a=ä'",
            "plain ASCII",
        ),
        (
            SMALL + '[[modes]]\npath = "/a/../b"\nmode = "0640"\n',
            "has /a/../b, which goes up",
            "name the place itself",
        ),
        (SMALL + '[[modes]]\npath = "/a"\nmode = 416\n', "modes[1].mode is 416", '"0640"'),
        (
            SMALL + '[[modes]]\npath = "/a"\nmode = "0640"\nowner = "root"\n',
            "modes[1].owner is 'root'",
            "USER:GROUP",
        ),
        (changed("suite =", 'remove = ["/*"]\nsuite ='), "remove is the whole image", "below it"),
        (
            SMALL + '[[trees]]\npath = "/t"\narchitecture = "i386"\npackages = []\n',
            "trees[1].packages is []",
            "a list of names of packages",
        ),
        (SMALL + "[sources]\nsecurity = 1\n", "sources.security is 1", "true or false"),
        (
            SMALL.replace("[packages]", 'overlays = ["/etc"]\n[packages]'),
            "overlays has '/etc'",
            "beside the recipe",
        ),
    ],
)
def test_a_mistake_is_named_with_its_remedy(text: str, says: str, remedy: str) -> None:
    with pytest.raises(RecipeError) as caught:
        decode(text)
    assert caught.value.message.startswith("small.toml")
    assert re.search(rf"{re.escape(says)}.*(: |\n).*{re.escape(remedy)}", told_by(caught.value))


def test_all_mistakes_are_named_at_once() -> None:
    text = changed('"256MiB"', '"x"').replace('"1.2"', '"x"').replace("kernel", "kernal")
    with pytest.raises(RecipeError) as caught:
        decode(text)
    for key in ("slot.size", "version", "packages.kernal", "packages.kernel is missing"):
        assert any(line.startswith(key) for line in caught.value.evidence)
    assert all(": " in line for line in caught.value.evidence)
    assert caught.value.message == "small.toml has 4 mistakes"


def test_a_directory_that_is_not_there() -> None:
    text = changed("suite =", 'overlays = ["overlay-gatway"]\nsuite =')
    with pytest.raises(RecipeError) as caught:
        decode(text, ("overlay", "overlay-gateway"))
    assert "overlays names the directory overlay-gatway" in caught.value.message
    assert "did you mean overlay-gateway?" in caught.value.hint


@pytest.mark.parametrize("text", ["a = ", "schema = 2\n", "", "schema = '1'\n"])
def test_what_is_no_recipe_at_all(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        decode(text)
    assert "small.toml" in caught.value.message
    assert caught.value.hint


def test_the_recipes_that_come_along() -> None:
    found = [recipes.read(file) for file in sorted(recipes.RECIPES.glob("*.toml"))]
    assert {"legacy", "migration", "current"} <= {one.name for one in found}
    assert len({one.users for one in found}) == 1, "ids must agree in all releases"


def test_a_recipe_by_a_name_that_is_almost_right() -> None:
    assert recipes.find("legacy").name == "legacy.toml"
    with pytest.raises(RecipeError) as caught:
        recipes.find("legasy")
    assert "did you mean legacy?" in caught.value.hint


def test_a_recipe_is_named_as_its_file(tmp_path: Path) -> None:
    file = tmp_path / "other.toml"
    file.write_text(SMALL)
    with pytest.raises(RecipeError, match=r"other\.toml: name is 'small'"):
        recipes.read(file)


def test_the_recipe_in_the_documentation_is_one() -> None:
    text = (recipes.RECIPES.parent / "docs/images.md").read_text()
    (shown,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert recipe_file.decode(shown, "docs").name == "small"
    keys = "\n".join(line.split("|")[1] for line in text.splitlines() if line.startswith("| `"))
    for known in ("exclude_paths", "initrd_paths", "default_target", "[[modes]]", "data.overlay"):
        assert known in keys


BASE = """
schema = 1
suite = "bookworm"
overlays = ["overlay"]

[packages]
include = ["udev"]
kernel = "linux-image-686"

[slot]
size = "1GiB"

[data]
size = "64MiB"
"""
OWN = """
schema = 1
base = "shared/base.toml"
name = "mine"
appliance = "box"
title = "Mine"
version = "2.0"
architecture = "amd64"
overlays = ["overlay-mine"]

[packages]
include = ["kmod"]
kernel = "linux-image-amd64"
"""


def test_what_a_release_requires() -> None:
    text = changed('"i386"', '"amd64"') + (
        '[requires]\nmemory = "512MiB"\ndata = "1GiB"\nminimum_version = "1.1"\n'
        'x86_64_level = 2\n[last_32_bit]\nversion = "1.1"\nsupported_until = "2028-06-30"\n'
        'advice = "Ask us."\n'
    )
    small = decode(text)
    assert small.appliance == "box"
    assert small.requires == Requires(512 << 20, 1 << 30, "1.1", 2)
    assert small.last_32_bit == Last32Bit("1.1", "2028-06-30", "Ask us.")
    assert decode(SMALL).requires == Requires()
    assert decode(SMALL).last_32_bit is None


def test_a_base_is_merged_with_the_recipe() -> None:
    found = recipe_file.decode(OWN, "mine.toml", ["overlay", "overlay-mine"], BASE)
    assert found.overlays == ("overlay", "overlay-mine")
    assert found.packages.include == ("udev", "kmod")
    assert found.packages.kernel == "linux-image-amd64"
    assert found.slot_bytes == 1 << 30


@pytest.mark.parametrize(
    ("own", "base", "said"),
    [
        (OWN.replace('"kmod"', '"udev"'), BASE, "packages.include has udev 2 times"),
        (OWN, BASE + 'base = "shared/more.toml"\n', "data.base is no key here"),
        (OWN, 'base = "shared/more.toml"' + BASE, "base of shared/base.toml is set"),
        (OWN, BASE.replace("schema = 1", ""), "mine.toml, its base shared/base.toml: schema"),
        (OWN, BASE + "=", "its base shared/base.toml is not TOML"),
    ],
)
def test_a_wrong_base_is_told(own: str, base: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        recipe_file.decode(own, "mine.toml", None, base)
    assert said in caught.value.message


@pytest.mark.parametrize("base", ['"../base.toml"', '"/etc/base.toml"', "3", '"base"'])
def test_a_base_lies_below_the_recipe(base: str) -> None:
    with pytest.raises(RecipeError, match="base is "):
        recipe_file.base_of(OWN.replace('"shared/base.toml"', base), "mine.toml")


def test_a_base_that_is_not_there_is_told(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(OWN)
    with pytest.raises(RecipeError, match=r"mine\.toml: base is 'shared/base\.toml', which is not"):
        recipes.read(file)
