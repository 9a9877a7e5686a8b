#!/usr/bin/env bash
# Starts Atelier; the first time it also makes .venv and installs what is needed.
#   bash webui.sh [flags]               starts (--help lists the flags)
#   bash webui.sh test [pytest flags]   runs ruff, pyright and pytest
# PYTHON names the interpreter for a new .venv, TORCH_INDEX_URL another package index for PyTorch.
set -eu

case "${BASH_SOURCE[0]}" in
    */*) here="${BASH_SOURCE[0]%/*}" ;;
    *) here=. ;;
esac

# 0: can start Atelier; 3: new enough, but makes no virtual environments; anything else: no Python 3.11.
examine() {
    "$1" -c 'import sys
if sys.version_info < (3, 11): sys.exit(4)
try: import ensurepip, venv
except ImportError: sys.exit(3)' >/dev/null 2>&1
}

if [ -n "${PYTHON:-}" ]; then
    candidates=("$PYTHON")
else
    candidates=("$here/.venv/bin/python" python3.11 python3.12 python3.13 python3.14 python3 python)
fi

without_venv=""
for candidate in "${candidates[@]}"; do
    verdict=0
    examine "$candidate" || verdict=$?
    if [ "$verdict" = 0 ]; then exec "$candidate" "$here/launch.py" "$@"; fi
    if [ "$verdict" = 3 ]; then without_venv="${without_venv:-$candidate}"; fi
done

if [ -n "$without_venv" ]; then
    echo "Atelier: $without_venv has no venv module; on Debian and Ubuntu 'sudo apt install python3-venv' brings it." >&2
elif [ -n "${PYTHON:-}" ]; then
    echo "Atelier: PYTHON is '$PYTHON', which is not a Python 3.11 or newer." >&2
else
    echo "Atelier: no Python 3.11 or newer was found; install one from python.org or your system's packages," \
        "or name one in PYTHON." >&2
fi
exit 2
