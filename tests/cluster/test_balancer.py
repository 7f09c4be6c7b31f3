"""haproxy in front of the hosts, as docs/scale.md sets it up: the very configuration that stands there."""

from __future__ import annotations

import imaplib
import re
import smtplib
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster
from tests.databases import end_with_us, free_ports
from tests.servers import PASSWORD, until

pytestmark = pytest.mark.timeout(300)
PAGE = Path(__file__).parents[2] / "docs" / "scale.md"
LISTENERS = {"25": "smtp", "465": "submissions", "993": "imaps"}
PATIENCE = 10.0


def configuration(cluster: Cluster, ports: dict[str, int]) -> str:
    """The page's, with the addresses of these hosts, and content with few descriptors."""
    text = re.findall(r"```haproxy\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    network = cluster.network

    def server(found: re.Match[str]) -> str:
        host, port = cluster.hosts[int(found[1]) - 11].address(LISTENERS[found[2]])
        return f"{host}:{port}"

    text = re.sub(r"192\.0\.2\.(1[123]):(\d+)", server, text)
    text = re.sub(r"maxconn \d+", "maxconn 100", text)
    text = re.sub(r"bind :(\d+)", lambda found: f"bind {network.balancer}:{ports[found[1]]}", text)
    return text.replace("defaults\n", f"defaults\n    source {network.balancer}\n")


@pytest.fixture
def balancer(cluster: Cluster, tmp_path: Path) -> Iterator[dict[str, tuple[str, int]]]:
    """Where it listens, by listener."""
    address = cluster.network.balancer
    ports = dict(zip(LISTENERS, free_ports(len(LISTENERS), address), strict=True))
    config = tmp_path / "haproxy.cfg"
    config.write_text(configuration(cluster, ports))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["haproxy", "-db", "-f", config], stdout=log, stderr=log, preexec_fn=end_with_us
        )
    try:
        yield {LISTENERS[name]: (address, port) for name, port in ports.items()}
    finally:
        process.terminate()
        process.wait(PATIENCE)


def sends(cluster: Cluster, balancer: dict[str, tuple[str, int]], letter: bytes = b"") -> bool:
    """Whether a letter is answered 250; which host it reaches is the balancer's choice."""
    source = (cluster.network.address, 0)
    try:
        with smtplib.SMTP(*balancer["smtp"], "client.test", PATIENCE, source) as client:
            client.sendmail("x@east.test", ["a9@north.test"], letter or b"Subject: balanced\r\n\r\n")
    except (OSError, smtplib.SMTPException):
        return False
    return True


def received(balancer: dict[str, tuple[str, int]]) -> bytes:
    """The trace of the first letter, read by IMAP; nothing while a host has not yet found its database."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # these hosts sign for themselves
    try:
        client = imaplib.IMAP4_SSL(*balancer["imaps"], ssl_context=context, timeout=PATIENCE / 4)
        try:
            client.login("a9@north.test", PASSWORD)
            client.select("INBOX")
            _, answer = client.fetch("1", "(BODY.PEEK[HEADER.FIELDS (RECEIVED)])")
            return bytes(answer[0][1])
        finally:
            client.shutdown()  # a LOGOUT that fails would leave the socket open
    except (OSError, imaplib.IMAP4.error):
        return b""


@pytest.mark.debian("haproxy")
def test_clients_keep_their_addresses_and_notice_no_host_that_dies(cluster: Cluster, balancer) -> None:
    # Given clients that know only the balancer, when they send and read,
    until(lambda: sends(cluster, balancer), what="the balancer")
    trace = until(lambda: received(balancer), what="a mailbox")
    # then the hosts know who they are,
    assert f"[{cluster.network.address}]".encode() in trace
    assert cluster.network.balancer.encode() not in trace
    # and when a host dies, then after a moment nobody notices.
    cluster.hosts[1].kill()
    in_a_row = 0
    while in_a_row < 2 * len(cluster.hosts):
        in_a_row = in_a_row + 1 if sends(cluster, balancer) else 0
    cluster.hosts[1].start()
