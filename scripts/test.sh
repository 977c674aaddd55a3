#!/usr/bin/env bash
# Lint, types, Python tests, front-end unit tests, browser tests. Run by `make test`.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "== installing chromium and chromium-driver through apt"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium chromium-driver >/dev/null
  else
    echo "recolabel: the browser tests need Chromium and its driver: apt-get install chromium chromium-driver" >&2
    exit 1
  fi
fi

# Threads of torch that wait for each other should sleep: a machine that runs a server and a browser beside them has
# no core to spare for spinning.
export OMP_WAIT_POLICY=passive

scripts/check.sh
echo "== front-end unit tests"; (cd frontend && npm test --silent)
echo "== Python and browser tests"; .venv/bin/pytest "$@"
