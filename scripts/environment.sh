# Makes .venv and installs the package into it when that is needed. Sourced by the scripts at the top of the repository.
# usage: make_environment EXTRA[,EXTRA...]   ("" for none); afterwards $PYTHON is the environment's interpreter.

find_python() {
  for candidate in python3.12 python3.11 python3 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "error: no Python 3.11 or newer on the PATH; install one" >&2
  return 2
}

# The CUDA build that fits the driver, when there is one.
accelerator_extra() {
  local version
  version=$(nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: *\([0-9]*\).*/\1/p')
  if [ -n "$version" ]; then
    if [ "$version" -ge 13 ]; then echo cuda13; else echo cuda12; fi
  fi
}

make_environment() {
  local extras stamp python
  extras=$(printf '%s\n' "$1" "$(accelerator_extra)" | grep . | paste -sd, -) || true
  stamp=".venv/.installed-${extras:-none}"
  PYTHON=.venv/bin/python
  if [ -e "$stamp" ] && [ "$stamp" -nt pyproject.toml ]; then
    return
  fi
  echo "installing into .venv${extras:+ with $extras} ..." >&2
  if command -v uv >/dev/null; then
    uv sync --quiet --frozen --inexact $(printf '%s' "$extras" | tr ',' '\n' | sed 's/^/--extra /')
  else
    python=$(find_python)
    [ -x "$PYTHON" ] || "$python" -m venv .venv
    "$PYTHON" -m pip install --quiet --disable-pip-version-check --editable ".${extras:+[$extras]}"
  fi
  touch "$stamp"
}
