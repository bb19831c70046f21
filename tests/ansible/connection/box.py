"""Ansible's way into a box that systemd-nspawn booted on this machine.

A part of the roles' tests. ``ansible_host`` is the process id, on this machine, of the box's first process.
"""

from __future__ import annotations

import shlex
import shutil

from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
name: box
short_description: run in the namespaces of a booted container
description: Commands by nsenter(1), files by the way of /proc.
author: Bookwire developers
options:
  leader:
    description: Its first process.
    vars:
      - name: ansible_host
  pipelining:
    default: false
    type: boolean
    description: Module code is put into the box as a file.
"""


class Connection(Local):
    """Local, in other namespaces."""

    transport = "box"

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.default_user = "root"

    def _below(self, path: str) -> str:
        return f"/proc/{self.get_option('leader')}/root/{path.lstrip('/')}"

    def exec_command(
        self, cmd: str, in_data: bytes | None = None, sudoable: bool = True
    ) -> tuple[int, bytes, bytes]:
        inside = (
            f"nsenter --target={self.get_option('leader')} --mount --uts --ipc --net --pid env -i HOME=/root"
        )
        path = "LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return super().exec_command(f"{inside} {path} /bin/sh -c {shlex.quote(cmd)}", in_data, sudoable)

    def put_file(self, in_path: str, out_path: str) -> None:
        shutil.copyfile(in_path, self._below(out_path))  # Local's own would resolve the way of /proc

    def fetch_file(self, in_path: str, out_path: str) -> None:
        shutil.copyfile(self._below(in_path), out_path)
