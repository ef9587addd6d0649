#!/usr/bin/env bash
# Makes this machine ready; does nothing when it is.
#   setup.sh apt LIST...              installs the Debian packages named in the lists
#   setup.sh venv DIR REQUIREMENTS    makes a virtual environment that holds exactly these requirements
#   setup.sh collections DIR REQUIREMENTS   has the collections ansible.posix and community.general there, out of the
#                                     package ansible at the version required
set -euo pipefail

missing_packages() {
  local package
  sort -u "$@" | while read -r package; do
    dpkg-query --show --showformat='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
  done
}

install_apt() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ "${#missing[@]}" -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    echo "These Debian packages are missing: ${missing[*]}. Install them, or run this as root." >&2
    return 1
  fi
  echo "setup: apt-get install ${missing[*]}"
  # The tests start what they need themselves: no service of these packages starts on this machine now.
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    install -m 0755 /dev/stdin /usr/sbin/policy-rc.d <<<$'#!/bin/sh\nexit 101'
  fi
  local apt=(apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
  DEBIAN_FRONTEND=noninteractive "${apt[@]}" update
  DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --yes --no-install-recommends "${missing[@]}"
}

# The first interpreter new enough for ansible-core 2.19: a pyenv shim may stand before Debian's own and be older. Its real
# path, because python3 may be that of the very environment about to be made again.
find_python() {
  local python
  for python in ${PYTHON:+"$PYTHON"} python3 /usr/bin/python3; do
    "$python" -c '
import ensurepip, os, sys, venv
if sys.version_info < (3, 11): sys.exit(1)
print(os.path.realpath(sys.executable))' 2>/dev/null && return
  done
  echo "No Python 3.11 or newer with venv was found: install one and name it with make PYTHON=/path/to/python3." >&2
  return 1
}

make_venv() {
  local dir=$1 requirements=$2 stamp=$1/.requirements.sha256 python sum
  sum=$(sha256sum <"$requirements")
  if [ -x "$dir/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ]; then return; fi
  python=$(find_python)
  echo "setup: $dir from $requirements, with $("$python" --version)"
  "$python" -m venv --clear "$dir"
  "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
  echo "$sum" >"$stamp"
}

make_collections() {
  local dir=$1 requirements=$2 stamp=$1/.requirements.sha256 sum name
  sum=$(sha256sum <"$requirements")
  if [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ]; then return; fi
  echo "setup: $dir from $requirements"
  rm -rf "$dir" "$dir.part"
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --target "$dir.part" \
    --requirement "$requirements"
  for name in ansible/posix community/general; do
    mkdir -p "$dir/ansible_collections/$(dirname "$name")"
    mv "$dir.part/ansible_collections/$name" "$dir/ansible_collections/$name"
  done
  rm -rf "$dir.part"
  echo "$sum" >"$stamp"
}

case ${1-} in
  apt) shift; install_apt "$@" ;;
  venv) make_venv "$2" "$3" ;;
  collections) make_collections "$2" "$3" ;;
  *) echo "usage: setup.sh apt LIST... | venv DIR REQUIREMENTS | collections DIR REQUIREMENTS" >&2; exit 2 ;;
esac
