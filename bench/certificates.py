"""A test CA and a leaf for localhost, made anew for each run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files: the leaf with its chain, its key, the CA to trust."""

    leaf: str
    key: str
    authority: str

    @classmethod
    def make(cls, directory: Path) -> Certificates:
        authority = trustme.CA()
        leaf = authority.issue_cert("localhost", "127.0.0.1")
        paths = [directory / name for name in ("certificate.pem", "key.pem", "ca.pem")]
        paths[0].write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))
        leaf.private_key_pem.write_to_path(paths[1])
        authority.cert_pem.write_to_path(paths[2])
        return cls(*map(str, paths))
