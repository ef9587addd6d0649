#!/usr/bin/env bash
# Runs a command unless it has passed before on the same files: unchanged.sh PATHSPEC... -- COMMAND...
# The files are those git lists for the pathspecs, changed and new ones as they stand.
set -euo pipefail
files=()
while [ "$1" != -- ]; do
  files+=("$1")
  shift
done
shift
passed=${XDG_CACHE_HOME:-$HOME/.cache}/senet-firewall/passed
mkdir -p "$passed"
find "$passed" -type f -mtime +30 -delete
stamp=$passed/$({
  printf '%s\0' "$@"
  git ls-files -z --cached --others --exclude-standard -- "${files[@]}" | sort -zu |
    while IFS= read -r -d '' file; do
      if [ -f "$file" ]; then printf '%s\0' "$file"; fi
    done | xargs --null sha256sum
} | sha256sum | cut -d ' ' -f 1)
if [ -e "$stamp" ]; then
  touch "$stamp"
  echo "unchanged since this passed: $*"
  exit
fi
"$@"
touch "$stamp"
