"""Let Debian 12's cryptography (38) serve securesystemslib, which is written for a later one.

It asks for one name that was spelled otherwise then. Without it, it takes itself to have no
cryptography at all: then it proves Ed25519 by slow Python of its own, and holds every signature by
another kind of key, such as those of security modules, to be none.

Source: cryptography's changelog, 40.0.0 (`PUBLIC_KEY_TYPES` became `PublicKeyTypes`).
"""

from cryptography.hazmat.primitives.asymmetric import types


def complete() -> None:
    """Give the name; before securesystemslib is imported for the first time."""
    if not hasattr(types, "PublicKeyTypes"):
        vars(types)["PublicKeyTypes"] = vars(types)["PUBLIC_KEY_TYPES"]
