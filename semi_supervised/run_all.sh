#!/usr/bin/env bash
# SupOnly, U²PL and U²PL + HL over splits and seeds, then the table and the page:
#   bash semi_supervised/run_all.sh [--data NAME] [--data-root DIR] [--splits 1/8 ...] [--help]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../setup.sh"
exec "$PYTHON" -m semi_supervised.run_all "$@"
