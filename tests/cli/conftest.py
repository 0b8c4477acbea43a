"""What the commands of the update are tried with."""

from tests.release.conftest import box, maker, server

__all__ = ["box", "maker", "server"]
