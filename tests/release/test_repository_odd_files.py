"""What lies in a vendor's repository and is no plain file: named at once, never waited for."""

import os
from pathlib import Path

import pytest

from applianceforge.model.errors import ForgeError, SettingsError
from applianceforge.release.graph import Graph
from applianceforge.release.publish import staging
from applianceforge.release.publish.layout import Layout
from applianceforge.release.publish.repository import read_state

NOTHING = Graph("gateway", ())


def a_layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path)
    layout.staged.mkdir(parents=True)
    return layout


def test_a_pipe_is_no_repository(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    os.mkfifo(layout.state)
    with pytest.raises(SettingsError, match="no plain file"):
        read_state(layout)


def test_a_pipe_is_no_staged_graph(tmp_path: Path) -> None:
    layout = a_layout(tmp_path)
    os.mkfifo(layout.staged_graph)
    with pytest.raises(SettingsError, match="no plain file"):
        staging.read(layout, NOTHING)


@pytest.mark.parametrize("target", ["nowhere", "graph.json"])
def test_a_staged_link_is_not_taken_for_nothing_staged(tmp_path: Path, target: str) -> None:
    layout = a_layout(tmp_path)
    layout.staged_graph.symlink_to(target)
    with pytest.raises(ForgeError) as caught:
        staging.read(layout, NOTHING)
    assert str(layout.staged_graph) in caught.value.message
