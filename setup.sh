# Source me: makes $PYTHON an interpreter with the pinned stack, and this checkout importable.
#
#   source setup.sh
#
# An active environment (venv, conda) that satisfies requirements.txt is used as it is. Otherwise
# .venv is made here, once: a few minutes, about 5 GB. HL_PYTHON names the interpreter to make it
# with. When all is there, this costs a fraction of a second.

HL_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
# First on the path, so that this checkout is what runs, whatever else is installed.
export PYTHONPATH="$HL_ROOT${PYTHONPATH:+:$PYTHONPATH}"
export PYTHONWARNINGS="${PYTHONWARNINGS:-ignore::FutureWarning}"

# Prints what differs from the pins; exit code 1 if anything does. Reads metadata, imports nothing.
_hl_pins() {
  "$1" - "$HL_ROOT/requirements.txt" <<'PY'
import importlib.metadata as md, sys
wrong = []
for line in open(sys.argv[1]):
    name, _, want = line.split("#")[0].strip().partition("==")
    if not want:
        continue
    try:
        have = md.version(name).split("+")[0]  # a local build such as 2.12.1+cpu will do
    except md.PackageNotFoundError:
        have = "missing"
    if have != want:
        wrong.append(f"{name} {have}, wanted {want}")
print("; ".join(wrong))
sys.exit(bool(wrong))
PY
}

# The pinned versions can be there and still not fit each other: one line says so.
_hl_imports() {
  "$1" -W ignore - <<'PY'
import sys
for name in ("torch", "torchvision", "mmcv", "mmengine", "mmseg"):
    try:
        __import__(name)
    except Exception as error:
        sys.exit(f"error: import {name} fails in {sys.prefix}: {str(error).splitlines()[0]}; "
                 "delete that environment and run this again")
PY
}

_hl_setup() {
  local wrong stamp environment
  if [ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && wrong="$(_hl_pins python)"; then
    PYTHON="$(command -v python)"
  else
    PYTHON="$HL_ROOT/.venv/bin/python"
    stamp="$HL_ROOT/.venv/.installed"
    if ! cmp -s "$HL_ROOT/requirements.txt" "$stamp"; then
      local base="${HL_PYTHON:-python3}"
      if ! "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "error: $base is missing or older than Python 3.11; name another with HL_PYTHON=" >&2
        return 1
      fi
      echo "setting up .venv: installs torch, torchvision and mmsegmentation (a few minutes)" >&2
      # From the environment that asked, only its interpreter is taken, not its packages.
      [ -x "$PYTHON" ] || "$base" -m venv "$HL_ROOT/.venv" || {
        echo "error: $base -m venv failed; on Debian: apt-get install python3-venv" >&2
        return 1
      }
      (cd "$HL_ROOT" && PYTHONPATH= "$PYTHON" -m pip install --quiet --no-cache-dir \
        --disable-pip-version-check -r requirements.txt) || {
        echo "error: pip could not install requirements.txt (see above); run this again to go on" >&2
        return 1
      }
      _hl_imports "$PYTHON" || return 1
      cp "$HL_ROOT/requirements.txt" "$stamp"
    fi
  fi
  environment="$("$PYTHON" -c 'import sys; print(sys.prefix)')"
  if [ "$environment" != "$HL_ROOT/.venv" ] && [ ! -e "$environment/.hl-imports" ]; then
    _hl_imports "$PYTHON" || return 1
    touch "$environment/.hl-imports" 2>/dev/null || true
  fi
  export PYTHON
}

_hl_setup
