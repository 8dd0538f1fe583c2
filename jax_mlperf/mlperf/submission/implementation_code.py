"""The source code that a submission holds: this package's repository, without what git or MLPerf's repo_checker would refuse."""

import shutil
from pathlib import Path

import jax_mlperf
from jax_mlperf.errors import UserError

_PARTS = ("jax_mlperf", "configs", "input_pipelines", "scripts", "run.py", "run_and_time.sh", "pyproject.toml", "uv.lock",
          "README.md", "LICENSE")
# repo_checker.py: files above 50 MB, names with spaces or a dot in front.
_LARGEST_BYTES = 50 * 2**20


def copy_code(destination: Path, source: Path | None = None) -> int:
    """Copies the code into a new folder; returns the number of files.

    Args:
      destination: the folder to make.
      source: the repository; default: the one that this package was imported from.
    Raises:
      UserError: the package is installed without its repository.
    """
    root = source or Path(jax_mlperf.__file__).resolve().parents[1]
    if not (root / "pyproject.toml").is_file():
        raise UserError(f"a submission holds the code that ran, and there is none at {root}: jax_mlperf is installed without its "
                        "repository; run this command in a checkout of it")
    count = 0
    for part in _PARTS:
        path = root / part
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            name = file.relative_to(root)
            if file.is_file() and not file.is_symlink() and _belongs(name) and file.stat().st_size <= _LARGEST_BYTES:
                (destination / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, destination / name)
                count += 1
    return count


def _belongs(name: Path) -> bool:
    hidden = any(part.startswith(".") or part == "__pycache__" or " " in part for part in name.parts)
    return not hidden and name.suffix != ".pyc"
