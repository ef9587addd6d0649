#!/usr/bin/env bash
# Imports the built collection as Galaxy would, and checks its documentation: galaxy.sh VENV, which has galaxy-importer and
# antsibull-docs. The importer only warns of most findings; here each warning is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
venv=$(realpath "$1")
export PATH=$venv/bin:$PATH ANSIBLE_COLLECTIONS_PATH=$root/build/collections
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

ansible-galaxy collection build --output-path "$scratch"
cd "$scratch"
# ansible-lint has a target of its own, with a stricter profile.
GALAXY_IMPORTER_RUN_ANSIBLE_LINT=false python -m galaxy_importer.main senet-firewall-*.tar.gz 2>&1 | tee importer.log
grep -q '^Importer processing completed successfully' importer.log
if grep -E '^(WARNING|ERROR|CRITICAL)' importer.log; then exit 1; fi

antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs=all --disallow-unknown-collection-refs "$root"
