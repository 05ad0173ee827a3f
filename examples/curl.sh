#!/usr/bin/env bash
# Calls examples/hello with curl, over HTTP/1.1 and over HTTP/2, and checks what comes back.
#
#   lever deploy examples/hello
#   examples/curl.sh            # $LEVER_HOST, by default 127.0.0.1:8080
#
# Ends with exit code 0 if every answer was right.
set -uo pipefail

host=http://${LEVER_HOST:-127.0.0.1:8080}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wrong=0

# ask CURL-ARGUMENT...: prints the command, and keeps status, headers and body of the answer.
ask() {
  printf '\n$ curl %s' "$version"
  printf ' %q' "$@"
  printf '\n'
  rm -f "$work/headers" "$work/body"
  status=$(curl -sS --max-time 20 "$version" -D "$work/headers" -o "$work/body" \
    -w '%{http_code}' "$@") || status="curl failed with $?, $status"
  [ ! -s "$work/body" ] || cat "$work/body"
}

# expect WHAT WANTED GOT
expect() {
  [ "$2" != "$3" ] || return 0
  printf 'WRONG %s: %q instead of %q\n' "$1" "$3" "$2"
  wrong=$((wrong + 1))
}
expect_answer() {
  expect status "$1" "$status"
  expect body "$2" "$(cat "$work/body" 2>/dev/null)"
}
# expect_error STATUS CODE: trouble of the platform, before the method ran.
expect_error() {
  expect status "$1" "$status"
  expect 'content type' application/json "$(header content-type)"
  grep -q "^{\"error\":{\"code\":\"$2\",\"message\":\".*\",\"executed\":\"no\"}}$" "$work/body" ||
    expect body "an error $2" "$(cat "$work/body" 2>/dev/null)"
}
header() { sed -n "s/^$1: \\(.*\\)\\r\$/\\1/Ip" "$work/headers" 2>/dev/null; }

# Two messages are sent, each only after the answer to the one before has come.
converse() {
  local out line lines=()
  mkfifo "$work/in"
  exec 4<>"$work/in" # both ends: a writer that does not wait for its reader
  printf '\n$ curl %s -N -X POST -T . %s\n' "$version" \
    "$host/hello/echoChan"
  # --max-time would keep curl 7.88 from reading while its input pauses.
  exec {out}< <(timeout 20 curl --no-progress-meter "$version" -N -X POST -T . \
    -H 'content-type: application/x-ndjson' "$host/hello/echoChan" <"$work/in" 4>&-)
  for line in '["hi"]' '{"n":1}' '"two"'; do
    printf '> %s\n' "$line"
    printf '%s\n' "$line" >&4
    read -r -t 20 -u "$out" line || line='(nothing)'
    printf '< %s\n' "$line"
    lines+=("$line")
  done
  exec 4>&- # the end of the request
  read -r -t 20 -u "$out" line && lines+=("$line")
  exec {out}<&-
  rm "$work/in"
  expect messages '"hi" {"n":1} "two"' "${lines[*]}"
}

head -c 5000000 /dev/zero >"$work/large"

for version in --http1.1 --http2-prior-knowledge; do
  printf '\n== %s\n' "$version"

  ask "$host/hello/sayHello" -d '["Ann"]'
  expect_answer 200 '"Hello, Ann!"'
  expect 'content type' application/json "$(header content-type)"

  # Bytes in, bytes out.
  ask "$host/hello/reverse" -H 'content-type: application/octet-stream' --data-binary abc
  expect_answer 200 cba
  expect 'content type' application/octet-stream "$(header content-type)"

  # What the method throws is the answer, and lever-error tells it from trouble of the platform.
  ask "$host/hello/divide" -d '[1,0]'
  expect status 500 "$status"
  grep -q '"message":"division by zero"' "$work/body" || expect body 'the error' "$(cat "$work/body")"
  expect lever-error method "$(header lever-error)"

  ask "$host/nobody/home" -d '[]'
  expect_error 404 NOT_FOUND
  ask "$host/hello/nothing" -d '[]'
  expect_error 404 NOT_FOUND
  ask "$host/hello/sayHello?env=no.such" -d '["Ann"]'
  expect_error 404 NOT_FOUND
  ask "$host/hello/sayHello" -d '["Ann"'
  expect_error 400 INVALID_ARGUMENT
  # Answered while it is still being sent, which curl 7.88 takes for a broken stream now and then over HTTP/2.
  for _ in 1 2 3; do
    ask "$host/hello/reverse" -H 'content-type: application/octet-stream' \
      --data-binary "@$work/large"
    case $status in 'curl failed with 92'*) ;; *) break ;; esac
  done
  expect_error 413 RESOURCE_EXHAUSTED

  # A page of another origin may not call the host that runs on its reader's machine.
  ask "$host/hello/sayHello" -H 'origin: http://elsewhere.example' -d '["Ann"]'
  expect_error 403 PERMISSION_DENIED
  ask "$host/hello/sayHello" -H 'host: elsewhere.example' -d '["Ann"]'
  expect_error 403 PERMISSION_DENIED

  # A streaming method: a JSON value a line, both ways. The first line has the arguments.
  ask "$host/hello/echoChan" -H 'content-type: application/x-ndjson' \
    --data-binary $'["hi"]\n1\n{"two":2}\n'
  expect_answer 200 $'"hi"\n1\n{"two":2}'
  expect 'content type' application/x-ndjson "$(header content-type)"
  converse

  ask "$host/-/healthz"
  expect status 200 "$status"
done

if [ "$wrong" -gt 0 ]; then
  printf '\n%d answers were wrong\n' "$wrong"
  exit 1
fi
printf '\nAll answers were right.\n'
