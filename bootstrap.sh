#!/bin/sh
# Make a fresh virtual environment with lgin-edge built from this checkout (editable: Python files are used where they lie):
#   ./bootstrap.sh [extra,extra]   [python]
# On Debian and Ubuntu, installs what a bare python3 lacks (venv, headers). The folder is .venv, or $VENV.
set -eu
cd "$(dirname "$0")"
extras=${1:-}
python=${2:-python3}
venv=${VENV:-.venv}

ready() {
  "$python" -c 'import ensurepip, os, sysconfig, venv; assert os.path.exists(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null \
    && command -v c++ >/dev/null
}
if ! ready; then
  sudo=$(command -v sudo || true)
  $sudo apt-get update -q && $sudo apt-get install -y -q python3-venv python3-dev g++
fi
"$python" -m venv --clear "$venv"
"$venv/bin/pip" install --quiet --disable-pip-version-check --editable ".${extras:+[$extras]}"
