"""Ansible's way into a file tree on this machine: commands by chroot, files by their path below it.

A part of the roles' tests. ``ansible_host`` is the tree; the playbook runs as root in a mount namespace of
its own, so that what is mounted there is seen by nobody else.
"""

from __future__ import annotations

import shlex

from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
name: tree
short_description: run in a file tree by chroot
description: Commands by chroot(8), files by their path below the tree.
author: Bookwire developers
options:
  tree:
    description: Path of the tree.
    vars:
      - name: ansible_host
  pipelining:
    default: false
    type: boolean
    description: Module code is put into the tree as a file.
"""


class Connection(Local):
    """Local, below another root."""

    transport = "tree"

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.default_user = "root"

    def _below(self, path: str) -> str:
        return f"{self.get_option('tree')}/{path.lstrip('/')}"

    def exec_command(
        self, cmd: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> tuple[int, bytes, bytes]:
        inside = f"chroot {shlex.quote(self.get_option('tree'))} /usr/bin/env -i HOME=/root LC_ALL=C.UTF-8 "
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return super().exec_command(f"{inside}{path} /bin/sh -c {shlex.quote(cmd)}", in_data, sudoable)

    def put_file(self, in_path: str, out_path: str) -> None:
        super().put_file(in_path, self._below(out_path))

    def fetch_file(self, in_path: str, out_path: str) -> None:
        super().fetch_file(self._below(in_path), out_path)
