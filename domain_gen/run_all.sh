#!/usr/bin/env bash
# Baseline, scale-matched CE and +HL on a source, evaluated on its targets; the table and the page:
#   bash domain_gen/run_all.sh [--source NAME] [--target NAME ...] [--data-root NAME=DIR ...] [--help]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../setup.sh"
exec "$PYTHON" -m domain_gen.run_all "$@"
