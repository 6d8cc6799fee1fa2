"""The explorer's page and its server: Gradio, on this machine alone, without anything from the network."""

import contextlib
import importlib.util
import logging
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from types import FrameType
from typing import Any

from common.errors import InputError
from common.windows import WINDOWS
from engine.errors import Stopped, UserError
from engine.explorer import html
from engine.explorer.explorer import Explorer, Region, Seen, read_number, read_region, region_at
from engine.explorer.words import Words
from engine.inference.attention import checked

HOST = "127.0.0.1"
LARGEST = "50mb"  # of a picture's file; data/pictures.py limits its pixels
INSTALL = "pip install -r requirements/explore.txt"
# What Gradio would otherwise tell its makers, or keep in the browser: every picture that was looked at.
QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}


def check_gradio() -> None:
    """Raise UserError if Gradio is not installed."""
    if not importlib.util.find_spec("gradio"):
        raise UserError(f"the explorer needs gradio: {INSTALL}", key="gradio")


def check_port(port: int) -> None:
    """Raise UserError if no server can listen on a port."""
    with socket.socket() as probe:
        if not WINDOWS:  # there it would let two programs share the port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise _refused(port, error) from error


def _refused(port: int, error: OSError) -> UserError:
    why = error.strerror or "in use"
    return UserError(
        f"--port {port}: {why}: choose another, such as --port {port % 60000 + 1024}", key="--port", value=port
    )


def serve(explorer: Explorer, port: int, words: Words) -> None:
    """Show the page until Ctrl-C.

    Raises:
        UserError: the port cannot be used.
        Stopped: by SIGTERM.
    """
    os.environ.update(QUIET)
    spared = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    os.environ["no_proxy"] = ",".join(filter(None, [spared, HOST]))  # Gradio begins with a request to itself
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="explore_", ignore_cleanup_errors=True) as folder, _terminated():
        os.environ["GRADIO_TEMP_DIR"] = folder  # the pictures that were chosen go with it
        page = build(explorer, words)
        try:
            page.launch(
                server_name=HOST,
                server_port=port,
                share=False,
                inbrowser=False,
                ssr_mode=False,
                mcp_server=False,
                pwa=False,
                quiet=True,
                prevent_thread_lock=True,
                max_file_size=LARGEST,
                footer_links=[],
                theme=_theme(),
                css=html.CSS,
            )
        except OSError as error:
            raise _refused(port, error) from error
        try:
            print(f"explorer: http://{HOST}:{port}/ (Ctrl-C ends it)", flush=True)
            while True:
                time.sleep(1)  # on Windows nothing else ends by Ctrl-C
        except KeyboardInterrupt:
            pass
        finally:
            page.close(verbose=False)


