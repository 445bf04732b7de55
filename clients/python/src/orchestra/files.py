"""Files on their way to the master and back."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO
from urllib.parse import quote

from .errors import OrchestraError, Refused
from .models import Artifact, Artifacts, Upload, decode
from .transport import Transport, value

#: So much of a file goes into a spec; a spec holds 1 MiB of them together.
INLINE = 256 << 10
PIECE = 1 << 20


def entry(
    transport: Transport, path: Path, target: str | None, executable: bool | None
) -> dict[str, Any]:
    """A local file as a job's ``files`` have it."""
    place = target or (path.as_posix() if not path.is_absolute() else path.name)
    file: dict[str, Any] = {"path": str(PurePosixPath(place))}
    if executable if executable is not None else os.access(path, os.X_OK):
        file["executable"] = True
    if path.stat().st_size > INLINE:
        return file | {"upload": bring(transport, path).sha256}
    content = path.read_bytes()
    try:
        return file | {"text": content.decode()}
    except UnicodeDecodeError:
        return file | {"base64": base64.b64encode(content).decode()}


def bring(transport: Transport, path: Path) -> Upload:
    """Uploads a file piece by piece. Of one that is there already, one piece is sent."""
    with path.open("rb") as file:
        sha256 = _hash(file)
        offset = 0
        while True:
            file.seek(offset)
            piece = file.read(PIECE)
            try:
                upload = _put(transport, sha256, offset, piece)
            except Refused as refused:
                if refused.kind != "artifact-offset" or refused.offset is None or offset == 0:
                    raise
                offset = refused.offset
                continue
            if upload.complete:
                return upload
            if upload.bytes <= offset:
                raise OrchestraError(f"{path} changed while it was read")
            offset = upload.bytes


def _put(transport: Transport, sha256: str, offset: int, piece: bytes) -> Upload:
    headers = {"content-type": "application/octet-stream"}
    address, query = f"/api/upload/{sha256}", {"offset": offset}
    answer = transport.repeat(
        lambda: transport.send("PUT", address, query=query, data=piece, headers=headers)
    )
    return decode(Upload, value(answer))


def fetch(transport: Transport, listed: Artifacts, id: int, folder: Path) -> list[Path]:
    """Writes what a job left below a folder."""
    root = folder.resolve()
    written = []
    for artifact in listed.artifacts:
        place = (root / artifact.path).resolve()
        # The master hands out no such path; a link on this machine may lead there.
        if not place.is_relative_to(root):
            raise OrchestraError(f"{artifact.path} would be written outside of {folder}")
        place.parent.mkdir(parents=True, exist_ok=True)
        _fetch_one(transport, listed.attempt, id, artifact, place)
        written.append(place)
    return written


def _fetch_one(
    transport: Transport, attempt: int, id: int, artifact: Artifact, place: Path
) -> None:
    address = f"/api/job/{id}/artifacts/{quote(artifact.path)}"
    beside = place.with_name(f".{place.name}.part")
    sha256 = hashlib.sha256()
    try:
        query = {"attempt": attempt}
        with transport.send("GET", address, query=query, stream=True) as response:
            with beside.open("wb") as file:
                for piece in response.iter_content(PIECE):
                    sha256.update(piece)
                    file.write(piece)
        if sha256.hexdigest() != artifact.sha256:
            raise OrchestraError(f"{artifact.path} did not arrive as it was left")
        beside.chmod(0o755 if artifact.executable else 0o644)
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)


def _hash(file: BinaryIO) -> str:
    sha256 = hashlib.sha256()
    while piece := file.read(PIECE):
        sha256.update(piece)
    return sha256.hexdigest()
