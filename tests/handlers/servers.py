"""Real servers for the tests of sinks: on loopback, each with a directory of its own, killed and started."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import urlopen

import pytest
from ports import free_ports

PATIENCE_S = 100.0


def until(met: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
    """Waits for an event that only asking shows."""
    end = time.monotonic() + patience_s
    while not met():
        assert time.monotonic() < end, f"not within {patience_s:.0f} s: {what}"
        time.sleep(0.05)


class Server(ABC):
    """A server process, gone with its directory after a with block. Subclasses say how it is started and when
    it answers."""

    def __init__(self) -> None:
        self.dir = Path(tempfile.mkdtemp(prefix=f"bookwire-{type(self).__name__.lower()}-"))
        (self.port,) = free_ports(1)
        self.process: subprocess.Popen[bytes] | None = None
        self.as_user: dict[str, object] = {}

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether it can be used now."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        with (self.dir / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                cwd=self.dir, **self.as_user,  # type: ignore[call-overload]
            )  # fmt: skip
        until(self._up, f"{type(self).__name__} answers")

    def _up(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.dir / "log").read_text()[-3000:]
        return self.answers()

    def kill(self) -> None:
        """kill -9 of it and all its children."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


def _postgres_bin() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    path = str(found[-1]) if found else shutil.which("initdb")
    return Path(path).parent if path else None


class PostgresServer(Server):
    """A cluster of its own; PostgreSQL refuses to run as root, so root starts it as nobody."""

    def __init__(self) -> None:
        bin_dir = _postgres_bin()
        if bin_dir is None:
            pytest.skip("no PostgreSQL server here (Debian: postgresql)")
        super().__init__()
        self.bin = bin_dir
        if os.getuid() == 0:
            self.as_user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            shutil.chown(self.dir, "nobody", "nogroup")
        subprocess.run(
            [self.bin / "initdb", "-D", self.dir / "data", "-U", "bookwire", "-A", "trust", "--no-sync",
             "--locale=C.UTF-8", "-E", "UTF8"],
            check=True, capture_output=True, cwd=self.dir, **self.as_user,
        )  # fmt: skip

    @property
    def url(self) -> str:
        return f"postgresql://bookwire@127.0.0.1:{self.port}/postgres"

    def command(self) -> list[str]:
        settings = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.dir,
            "fsync": "off", "shared_buffers": "16MB",  # a killed process loses nothing of the page cache
            "dynamic_shared_memory_type": "mmap",  # in its own directory, not in /dev/shm
        }  # fmt: skip
        told = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return [str(self.bin / "postgres"), "-D", str(self.dir / "data"), *told]

    def close(self) -> None:
        """Asked to stop, so that it gives its System V segment back; a killed one leaves that."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
            self.process = None
        super().close()

    def answers(self) -> bool:
        done = subprocess.run(
            [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False
        )
        return done.returncode == 0


def jars(server: str) -> Path:
    """The directory of a JVM server's jars; skips where it or Java is not to be had."""
    where = Path(__file__).resolve().parents[2] / ".servers" / server
    if not (where / ".done").exists():
        pytest.skip(f"no {server} here (`scripts/servers` fetches it)")
    if shutil.which("java") is None:
        pytest.skip(f"no Java to run {server} with (Debian: default-jre-headless)")
    return where


class QuestdbServer(Server):
    """QuestDB with its HTTP port alone."""

    def __init__(self) -> None:
        self.jars = jars("questdb")
        super().__init__()
        (self.dir / "conf").mkdir()
        (self.dir / "conf" / "server.conf").write_text(
            f"http.bind.to=127.0.0.1:{self.port}\nhttp.min.enabled=false\nline.tcp.enabled=false\n"
            "pg.enabled=false\ntelemetry.enabled=false\nshared.worker.count=2\n"
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        main = "io.questdb/io.questdb.ServerMain"
        return ["java", "-Xmx512m", "-p", str(self.jars), "-m", main, "-d", str(self.dir)]

    def query(self, sql: str) -> list[list[Any]]:
        """Rows. Raises OSError while it is down, ValueError for what it refuses."""
        address = f"{self.url}/exec?" + urlencode({"query": sql}, quote_via=quote)
        try:
            with urlopen(address, timeout=20) as answer:
                rows: list[list[Any]] = json.load(answer)["dataset"]
        except HTTPError as error:
            raise ValueError(error.read().decode()) from error
        return rows

    def answers(self) -> bool:
        try:
            return self.query("select 1") == [[1]]
        except OSError:
            return False


class KafkaServer(Server):
    """One broker that is its own controller (KRaft)."""

    def __init__(self) -> None:
        self.jars = jars("kafka")
        super().__init__()
        (controller,) = free_ports(1)
        self.properties = self.dir / "server.properties"
        self.properties.write_text(
            "\n".join((
                "process.roles=broker,controller", "node.id=1",
                f"controller.quorum.voters=1@127.0.0.1:{controller}",
                f"listeners=PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
                f"advertised.listeners=PLAINTEXT://127.0.0.1:{self.port}",
                "controller.listener.names=CONTROLLER",
                "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
                f"log.dirs={self.dir}/data", "auto.create.topics.enable=false",
                "offsets.topic.replication.factor=1", "offsets.topic.num.partitions=1",
                "transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1",
                "transaction.state.log.num.partitions=1", "group.initial.rebalance.delay.ms=0",
            ))
        )  # fmt: skip
        subprocess.run(
            [*self._java("kafka.tools.StorageTool"), "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c",
             self.properties],
            check=True, capture_output=True,
        )  # fmt: skip

    def _java(self, main: str) -> list[str]:
        return ["java", "-Xmx512m", "-cp", f"{self.jars}/*", main]

    @property
    def servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, topic: str) -> str:
        return f"kafka://{self.servers}/{topic}"

    def command(self) -> list[str]:
        return [*self._java("kafka.Kafka"), str(self.properties)]

    def answers(self) -> bool:
        from confluent_kafka import KafkaException
        from confluent_kafka.admin import AdminClient

        client = AdminClient({"bootstrap.servers": self.servers, "log_level": 0})
        try:
            return bool(client.list_topics(timeout=2).brokers)
        except KafkaException:
            return False
