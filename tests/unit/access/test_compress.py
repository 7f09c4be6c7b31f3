"""COMPRESS: the same session, in fewer octets (RFC 4978)."""

from __future__ import annotations

import zlib

from tests.unit.access.conftest import Server
from tests.unit.access.test_sessions import Client

LETTER = b"Subject: x\r\n\r\n" + b"again and again\r\n" * 20_000


class Packed:
    """A client after COMPRESS, above the connection of another."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._packer = zlib.compressobj(6, zlib.DEFLATED, -15)
        self._unpacker = zlib.decompressobj(-15)
        self._heard = b""
        self.octets = 0

    def say(self, text: str) -> None:
        data = self._packer.compress(text.encode()) + self._packer.flush(zlib.Z_SYNC_FLUSH)
        self._client.writer.write(data)

    async def until(self, end: bytes) -> bytes:
        while end not in self._heard:
            data = await self._client.reader.read(65536)
            assert data
            self.octets += len(data)
            self._heard += self._unpacker.decompress(data)
        said, _, self._heard = self._heard.partition(end)
        return said + end


async def test_all_is_said_in_fewer_octets(server: Server) -> None:
    await server.deliver(LETTER)
    async with Client(server) as client:
        assert "COMPRESS=DEFLATE" in (await client.do("CAPABILITY"))[0].split()
        assert await client.do("COMPRESS DEFLATE") == ["OK DEFLATE active"]
        packed = Packed(client)
        packed.say("a SELECT INBOX\r\nb FETCH 1 BODY.PEEK[TEXT]\r\n")
        said = await packed.until(b"b OK FETCH completed\r\n")
        assert LETTER.partition(b"\r\n\r\n")[2] in said
        assert packed.octets < len(LETTER) / 20
        # a message may come compressed too
        message = "Subject: y\r\n\r\n" + "so it is\r\n" * 30_000
        packed.say(f"c APPEND INBOX {{{len(message)}+}}\r\n{message}\r\n")
        assert b"c OK [APPENDUID " in await packed.until(b"APPEND completed\r\n")
        # but nothing is compressed twice
        packed.say("d COMPRESS DEFLATE\r\n")
        assert await packed.until(b"\r\n") == (b"d NO [COMPRESSIONACTIVE] Compression is active already\r\n")
        # while a client idles, it is told what is new at once
        packed.say("e IDLE\r\n")
        await packed.until(b"+ idling\r\n")
        await server.deliver(LETTER)
        await packed.until(b"* 3 EXISTS\r\n")
        packed.say("DONE\r\nf UNAUTHENTICATE\r\n")
        assert b"f OK [CAPABILITY " in await packed.until(b"UNAUTHENTICATE completed\r\n")
        # RFC 8437 §3: and all is as at the beginning
        assert (await client.do("LOGIN eve secret"))[-1].startswith("OK ")
        assert await client.do("COMPRESS DEFLATE") == ["OK DEFLATE active"]
