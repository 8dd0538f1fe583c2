"""Short names of result folders."""

from collections.abc import Sequence
from pathlib import Path


def short_names(folders: Sequence[Path]) -> list[str]:
    """The last two parts of each folder, or as many as make them differ."""
    longest = max((len(folder.parts) for folder in folders), default=2)
    for count in range(2, longest + 1):
        names = ["/".join(folder.parts[-count:]).lstrip("/") for folder in folders]
        if len(set(names)) == len(set(folders)):
            break
    return names if folders else []
