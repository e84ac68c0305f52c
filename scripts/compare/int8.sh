#!/bin/sh
# Compare scoring in f32 and in int8: this program and ONNX Runtime, on this machine, now.
#
#   scripts/compare/int8.sh ORT_INT8.py [PYTHON]
#
# PYTHON (default: python3) needs torch, transformers, onnx, onnxscript and onnxruntime. At roberta-base, 16 rows of 64 tokens
# and 1 of them, each side runs three times, in turns; the best time counts.
set -eu
if [ $# -lt 1 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
peer=$(realpath "$1") python=${2:-python3}
cd "$(dirname "$0")/../.."
cargo bench --quiet --bench int8 --no-run
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for batch in 16 1; do
    for _ in 1 2 3; do
        cargo bench --quiet --bench int8 -- --batch $batch | tee -a "$log"
        "$python" "$peer" roberta-base --batch $batch --length 64 --threads "$(nproc)" 2>/dev/null | tail -n 1 | tee -a "$log"
    done
done
"$python" - "$log" <<'PYTHON'
import json, sys
best = {}
for run in map(json.loads, open(sys.argv[1])):
    who = run.get("peer", "pipe")
    for form in ("f32", "int8"):
        key = (run["batch"], who, form)
        best[key] = max(best.get(key, 0), run[f"{form}_samples_per_s"])
for batch in sorted({key[0] for key in best}):
    rate = lambda who, form: best[batch, who, form]
    print(f"batch {batch}: int8 is {rate('pipe', 'int8') / rate('pipe', 'f32'):.2f}x our f32 and "
          f"{rate('pipe', 'int8') / rate('onnxruntime', 'int8'):.2f}x ONNX Runtime's int8; "
          f"our f32 is {rate('pipe', 'f32') / rate('onnxruntime', 'f32'):.2f}x theirs")
PYTHON
