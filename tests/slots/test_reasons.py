"""The words of the boot environment, and the sentences that they stand for."""

import re

import pytest

from applianceforge.formats import bootenv
from applianceforge.formats.bootenv import KNOWN_GOOD, NOT_BOOTABLE, Environment
from applianceforge.slots import reasons
from applianceforge.slots.layout import Slot
from tests.appliance.cache import CHECKOUT


@pytest.mark.parametrize("word", reasons.REASONS)
def test_every_word_fits_into_the_boot_environment(word: str) -> None:
    assert reasons.WORD.fullmatch(word)
    highest = bootenv.HIGHEST_NUMBER
    text = reasons.about(Slot.B, word)
    environment = Environment(highest, "b", KNOWN_GOOD, NOT_BOOTABLE, text)
    found = bootenv.complete(bootenv.encode(environment))
    assert found == environment


@pytest.mark.parametrize(("word", "reason"), reasons.REASONS.items())
def test_every_word_has_a_sentence_and_a_remedy(word: str, reason: reasons.Reason) -> None:
    for text in (reason.sentence, reason.remedy):
        assert text
        assert not text.endswith(".")
        assert "  " not in text


def test_a_word_that_nobody_knows_is_named() -> None:
    assert "`from-the-future`" in reasons.explain("from-the-future").sentence
    assert reasons.explain("from-the-future").remedy


@pytest.mark.parametrize(
    ("text", "slot", "word"),
    [
        ("b-no-long-mode", Slot.B, "no-long-mode"),
        ("a-disk-full", Slot.A, "disk-full"),
        ("copies-lost", None, "copies-lost"),
        ("", None, ""),
        ("c-disk-full", None, "c-disk-full"),
    ],
)
def test_the_slot_stands_before_the_word(text: str, slot: Slot | None, word: str) -> None:
    assert reasons.split(text) == (slot, word)


def test_what_the_boot_loader_writes_is_in_the_table() -> None:
    script = (CHECKOUT / "images/grub/grub.cfg.in").read_text()
    words = set(re.findall(r'forge_pass_over "\$\{?1\}?" ([a-z-]+)', script))
    words |= set(re.findall(r"why=([a-z-]+);", script))
    assert {"no-long-mode", "copies-lost"} <= words
    assert words <= reasons.REASONS.keys()


def test_what_the_gate_says_is_in_the_table() -> None:
    script = (CHECKOUT / "images/overlay-forge/usr/lib/applianceforge/gate").read_text()
    words = set(re.findall(r"refuse ([a-z0-9-]+)", script))
    assert "epoch-amd64" in words
    assert words <= reasons.REASONS.keys()
