#!/usr/bin/env bash
# Two members talk in a room of the chat service, with nothing but the `lever` command:
#
#   lever deploy examples/chat
#   examples/chat/try.sh
#
# `lever` must be on PATH; LEVER_HOST says where the host is (default 127.0.0.1:8080).
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Waits until a file has a text in it.
wait_for() {
  local file=$1 text=$2
  for _ in $(seq 200); do
    if grep -qF "$text" "$file"; then return; fi
    sleep 0.05
  done
  printf 'try.sh: %s was not said in %s:\n' "$text" "$file" >&2
  cat "$file" >&2
  exit 1
}

# Ann stays: what she would type comes through a pipe that is kept open.
mkfifo "$work/typing"
lever stream /chat/joinChan '"lobby"' '"Ann"' <"$work/typing" >"$work/ann" &
ann=$!
exec 3>"$work/typing"
wait_for "$work/ann" '"joined":"Ann"'
printf '"anybody here?"\n' >&3
wait_for "$work/ann" 'anybody here?'

# Bob is shown what was said before he came, says something, and leaves.
printf '"hello, Ann"\n' | lever stream /chat/joinChan '"lobby"' '"Bob"' >"$work/bob"
wait_for "$work/bob" 'anybody here?'
wait_for "$work/ann" 'hello, Ann'
wait_for "$work/ann" '"left":"Bob"'
lever invoke /chat/who | grep -F '{"lobby":["Ann"]}'

exec 3>&-
wait "$ann"
cat "$work/ann"
