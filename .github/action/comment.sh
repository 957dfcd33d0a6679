#!/usr/bin/env bash
# Shows the file $TEXT as one comment on pull request $NUMBER of $REPOSITORY: the comment of an earlier run is rewritten.
# A token that may not write (a pull request from a fork) gives a warning: the summary of the job shows the same.
set -euo pipefail

MARKER="<!-- mipo-bench diff -->"
MOST=60000 # bytes; GitHub takes 65536 characters

body="$(mktemp)"
trap 'rm -f "$body"' EXIT
{ echo "$MARKER"; head -c "$MOST" "$TEXT"; } >"$body"
if (($(wc -c <"$TEXT") > MOST)); then
  printf '\n\nThe rest is in the summary of the job and in its artifact `mipo-bench-diff`.\n' >>"$body"
fi

comments="repos/$REPOSITORY/issues/$NUMBER/comments"
filter=".[] | select(.body | startswith(\"$MARKER\")) | .id"
if ! found="$(gh api --paginate "$comments" --jq "$filter")"; then
  echo "::warning::mipo-bench: the comments of the pull request cannot be read with this token."
  exit 0
fi
earlier="${found%%$'\n'*}"
if [[ -n "$earlier" ]]; then
  request=(--method PATCH "repos/$REPOSITORY/issues/comments/$earlier")
else
  request=(--method POST "$comments")
fi
if ! gh api "${request[@]}" --field "body=@$body" >/dev/null; then
  echo "::warning::mipo-bench: this token may not comment; the job needs permissions: pull-requests: write."
fi
