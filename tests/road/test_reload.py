"""SIGHUP: new sessions go by the new configuration; those that stand go on as they began."""

from __future__ import annotations

import json
from pathlib import Path

from tests.servers import ServeProcess, until


def rewrite(server: ServeProcess, old: str, new: str) -> None:
    text = server.config_path.read_text()
    assert old in text
    server.config_path.write_text(text.replace(old, new))
    server.reload()


def size_limit(server: ServeProcess) -> str:
    with server.smtp() as client:
        client.ehlo()
        return client.esmtp_features["size"]


def test_new_rules_hold_for_new_sessions_and_drop_nobody(tmp_path: Path) -> None:
    # Given a session in the middle of a letter
    with ServeProcess(tmp_path, {"smtp": {"message_size_limit": "3MB"}}) as server:
        assert size_limit(server) == "3000000"
        standing = server.smtp()
        standing.ehlo()
        standing.mail("x@east.test")
        assert standing.rcpt("alice@north.test")[0] == 250

        # When the configuration changes
        rewrite(server, "3MB", "4MB")
        until(
            lambda: [size_limit(server) for _ in range(8)] == ["4000000"] * 8,
            what="the new limit, in all workers",
        )

        # Then it ends well, by its own rules
        assert standing.data(b"Subject: x\r\n\r\nhello\r\n")[0] == 250
        assert standing.esmtp_features["size"] == "3000000"
        standing.quit()


def test_a_wrong_configuration_changes_nothing(tmp_path: Path) -> None:
    with ServeProcess(tmp_path, {"smtp": {"message_size_limit": "3MB"}}) as server:
        assert size_limit(server) == "3000000"
        rewrite(server, '"3MB"', '"three"')
        until(lambda: "cannot reload" in server.log, what="the complaint")

        assert size_limit(server) == "3000000"


def test_what_needs_a_restart_is_said(tmp_path: Path) -> None:
    with ServeProcess(tmp_path, {"smtp": {"message_size_limit": "3MB"}, "workers": 1}) as server:
        assert size_limit(server) == "3000000"
        rewrite(server, "workers = 1", "workers = 2")
        until(lambda: "takes a restart" in server.log, what="the warning")

        said = [json.loads(line) for line in server.log.splitlines() if "takes a restart" in line]
        assert said[0]["keys"] == "workers"
        assert len(server.workers()) == 1


def test_a_worker_that_is_restarted_goes_by_the_new_rules_too(tmp_path: Path) -> None:
    with ServeProcess(tmp_path, {"smtp": {"message_size_limit": "3MB"}, "workers": 1}) as server:
        rewrite(server, "3MB", "4MB")
        until(lambda: size_limit(server) == "4000000", what="the new limit")

        server.kill_worker()

        assert size_limit(server) == "4000000"
