"""SeaweedFS as a cluster has it: every object on two of three volume servers, durable before the answer.

The master, and the filer with its S3 gateway, are one each: their own redundancy is not what is tested.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.databases import KEY, SECRET, end_with_us, free_ports, left_out, s3_takes_objects, weed_program

PATIENCE = 60.0
BUCKET = "mail"
VOLUME_SERVERS = 3


class Seaweed:
    """All of it, at `address`."""

    def __init__(self, address: str) -> None:
        program = weed_program()
        if program is None:
            left_out("SeaweedFS")
        assert program is not None
        self._program = program
        self._address = address
        self._directory = Path(tempfile.mkdtemp(prefix="posthouse-s3-"))
        ports = free_ports(2 * (VOLUME_SERVERS + 3), address)
        pairs = zip(ports[::2], ports[1::2], strict=True)
        self._master, self._filer, self._s3, *self._volumes = pairs
        self.port = self._s3[0]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        try:
            self._begin()
        except BaseException:
            self.stop()
            raise

    def _begin(self) -> None:
        folder = self._folder("master")
        self._run(
            "master",
            *_ports(self._master),
            f"-mdir={folder}",
            "-peers=none",
            "-telemetry=false",
            "-volumeSizeLimitMB=64",
            "-defaultReplication=001",
        )
        for number in range(VOLUME_SERVERS):
            self.start_volume(number)
        user = {"name": KEY, "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
        config = self._directory / "s3.json"
        config.write_text(json.dumps({"identities": [user]}))
        self._run(
            "filer",
            *_ports(self._filer),
            f"-master={self._server(self._master)}",
            f"-defaultStoreDir={self._folder('filer')}",
        )
        self._run(
            "s3",
            *_ports(self._s3),
            f"-filer={self._server(self._filer)}",
            f"-config={config}",
            "-port.iceberg=0",
            "-port.lance=0",
            "-iam=false",
        )
        self._until(lambda: s3_takes_objects(self.endpoint, BUCKET))
        self._shell(f"fs.configure -locationPrefix=/buckets/{BUCKET}/ -fsync=true -replication=001 -apply")

    @property
    def endpoint(self) -> str:
        return f"http://{self._address}:{self.port}"

    def start_volume(self, number: int) -> None:
        """Start one of the volume servers, with the data that it has."""
        name = f"volume{number}"
        self._run(
            "volume",
            *_ports(self._volumes[number]),
            f"-dir={self._folder(name)}",
            f"-master={self._server(self._master)}",
            "-max=20",
            name=name,
        )

    def kill_volume(self, number: int) -> None:
        """kill -9."""
        process = self._processes.pop(f"volume{number}")
        process.kill()
        process.wait()

    def _folder(self, name: str) -> Path:
        folder = self._directory / name
        folder.mkdir(exist_ok=True)
        return folder

    def _server(self, ports: tuple[int, int]) -> str:
        return f"{self._address}:{ports[0]}.{ports[1]}"

    def _run(self, role: str, *options: str, name: str = "") -> None:
        where = [f"-ip={self._address}", f"-ip.bind={self._address}"]
        with self._log(name or role).open("ab") as log:
            self._processes[name or role] = subprocess.Popen(
                [self._program, f"-logdir={self._directory}", role, *where, *options],
                cwd=self._directory,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=end_with_us,
            )

    def _shell(self, command: str) -> None:
        master, filer = self._server(self._master), self._server(self._filer)
        done = subprocess.run(
            [self._program, f"-logdir={self._directory}", "shell", f"-master={master}", f"-filer={filer}"],
            input=f"{command}\n",
            capture_output=True,
            text=True,
            cwd=self._directory,
            timeout=PATIENCE,
            check=True,
        )
        if '"fsync"' not in done.stdout:
            raise RuntimeError(done.stdout + done.stderr)

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def _until(self, condition: object) -> None:
        assert callable(condition)
        deadline = time.monotonic() + PATIENCE
        while not condition():
            ended = [name for name, process in self._processes.items() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise RuntimeError(
                    "\n".join(self._log(name).read_text() for name in ended or self._processes)
                )
            time.sleep(0.1)

    def stop(self) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._processes.clear()
        shutil.rmtree(self._directory, ignore_errors=True)


def _ports(ports: tuple[int, int]) -> tuple[str, str]:
    return f"-port={ports[0]}", f"-port.grpc={ports[1]}"
