"""Files below a folder that the operator opened, and nothing else.

Every step of a path is opened relative to the one before it and never follows a symbolic link, and what is checked
is the opened file itself, so nothing can be swapped between check and use.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from scale_mcp.text import one_line
from scale_mcp.tools.card import ToolFailure

_SUPPORTED = os.open in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
_FOLDER = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_FILE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


@contextmanager
def open_below(root: Path, path: str) -> Iterator[IO[bytes]]:
    """The regular file at ``path``, which is relative to ``root`` or lies below it.

    Raises ToolFailure for anything else: a way out, a link, a folder, a device, a pipe, a file that is not there.
    """
    parts = _parts(root, path)
    with _folder(root, parts[:-1], path) as folder:
        try:
            # Without O_NONBLOCK, opening a pipe would wait for its other end.
            descriptor = os.open(parts[-1], os.O_RDONLY | os.O_NONBLOCK | _FILE, dir_fd=folder)
        except OSError as error:
            raise _failure(error, path) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ToolFailure(f"{_shown(path)} is not a regular file; nothing was read.")
    with os.fdopen(descriptor, "rb") as file:
        yield file


@contextmanager
def new_file_below(root: Path, path: str) -> Iterator[IO[bytes]]:
    """A new file at ``path`` relative to ``root``; folders on the way are made.

    It appears under its name only when it is complete. Raises ToolFailure when something is there already, and for
    any path that leads out of ``root`` or over a link.
    """
    parts = _parts(root, path)
    with _folder(root, parts[:-1], path, make=True) as folder:
        _refuse_existing(parts[-1], folder, path)
        temporary = f".{secrets.token_hex(8)}.part"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o600, dir_fd=folder)
        except OSError as error:
            raise _failure(error, path) from None
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            _publish(temporary, parts[-1], folder, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)


def check_new_file_below(root: Path, path: str) -> None:
    """Raise ToolFailure now when ``new_file_below`` would."""
    parts = _parts(root, path)
    with suppress(FileNotFoundError), _folder(root, parts[:-1], path, missing_ok=True) as folder:
        _refuse_existing(parts[-1], folder, path)


def _parts(root: Path, path: str) -> tuple[str, ...]:
    if not _SUPPORTED:
        raise ToolFailure("Local files are not available on this system.")
    if "\0" in path or PureWindowsPath(path).drive or "\\" in path:
        raise ToolFailure(f"{_shown(path)} is not a plain path; use names and `/` only.")
    pure = PurePosixPath(path)
    if pure.is_absolute():
        for known in (root, root.resolve()):
            if pure.is_relative_to(known.as_posix()):
                pure = pure.relative_to(known.as_posix())
                break
        else:
            raise ToolFailure(f"{_shown(path)} lies outside the folder that is open to tools; give a path below it.")
    if ".." in pure.parts or not pure.parts:
        raise ToolFailure(f"{_shown(path)} must name a file below the open folder, without `..`.")
    return pure.parts


@contextmanager
def _folder(
    root: Path, parts: tuple[str, ...], path: str, *, make: bool = False, missing_ok: bool = False
) -> Iterator[int]:
    """The folder that ``parts`` lead to, opened step by step."""
    try:
        folder = os.open(root.resolve(strict=True), os.O_RDONLY | _FOLDER)
    except OSError:
        raise ToolFailure("The folder that is open to tools does not exist; tell the operator.") from None
    try:
        for part in parts:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=folder)
            try:
                following = os.open(part, os.O_RDONLY | _FOLDER, dir_fd=folder)
            except OSError as error:
                if missing_ok and error.errno == errno.ENOENT:
                    raise FileNotFoundError from None
                raise _failure(error, path) from None
            os.close(folder)
            folder = following
        yield folder
    finally:
        os.close(folder)


def _refuse_existing(name: str, folder: int, path: str) -> None:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return
    raise ToolFailure(f"{_shown(path)} exists already and is not overwritten; choose another name.")


def _publish(temporary: str, name: str, folder: int, path: str) -> None:
    """Give the complete file its name, in one step and only if that is free."""
    try:
        os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise ToolFailure(f"{_shown(path)} exists already and is not overwritten; choose another name.") from None
    except OSError:  # a file system without hard links: reserve the name, then move over our own reservation
        try:
            os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FILE, 0o600, dir_fd=folder))
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as error:
            raise _failure(error, path) from None


def _failure(error: OSError, path: str) -> ToolFailure:
    match error.errno:
        case errno.ENOENT:
            return ToolFailure(f"There is no file {_shown(path)} below the open folder.")
        case errno.ELOOP | errno.EMLINK | errno.ENOTDIR:
            return ToolFailure(f"{_shown(path)} leads over a symbolic link or through a file; give the real path.")
        case errno.EISDIR:
            return ToolFailure(f"{_shown(path)} is a folder; give a file.")
        case errno.ENXIO:
            return ToolFailure(f"{_shown(path)} is not a regular file; nothing was read.")
        case _:
            return ToolFailure(f"{_shown(path)} cannot be opened: {error.strerror or type(error).__name__}.")


def _shown(path: str) -> str:
    return repr(one_line(path, 120))
