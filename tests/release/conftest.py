"""A vendor with the usual releases, a box that takes them, and the server in between."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.release.server import Server
from tests.release.updating import Maker, UpdatedBox, updated_box, usual_releases


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> Maker:
    return usual_releases(tmp_path_factory.mktemp("vendor"))


@pytest.fixture
def box(tmp_path: Path, maker: Maker) -> UpdatedBox:
    return updated_box(tmp_path, maker)


@pytest.fixture
def server(maker: Maker) -> Iterator[Server]:
    with Server(maker.public) as running:
        yield running
