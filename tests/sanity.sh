#!/usr/bin/env bash
# Runs ansible-test sanity over a copy of this tree: sanity.sh VENV [OPTION...], VENV with ansible-core in it.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$(realpath "$1")
shift
home=${XDG_CACHE_HOME:-$HOME/.cache}/senet-firewall/ansible-test
# Outside this work tree, or ansible-test asks its git for the files and finds the copy ignored.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
copy=$scratch/ansible_collections/senet/firewall
mkdir -p "$copy"
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
  if [ -e "$file" ]; then printf '%s\0' "$file"; fi
done | tar -c --null -T - | tar -x -C "$copy"

# ansible-test gets pip into its virtual environments with a script from its own download site, where not every network
# leads. This one, in that script's cache place, gets the same pip version from the package index like everything else.
bootstrap=$scratch/get_pip.py
cat >"$bootstrap" <<'END'
import subprocess
import sys

options = [arg for arg in sys.argv[1:] if arg not in ("--no-setuptools", "--no-wheel")]
subprocess.check_call([sys.executable, "-m", "ensurepip"], stdout=subprocess.DEVNULL)
subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet", *options])
END
mkdir -p "$home/.ansible/test/cache"
# shellcheck disable=SC2016
"$venv/bin/python" -c '
import pathlib, re, ansible_test._internal.python_requirements as module
print(*sorted(set(re.findall(r"pip=.([0-9.]+)", pathlib.Path(module.__file__).read_text()))), sep="\n")' |
  while read -r pip; do
    install -m 0644 "$bootstrap" "$home/.ansible/test/cache/get_pip_${pip//./_}.py"
  done

# An own home keeps ansible-test's caches out of the user's ~/.ansible. pip goes on seeing the user's cache and settings,
# those in the environment too, which ansible-test drops; and it trusts the certificates the system trusts, as Debian's does.
ln -sfn "${XDG_CONFIG_HOME:-$HOME/.config}" "$home/.config"
ln -sfn "${XDG_CACHE_HOME:-$HOME/.cache}" "$home/.cache"
settings=$("$venv/bin/python" -m pip config list)
mkdir -p "$home/.pip"
{
  echo "[global]"
  grep -q "cert='" <<<"$settings" || echo "cert = /etc/ssl/certs/ca-certificates.crt"
  sed -nE "s/^:env:\.([a-z-]+)='(.*)'$/\1 = \2/p" <<<"$settings"
} >"$home/.pip/pip.conf"

# Only interpreters of the system and of the environment: a pyenv shim exists for versions it then refuses to run.
cd "$copy"
HOME=$home PATH=$venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
  ansible-test sanity --local --color no "$@"
