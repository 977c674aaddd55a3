#!/usr/bin/env bash
# Lint and types of both languages.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "== ruff";  .venv/bin/ruff format --check . ; .venv/bin/ruff check .
echo "== mypy";  .venv/bin/mypy
echo "== tsc";   (cd frontend && npm run --silent check)
