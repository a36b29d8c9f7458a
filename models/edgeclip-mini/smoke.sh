#!/usr/bin/env bash
# Keeps the training code alive: a short training on little data, stopped hard and resumed, exported and
# tried with the program. Some five minutes on two cores.     models/edgeclip-mini/smoke.sh DATA WORK
# DATA holds train.zip and val.zip; WORK is a folder that fetch.sh has filled.
set -euo pipefail
data=$(realpath "${1:?usage: smoke.sh DATA WORK}")
drawings=$(realpath "${2:?usage: smoke.sh DATA WORK}/drawings")
cd "$(dirname "$0")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ln -s "$drawings" "$work/drawings"
# In the place of its subshell, so that to kill the one is to kill the other.
train() { exec python models/edgeclip-mini/train.py --smoke --data "$data" --work "$work" --out "$work/bundle"; }

# Killed after its first checkpoint, it goes on from there.
mkdir -p "$work/bundle"
train & trainer=$!
until [ -f "$work/checkpoint.pt" ] || ! kill -0 $trainer 2>/dev/null; do sleep 1; done
kill -9 $trainer && wait $trainer 2>/dev/null || true
train | tee "$work/log.txt"
grep -q "goes on from step" "$work/log.txt"

python - "$work/log.jsonl" <<'PYTHON'
import json, sys
losses = [json.loads(line)["loss"] for line in open(sys.argv[1])]
assert losses[-1] < losses[0] - 0.5, f"the loss did not fall: {losses}"
PYTHON
cargo run --release -- classify examples/images --labels "a cat, a red circle" --model "$work/bundle"
echo "smoke training: ok"
