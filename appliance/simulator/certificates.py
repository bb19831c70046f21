"""A test certificate authority of the simulator's own, made at first use and kept in its state directory.

`ca.pem` is what clients trust; `ca.key` (mode 0600) never leaves the directory. The server's certificate is
issued anew at each start for localhost, 127.0.0.1, ::1 and what else the settings name.
"""

from __future__ import annotations

import datetime
import fcntl
import os
import ssl
from pathlib import Path

import trustme
from cryptography import x509

NAMES = ("localhost", "127.0.0.1", "::1")
_RENEW_BEFORE = datetime.timedelta(days=30)


def open_authority(state_dir: Path) -> tuple[trustme.CA, Path]:
    """The authority of `state_dir` and the path of its certificate; made when absent or nearly expired.

    Several simulators may start at once on one directory: a lock file lets one of them make it.
    Raises OSError when the directory cannot be written.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate_file, key_file = state_dir / "ca.pem", state_dir / "ca.key"
    with (state_dir / "ca.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if certificate_file.exists() and key_file.exists() and not _expiring(certificate_file.read_bytes()):
            return trustme.CA.from_pem(certificate_file.read_bytes(), key_file.read_bytes()), certificate_file
        authority = trustme.CA(organization_name="Bookwire simulator", organization_unit_name="test only")
        _write(key_file, authority.private_key_pem.bytes(), 0o600)
        _write(certificate_file, authority.cert_pem.bytes(), 0o644)
        return authority, certificate_file


def server_context(authority: trustme.CA, names: tuple[str, ...] = ()) -> ssl.SSLContext:
    """A TLS 1.2/1.3 server context with a fresh certificate for the local names and `names`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    authority.issue_cert(*NAMES, *names).configure_cert(context)
    return context


def _expiring(pem: bytes) -> bool:
    end = x509.load_pem_x509_certificate(pem).not_valid_after_utc
    return end < datetime.datetime.now(datetime.UTC) + _RENEW_BEFORE


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by others for a moment."""
    temporary = path.with_suffix(".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(content)
    temporary.replace(path)
