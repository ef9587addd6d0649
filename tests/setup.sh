#!/usr/bin/env bash
# Makes this machine ready; does nothing when it is.
#   setup.sh apt LIST...              installs the Debian packages named in the lists
#   setup.sh venv DIR REQUIREMENTS... makes a virtual environment that holds exactly these requirements
#   setup.sh python3.13 DIR           has the Python of Debian 13 there
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
  local dir=$1 stamp=$1/.requirements.sha256 python sum
  shift
  sum=$(cat "$@" | sha256sum)
  if [ -x "$dir/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ]; then return; fi
  python=$(find_python)
  echo "setup: $dir from $*, with $("$python" --version)"
  "$python" -m venv --clear "$dir"
  # Compiling all collections of the package ansible takes longer than installing them; few of them are ever imported.
  "$dir/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check "${@/#/--requirement=}"
  echo "$sum" >"$stamp"
}

# Debian 12 has Python 3.11, and ansible-core from 2.20 on wants a newer one: that of Debian 13, unpacked beside the
# system. It finds its C library and its modules' ones in the same directory.
make_python() {
  local dir=$1 mirror lib
  [ ! -x "$dir/usr/bin/python3.13" ] || return 0
  echo "setup: $dir, the Python of Debian 13"
  # shellcheck disable=SC2016
  mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 'Origin: Debian' |
    awk '$2 == "bookworm" {print $1; exit}')
  rm -rf "$dir.part"
  mmdebstrap --quiet --variant=extract --include=python3.13-venv trixie "$dir.part" \
    "deb ${mirror:-http://deb.debian.org/debian} trixie main"
  lib=usr/lib/$(uname -m)-linux-gnu
  patchelf --force-rpath --set-rpath "$dir/$lib" --set-interpreter "$(echo "$dir.part/$lib"/ld-linux-*.so.* |
    sed 's#\.part/#/#')" "$dir.part/usr/bin/python3.13"
  sed -i "s#'/usr/share/python-wheels/'#'$dir/usr/share/python-wheels/'#" \
    "$dir.part/usr/lib/python3.13"/_sysconfigdata_*.py
  mv "$dir.part" "$dir"
}

case ${1-} in
  apt) shift; install_apt "$@" ;;
  venv) shift; make_venv "$@" ;;
  python3.13) make_python "$2" ;;
  *) echo "usage: setup.sh apt LIST... | venv DIR REQUIREMENTS... | python3.13 DIR" >&2; exit 2 ;;
esac
