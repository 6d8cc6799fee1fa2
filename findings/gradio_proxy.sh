#!/usr/bin/env bash
# Gradio 6.31.0: launch() on 127.0.0.1 fails where HTTP_PROXY is set, because it asks its own server through the proxy.
#
# Expected: a server on this machine starts whatever proxy leads to other machines; 127.0.0.1 is not behind any.
# Seen: launch() begins with a request to its own address, which httpx sends to the proxy; where the proxy does not
# answer, or not for 127.0.0.1, launch() raises, and the page never appears. With 127.0.0.1 in no_proxy it starts.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/show.py" <<'PYTHON'
import os

import gradio as gr

with gr.Blocks() as page:
    gr.Markdown("here")
try:
    page.launch(server_name="127.0.0.1", quiet=True, prevent_thread_lock=True, share=False)
except Exception as error:
    print(f"Gradio {gr.__version__}, no_proxy={os.environ.get('no_proxy')}: {type(error).__name__}: {error}")
else:
    print(f"Gradio {gr.__version__}, no_proxy={os.environ.get('no_proxy')}: started")
page.close(verbose=False)
PYTHON
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check gradio==6.31.0 pillow==12.3.0 numpy==2.2.6
unset no_proxy NO_PROXY all_proxy ALL_PROXY http_proxy https_proxy HTTPS_PROXY
export GRADIO_ANALYTICS_ENABLED=False HTTP_PROXY=http://127.0.0.1:9 # where nobody answers
refused=$("$folder/venv/bin/python" "$folder/show.py" 2>/dev/null)
spared=$(no_proxy=127.0.0.1 "$folder/venv/bin/python" "$folder/show.py" 2>/dev/null)
echo "$refused"
echo "$spared"
[[ "$refused" != *started ]] || { echo "it starts now: this finding is out of date"; exit 1; }
[[ "$spared" == *started ]]
