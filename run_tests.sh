#!/usr/bin/env bash
# Lint, types and tests: ./run_tests.sh [flags of pytest], for example ./run_tests.sh -m "not slow"
set -euo pipefail
cd "$(dirname "$0")"
source scripts/environment.sh
make_environment dev

"$PYTHON" -m ruff check .
"$PYTHON" -m mypy
exec "$PYTHON" -m pytest -n 2 "$@"
