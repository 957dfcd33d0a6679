#!/usr/bin/env bash
# Compares two reports for action.yml: writes $OUT/diff.md, .json and .html, the summary of the job, and the outputs
# `verdict` and `exit-code`. It ends with 0 whatever the verdict is, so that the later steps can show it; the last step
# of the action exits with the code.
set -euo pipefail

VERDICTS=(passed regression "bad input" "not ruled out" "not comparable")

if [[ -z "$BASE" ]]; then
  echo "::error::mipo-bench: there is no base branch here. Give the input \`base\`, such as origin/main." >&2
  exit 2
fi
arguments=("$BASE" "$HEAD")
[[ -z "$REPORT_PATH" ]] || arguments+=(--path "$REPORT_PATH")
read -ra margins <<<"$MARGIN"
for margin in "${margins[@]}"; do arguments+=(--margin "$margin"); done
gate=()
[[ "$GATE" == none ]] || gate=(--gate "$GATE")

mkdir -p "$OUT"
code=0
mipo-bench diff "${arguments[@]}" "${gate[@]}" --format markdown >"$OUT/diff.md" 2>"$OUT/messages.txt" || code=$?
cat "$OUT/messages.txt" >&2
if [[ -s "$OUT/diff.md" ]]; then
  mipo-bench diff "${arguments[@]}" --format json >"$OUT/diff.json"
  mipo-bench diff "${arguments[@]}" --format html >"$OUT/diff.html"
else # bad input: the messages are all there is to show
  { echo "# mipo-bench diff"; echo; sed 's/^/    /' "$OUT/messages.txt"; } >"$OUT/diff.md"
fi

verdict="${VERDICTS[$code]:-failed}"
cat "$OUT/diff.md" >>"$GITHUB_STEP_SUMMARY"
{ echo "exit-code=$code"; echo "verdict=$verdict"; } >>"$GITHUB_OUTPUT"
echo "mipo-bench diff: $verdict (exit code $code)"
