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

scripts/check.sh
echo "== front-end unit tests"; (cd frontend && npm test --silent)
echo "== Python and browser tests"; .venv/bin/pytest "$@"
