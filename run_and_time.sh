#!/usr/bin/env bash
# Trains a benchmark and prints its time: ./run_and_time.sh [CONFIG[:VARIANT]] [flags of run.py]
# CONFIG is a name in configs/ (transformer) or a file; without any it is transformer:tiny.
set -euo pipefail
cd "$(dirname "$0")"
source scripts/environment.sh
make_environment ""

config=transformer:tiny
if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then config=$1; shift; fi
case $config in
  *.py | *.py:*) ;;
  *:*) config=configs/${config%%:*}.py:${config#*:} ;;
  *) config=configs/$config.py ;;
esac

begin=$(date +%s)
status=0
"$PYTHON" run.py --config="$config" "$@" || status=$?
echo "RESULT,$config,$(($(date +%s) - begin)) seconds from start to end,exit status $status"
exit "$status"
