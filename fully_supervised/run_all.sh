#!/usr/bin/env bash
# Baseline, scale-matched CE and +HL over models and seeds, then the table and the page:
#   bash fully_supervised/run_all.sh [--data NAME] [--data-root DIR] [--help]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../setup.sh"
exec "$PYTHON" -m fully_supervised.run_all "$@"
