"""Names for types that say more than the type does."""

from typing import Any

PyTree = Any  # a nest of dicts, tuples and dataclasses with arrays at its leaves
