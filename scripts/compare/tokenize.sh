#!/bin/sh
# Compare the way from the COVID-19 CSV to token ids: this program and pandas + datasets + tokenizers, on this machine, now.
#
#   scripts/compare/tokenize.sh CSV[.gz] TOKENIZER_DIR HF_TOKENIZE.py [PYTHON]
#
# PYTHON (default: python3) needs pandas, datasets and transformers. Each side runs three times, in turns; the best time counts.
# Neither figure includes starting the process or importing an interpreter's modules.
set -eu
if [ $# -lt 3 ]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
csv=$1 tokenizer=$2 peer=$3 python=${4:-python3}
cd "$(dirname "$0")/../.."
cargo build --quiet --release --example time_tokenize
ours=${CARGO_TARGET_DIR:-target}/release/examples/time_tokenize
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for _ in 1 2 3; do
    "$ours" "$csv" "$tokenizer" 200 | tee -a "$log"
    "$python" "$peer" "$csv" "$tokenizer" --procs 2 --length 200 2>/dev/null | tee -a "$log"
done
"$python" - "$log" <<'PYTHON'
import json, sys
runs = [json.loads(line) for line in open(sys.argv[1])]
best = {}
for run in runs:
    rate = run["rows"] / run["total_s"]
    best[run["peer"]] = max(rate, best.get(run["peer"], 0))
(ours, theirs) = best["pipe"], next(rate for peer, rate in best.items() if peer != "pipe")
print(f"rows/s: pipe {ours:.0f}, peer {theirs:.0f}, ratio {ours / theirs:.2f}")
PYTHON
