"""The pages of the server: a request's pictures in, the likeliest classes of each out, within limits."""

import asyncio
import io
import os
from argparse import Namespace
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, NoReturn

import numpy as np
from batcher import Batcher
from fastapi import FastAPI, HTTPException, Query, Request, Response
from PIL import Image, UnidentifiedImageError
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive
from steps import follow

Files = list[tuple[str, bytes]]  # names and contents of a request's pictures
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit: ours counts instead

FILE = {"type": "string", "format": "binary"}
FORM = {"type": "object", "properties": {"pictures": {"type": "array", "items": FILE}}}
BODY = {"required": True, "content": {"multipart/form-data": {"schema": FORM}, "image/*": {"schema": FILE}}}


def application(description: dict[str, Any], batcher: Batcher, limits: Namespace) -> FastAPI:
    """Return the server's pages.

    Args:
        description: the `preprocessing.json` of an export.
        batcher: answers the program's inputs with logits.
        limits: megabytes and pictures of a request, pixels of a picture in millions, seconds, requests at a time.
    """
    app, under_way, decoders = FastAPI(title="RegionViT"), 0, ThreadPoolExecutor(os.cpu_count(), "decoder")
    classes, steps = description["classes"], description["steps"]
    run = [step["op"] for step in steps].index("run")

    @app.get("/health")
    async def health() -> dict[str, str | int]:
        """Return what is served, how many requests are under way, and what was computed so far."""
        about = {key: description[key] for key in ("model", "precision")}
        return {**about, "requests": under_way, "pictures": batcher.inputs, "batches": batcher.batches}

    @app.post("/predict", openapi_extra={"requestBody": BODY})
    async def predict(request: Request, top: Annotated[int, Query(ge=1)] = 5) -> dict[str, list[dict[str, Any]]]:
        """Return the likeliest classes of each picture, in the order of the pictures."""
        nonlocal under_way
        if under_way >= limits.requests:  # before its pictures take memory
            raise HTTPException(503, f"{under_way} requests are waiting: try again later", {"Retry-After": "1"})
        under_way += 1
        try:
            files = await in_time(files_of(request, limits), limits.seconds, 408, "the request did not arrive")
            rows = await in_time(unless_gone(request, classify(files)), limits.seconds, 504, "no answer")
        finally:
            under_way -= 1
        named = zip(files, rows, strict=True)
        return {"predictions": [{"picture": name, "top": likeliest(row, top)} for (name, _), row in named]}

    async def classify(files: Files) -> np.ndarray:
        """Return the probabilities of pictures: [pictures, classes]."""
        loop = asyncio.get_running_loop()
        inputs = await asyncio.gather(*(loop.run_in_executor(decoders, read, *file) for file in enumerate(files, 1)))
        logits = await asyncio.gather(*(asyncio.wrap_future(batcher.submit(x)) for x in inputs))
        return follow(steps[run + 1 :], np.stack(logits), None)

    def read(number: int, file: tuple[str, bytes]) -> np.ndarray:
        """Return the program's input for a picture: [1, 3, size, size]."""
        (name, content), formats = file, steps[0]["formats"]
        try:
            with Image.open(io.BytesIO(content), formats=formats) as header:
                pixels = header.width * header.height
            if pixels <= limits.megapixels * 1e6:
                return follow(steps[:run], io.BytesIO(content), None)
            status, why = 413, f"{pixels:,} pixels, expected at most {limits.megapixels} million"
        except UnidentifiedImageError:
            status, why = 422, f"not readable as {', '.join(formats)}"
        except Exception as error:  # a damaged picture can make Pillow raise anything
            status, why = 422, f"damaged ({' '.join(str(error).split())})"
        raise HTTPException(status, f"picture {number} ({name}): {why}")

    def likeliest(row: np.ndarray, top: int) -> list[dict[str, Any]]:
        order = np.argsort(-row, kind="stable")[:top].tolist()
        names = classes or [f"class {i}" for i in range(len(row))]
        return [{"class": names[i], "index": i, "probability": float(row[i])} for i in order]

    @app.exception_handler(ClientDisconnect)
    async def gone(*_: Any) -> Response:
        return Response()  # which nobody reads

    return app


async def in_time(work: Coroutine, seconds: float, status: int, what: str) -> Any:
    """Return the work's result; after so many seconds the work is canceled, and the request refused."""
    try:
        return await asyncio.wait_for(work, seconds)
    except asyncio.TimeoutError:
        raise HTTPException(status, f"{what} within {seconds:g} seconds") from None
    except asyncio.CancelledError:  # a second Ctrl-C does not let it end
        raise HTTPException(503, "the server stops") from None


async def unless_gone(request: Request, work: Coroutine) -> Any:
    """Return the work's result; if the client hangs up, the work is canceled."""
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(hung_up(request))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in tasks if task.done()).result()
    finally:
        for task in tasks:
            task.cancel()


async def hung_up(request: Request) -> NoReturn:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    raise ClientDisconnect


async def files_of(request: Request, limits: Namespace) -> Files:
    """Return a request's pictures: the files of a form, or the whole body."""
    bounded = Request(request.scope, bounded_receive(request, limits.megabytes))
    if request.headers.get("content-type", "").startswith("image/"):
        return [("body", await bounded.body())]
    async with bounded.form(max_files=limits.pictures) as form:
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        if not files:
            raise HTTPException(422, "no picture in the request: send files of a form, or a body of the type image/*")
        return [(file.filename or "", await file.read()) for file in files]


def bounded_receive(request: Request, megabytes: int) -> Receive:
    """Return a way to receive a request that refuses it as soon as it says, or turns out, to be too large.

    FastAPI's own max_body_size is answered in plain text if the length is declared.
    """
    received, declared = 0, int(request.headers.get("content-length", 0))

    async def receive() -> Message:
        nonlocal received
        message = await request.receive() if declared <= megabytes * 1e6 else {}
        received += len(message.get("body", b""))
        if max(received, declared) > megabytes * 1e6:
            raise HTTPException(413, f"the request is too large, expected at most {megabytes} MB")
        return message

    return receive
