#!/usr/bin/env bash
# Runs a command unless it has passed before on the same files: unchanged.sh PATHSPEC... -- COMMAND...
# The files are those git lists for the pathspecs, changed and new ones as they stand: what git keeps of them, which is
# their content, whether they may be run, and where a link leads. A pytest's JUnit file, or the file build/*.json that
# the command is to write, is kept, and put back where the command is not run.
set -euo pipefail
files=()
while [ "$1" != -- ]; do
  files+=("$1")
  shift
done
shift
report=
for word in "$@"; do
  case $word in
    --junit-xml=*) report=${word#*=} ;;
    build/*.json) report=$word ;;
  esac
done
passed=${XDG_CACHE_HOME:-$HOME/.cache}/senet-firewall/passed
mkdir -p "$passed"
find "$passed" -type f -mtime +30 -delete
stamp=$passed/$({
  printf '%s\0' "$@"
  git ls-files -z --cached --others --exclude-standard -- "${files[@]}" | sort -zu | {
    texts=()
    while IFS= read -r -d '' file; do
      if [ -L "$file" ]; then printf '%s -> %s\0' "$file" "$(readlink "$file")"; fi
      if [ -f "$file" ]; then
        if [ -x "$file" ]; then printf '%s may be run\0' "$file"; fi
        texts+=("$file")
      fi
    done
    if [ ${#texts[@]} -gt 0 ]; then printf '%s\0' "${texts[@]}" | xargs --null sha256sum; fi
  }
} | sha256sum | cut -d ' ' -f 1)
if [ -e "$stamp" ]; then
  touch "$stamp"
  if [ -n "$report" ]; then
    mkdir -p "$(dirname "$report")"
    cp "$stamp" "$report"
  fi
  echo "unchanged since this passed: $*"
  exit
fi
"$@"
if [ -n "$report" ]; then cp "$report" "$stamp.new"; else : >"$stamp.new"; fi
mv "$stamp.new" "$stamp"
