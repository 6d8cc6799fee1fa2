"""Download an archive: resumable, from the first address that serves it, renamed into place once it is checked."""

import hashlib
import time
from collections.abc import Iterable
from pathlib import Path

import requests
from tqdm.auto import tqdm

from common.windows import move, remedy

from .dataset import DataError

ATTEMPTS = 3  # in a row without a byte, before the next address is tried
CHUNK = 1 << 16


def md5sum(file: str | Path) -> str:
    """Return the MD5 of a file, in hexadecimal."""
    with open(file, "rb") as stream:
        digest = hashlib.md5()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def download(file: str | Path, addresses: Iterable[str], md5: str, pause: float = 1.0) -> None:
    """Put the archive at `file`. An interrupted download waits in `file`.part, and the next call resumes it.

    Args:
        file: where the whole, checked archive goes.
        addresses: tried in order.
        md5: the expected one.
        pause: seconds to wait after a dropped connection.

    Raises:
        DataError: another file is in the way, no address served the archive, or it cannot be written.
    """
    file = Path(file)
    if not file.name:
        raise DataError(f"{str(file)!r} does not name a file: give the path of the archive to write", place=file)
    part = file.with_name(file.name + ".part")
    try:
        if file.exists():
            if md5sum(file) == md5:
                return
            raise DataError(
                f"{file} exists and is not the official archive (MD5 {md5} expected): move it away first", place=file
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        failures = []
        for address in addresses:
            failure = _fetch_checked(address, part, md5, pause)
            if failure is None:
                move(part, file)
                return
            failures.append(f"{address}: {failure}")
    except OSError as error:
        raise DataError(
            f"{file} cannot be written ({error}): {remedy(error)}, or choose another", place=file
        ) from error
    raise DataError(
        f"no address served {file.name} ({'; '.join(failures)}): try again later, or put the file at {file} yourself",
        place=file,
    )


def _fetch_checked(address: str, part: Path, md5: str, pause: float) -> str | None:
    """Fetch one address into `part`; return None if the MD5 is right, else the reason of the failure."""
    while True:
        resumed = _size(part) > 0
        failure = _fetch(address, part, pause)
        if failure:
            return failure
        found = md5sum(part)
        if found == md5:
            return None
        part.unlink()
        if not resumed:
            return f"wrong MD5 {found}"
        # The beginning may have come from another address: fetch all of it from this one.


def _fetch(address: str, part: Path, pause: float) -> str | None:
    """Fetch the missing bytes of one address, resuming after dropped connections; return None, or the reason."""
    fruitless = 0
    while True:
        before = _size(part)
        try:
            if _fetch_rest(address, part):
                return None
            failure = "the connection was dropped"
        except requests.HTTPError as error:
            return f"HTTP status {error.response.status_code}"
        except requests.RequestException as error:
            failure = type(error).__name__
        fruitless = 0 if _size(part) > before else fruitless + 1
        if fruitless == ATTEMPTS:
            return failure
        time.sleep(pause)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _fetch_rest(address: str, part: Path) -> bool:
    """Append the missing bytes of `address` to `part`; return whether it then has the length that the server gave."""
    done = _size(part)
    headers = {"Range": f"bytes={done}-"} if done else {}
    with requests.get(address, headers=headers, stream=True, timeout=30) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return True  # nothing is missing, or `part` is of another file: the MD5 will show
        answer.raise_for_status()
        if answer.status_code != requests.codes.partial_content:
            done = 0  # the server does not resume
        length = int(answer.headers.get("Content-Length", 0))
        total = done + length if length else None
        with (
            open(part, "ab" if done else "wb") as stream,
            tqdm(total=total, initial=done, unit="B", unit_scale=True, desc=part.stem) as bar,
        ):
            for chunk in answer.iter_content(CHUNK):
                stream.write(chunk)
                bar.update(len(chunk))
    return total is None or _size(part) == total
