#!/usr/bin/env bash
# Runs a check, keeps its output in a log and shows it only when the check fails: quiet.sh NAME COMMAND...
set -uo pipefail
export NO_COLOR=1
name=$1
shift
log=build/lint/$name.log
mkdir -p "${log%/*}"
if "$@" >"$log" 2>&1; then
  printf '%-20s ok  %4d s\n' "$name" "$SECONDS"
else
  code=$?
  tail -n 100 "$log"
  printf '%-20s FAILED after %d s (exit %d), the whole output is in %s\n' "$name" "$SECONDS" "$code" "$log"
  exit "$code"
fi
