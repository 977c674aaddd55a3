#!/usr/bin/env bash
# Makes .venv with both distributions and the tools for developing them. Run by `make setup`.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python3}"

if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "recolabel: Python 3.11 or newer is needed. Install it, or name one: make run PYTHON=/path/to/python3.11" >&2
  exit 1
fi
if [ ! -x .venv/bin/python ]; then
  if ! "$PYTHON" -m venv .venv; then
    echo "recolabel: $PYTHON cannot make a virtual environment. On Debian: apt-get install python3-venv" >&2
    exit 1
  fi
fi
echo "Installing Python packages (1.4 GB, a few minutes the first time) ..."
.venv/bin/python -m pip install --quiet --constraint constraints.txt editables hatchling
# torch first and by its exact version: an open range may fetch gigabytes of CUDA libraries.
.venv/bin/python -m pip install --quiet --constraint constraints.txt torch==2.13.0
.venv/bin/python -m pip install --quiet --constraint constraints.txt --no-build-isolation \
  --editable backend --editable worker
.venv/bin/python -m pip install --quiet --constraint constraints.txt \
  hypothesis mypy playwright pytest pytest-timeout ruff