@contextlib.contextmanager
def _terminated() -> Iterator[None]:
    """Within this context SIGTERM raises Stopped, so that the chosen pictures are deleted."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Stopped(signum)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _theme() -> Any:
    import gradio as gr

    return gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])


def build(explorer: Explorer, words: Words) -> Any:
    """Return the page, a `gradio.Blocks`. What a visitor has chosen is in a `gradio.State` of his own."""
    import gradio as gr

    maps = explorer.first[0].maps
    stages: list[Any] = []
    with gr.Blocks(title=words.title, analytics_enabled=False) as page:
        seen, region = gr.State(None), gr.State(None)
        gr.HTML(html.head(explorer, words))
        with gr.Row():
            with gr.Column(min_width=240):
                file = gr.File(label=words.drop, type="filepath", elem_id="file", height=150)
                if explorer.pictures:
                    number = gr.Textbox(label=words.number.format(last=explorer.pictures - 1), elem_id="number")
                else:
                    gr.HTML(html.line(words.no_number.format(why=explorer.no_pictures), "facts"))
                typed = gr.Textbox(label=words.region, elem_id="region")
                status = gr.HTML(html.line(words.empty), elem_id="status")
            with gr.Column(min_width=240):
                gr.HTML(html.line(words.picture))
                shown = gr.Image(
                    show_label=False,
                    format="png",
                    interactive=False,
                    buttons=[],
                    elem_id="picture",
                    alt_text=words.picture,
                )
            with gr.Column(min_width=240):
                top = gr.HTML(elem_id="top")
        gr.HTML(html.explained(words))
        for i, stage in enumerate(maps, start=1):
            gr.HTML(html.heading(i, stage, words))
            with gr.Row():
                encoders, _, heads = stage.regional.shape[:3]
                of_encoders, of_heads = html.choices(encoders, words), html.choices(heads, words)
                encoder = gr.Radio(of_encoders, value=encoders - 1, label=words.encoder, elem_id=f"encoder{i}")
                head = gr.Radio(of_heads, value=html.MEAN, label=words.head, elem_id=f"head{i}")
            stages.append((gr.HTML(elem_id=f"stage{i}"), encoder, head))
        both = gr.HTML(elem_id="both")

        def answer(now: Seen, at: Region, choices: Sequence[Any]) -> dict[Any, Any]:
            observed, (encoders, heads) = now.observed[0], (choices[::2], choices[1::2])
            pairs = zip(observed.at(at, encoders), heads, strict=True)
            return {
                seen: now,
                region: at,
                status: html.line(html.name(now, words)),
                typed: f"{at[0]},{at[1]}",
                shown: html.picture(observed, at),
                top: html.top(explorer, now, words),
                both: html.both(explorer, now, at, words),
                **{
                    panels: html.stage(observed, *pair, words) for (panels, *_), pair in zip(stages, pairs, strict=True)
                },
            }

        def look(picture: str, at: Region | None, choices: Sequence[Any]) -> dict[Any, Any]:
            try:
                now = explorer.look(picture)
            except InputError as error:  # no answers beside a picture that they are not about
                empty = dict.fromkeys((top, both, *(panels for panels, *_ in stages)), "")
                return {seen: None, shown: None, **empty, **complain(str(error))}
            return answer(now, at or checked(None, maps[0].grid), choices)

        def complain(text: str) -> dict[Any, Any]:
            return {status: html.line(text, "error")}

        def on_file(picture: str, at: Region | None, *choices: Any) -> dict[Any, Any]:
            return {**look(picture, at, choices), file: None}  # ready for the next one

        def on_number(text: str, at: Region | None, *choices: Any) -> dict[Any, Any]:
            try:
                name = read_number(text, explorer.pictures)
            except InputError as error:
                return complain(str(error))
            return look(name, at, choices)

        def on_region(text: str, now: Seen | None, *choices: Any) -> dict[Any, Any]:
            if now is None:
                return complain(words.empty)
            try:
                return answer(now, read_region(text, now.observed[0]), choices)
            except InputError as error:
                return complain(str(error))

        def on_click(now: Seen, event: gr.SelectData, *choices: Any) -> dict[Any, Any]:
            x, y = (each / html.PICTURE for each in event.index)
            return answer(now, region_at(now.observed[0], x, y), choices)

        def on_choice(i: int, now: Seen | None, at: Region | None, encoder: Any, head: Any) -> str:
            if now is None or at is None:
                return ""
            encoders: list[Any] = ["last"] * len(maps)
            encoders[i] = encoder
            observed = now.observed[0]
            return html.stage(observed, observed.at(at, encoders)[i], head, words)

        every = [choice for _, *pair in stages for choice in pair]
        outputs = [seen, region, status, typed, shown, top, both, *(panels for panels, *_ in stages)]
        file.upload(on_file, [file, region, *every], [*outputs, file], api_name="look_at_file")
        if explorer.pictures:
            number.submit(on_number, [number, region, *every], outputs, api_name="look_at_number")
        typed.submit(on_region, [typed, seen, *every], outputs, api_name="choose_region")
        shown.select(on_click, [seen, *every], outputs, api_name=False)
        for i, (panels, *pair) in enumerate(stages):
            for choice in pair:
                choice.input(partial(on_choice, i), [seen, region, *pair], panels, api_name=f"choose_in_stage{i + 1}")
    return page
