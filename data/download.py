"""Download an archive: resumable, from the first address that gives it, in place only when whole and checked."""

import hashlib
import os
import time
from pathlib import Path

import requests
from tqdm import tqdm

from .dataset import DataError

ATTEMPTS = 3  # in a row that bring nothing, before an address is given up
CHUNK = 1 << 16


def md5sum(file):
    """Return the MD5 of a file, in hexadecimal."""
    with open(file, "rb") as stream:
        digest = hashlib.md5()
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def download(file, addresses, md5, pause=1.0):
    """Put the archive at `file`; what was fetched so far waits in `file`.part and is gone on with the next time.

    Args:
        file: where the whole, checked archive goes.
        addresses: tried in order.
        md5: what the archive has to have.
        pause: seconds before going on after a dropped connection.

    Raises:
        DataError: another file is in the way, no address gave the archive, or the disk refuses it.
    """
    file = Path(file)
    if not file.name:
        raise DataError(f"{str(file)!r} names no file: give the path of the archive to be")
    part = file.with_name(file.name + ".part")
    try:
        if file.exists():
            if md5sum(file) == md5:
                return
            raise DataError(f"{file} exists and is not the official archive (MD5 {md5} expected): move it away first")
        file.parent.mkdir(parents=True, exist_ok=True)
        failures = []
        for address in addresses:
            failure = _fetch_checked(address, part, md5, pause)
            if failure is None:
                os.replace(part, file)
                return
            failures.append(f"{address}: {failure}")
    except OSError as error:
        raise DataError(f"{file} cannot be written ({error}): free the place or choose another") from error
    raise DataError(
        f"no address gave {file.name} ({'; '.join(failures)}): try again later, or put the file at {file} yourself"
    )


def _fetch_checked(address, part, md5, pause):
    """Fetch one address into `part`; None when the MD5 is right, else what went wrong."""
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
        # The start may have come from elsewhere: once more, all from here.


def _fetch(address, part, pause):
    """Fetch what is missing of one address, going on after dropped connections; None, or what went wrong."""
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


def _size(part):
    return part.stat().st_size if part.exists() else 0


def _fetch_rest(address, part):
    """Append what is missing of `address` to `part`; whether it is then as long as the server says."""
    done = _size(part)
    headers = {"Range": f"bytes={done}-"} if done else {}
    with requests.get(address, headers=headers, stream=True, timeout=30) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return True  # nothing is missing, or `part` is something else: the MD5 tells
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
