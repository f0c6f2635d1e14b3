#!/bin/sh
# Starts service.py on a GPU: the engine $LGIN_MODEL is built first where it is missing, damaged or, after an update of JetPack,
# one for another TensorRT; then the service takes this process over, so that it gets the signals.
set -eu
python - "$LGIN_MODEL" <<'PYTHON' || lgin-edge build --overwrite --out "$LGIN_MODEL" --workspace 1024
import sys
import lgin_edge
try:
    lgin_edge.Transformer(sys.argv[1]).close()
except lgin_edge.LginError as error:
    sys.exit(f"building the engine, which takes minutes: {error}")
PYTHON
exec python "$(dirname "$0")/service.py" "$@"
