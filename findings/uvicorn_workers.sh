#!/usr/bin/env bash
# uvicorn 0.54.0 on Linux: with --workers 2 each answer to a client that keeps its connection takes 40 ms more.
#
# Expected: more workers answer no later than one.
# Seen: workers share a socket that uvicorn opened without naming the protocol. asyncio switches Nagle's algorithm off
# for sockets that name TCP alone, so the body of an answer waits until the client confirms its headers, which Linux
# delays by 40 ms. Any server does that which is given a socket of socket.create_server. Reported as uvicorn issue 3149.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
cat >"$folder/page.py" <<'PYTHON'
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})
PYTHON
cat >"$folder/ask.py" <<'PYTHON'
import http.client
import statistics
import sys
import time

import uvicorn

client = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
for _ in range(100):
    try:
        client.connect()
        break
    except OSError:
        time.sleep(0.1)
times = []
for _ in range(21):
    begin = time.perf_counter()
    client.request("GET", "/")
    client.getresponse().read()
    times.append(time.perf_counter() - begin)
print(f"uvicorn {uvicorn.__version__}, workers {sys.argv[2]}: median {1000 * statistics.median(times):.1f} ms", file=sys.stderr)
print(int(statistics.median(times) > 0.03))
PYTHON
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check uvicorn==0.54.0
cd "$folder"
late=()
for workers in 1 2; do
    port=$("$folder/venv/bin/python" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    "$folder/venv/bin/uvicorn" page:app --port "$port" --workers "$workers" --lifespan off --log-level critical &
    late+=("$("$folder/venv/bin/python" ask.py "$port" "$workers")")
done
[[ "${late[*]}" == "0 1" ]] || { echo "it is otherwise now: this finding is out of date"; exit 1; }
