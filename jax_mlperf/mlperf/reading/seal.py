"""The seal of a result file: a run keeps it of its log, a submission of each file that it holds."""

import hashlib
from pathlib import Path

from jax_mlperf.mlperf.reading.log_lines import open_file


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal digits.

    Raises:
      OSError: the file cannot be read.
    """
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
