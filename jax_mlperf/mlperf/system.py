"""What MLPerf's rules ask of the machine."""

import os
from pathlib import Path

DROP_CACHES = Path("/proc/sys/vm/drop_caches")


def clear_file_caches(control: Path = DROP_CACHES) -> bool:
    """Writes out and drops the file system's caches (training_rules.adoc, Run Results); whether that was allowed."""
    os.sync()
    try:
        control.write_text("3\n")
    except OSError:
        return False
    return True
