"""LIST with options: which names, with which attributes (RFC 5258, RFC 5819, RFC 6154)."""

from __future__ import annotations

import pytest

from tests.unit.access.conftest import PREFIX, Server
from tests.unit.access.test_sessions import LETTER, Client

CASES = [
    # what is listed where nothing is asked for
    ('LIST "" "fruit*"', ['(\\HasChildren) "/" "fruit"', '(\\HasNoChildren) "/" "fruit/apple"']),
    ('LIST "" ("fruit" "S%")', ['(\\HasChildren) "/" "fruit"', '(\\HasNoChildren \\Sent) "/" "Sent"']),
    ('LIST "" (inbox)', ['(\\HasNoChildren) "/" "INBOX"']),
    # subscribed names, there or not
    (
        'LIST (SUBSCRIBED) "" "*e*"',
        [
            '(\\HasNoChildren \\Subscribed \\Archive) "/" "Archive"',
            '(\\HasNoChildren \\Subscribed \\Sent) "/" "Sent"',
            '(\\NonExistent \\HasNoChildren \\Subscribed) "/" "gone"',
            '(\\HasNoChildren \\Subscribed) "/" "fruit/apple"',
        ],
    ),
    (
        'LIST (SUBSCRIBED RECURSIVEMATCH) "" "f%"',
        ['(\\HasChildren) "/" "fruit" ("CHILDINFO" ("SUBSCRIBED"))'],
    ),
    ('LIST (SUBSCRIBED) "" "f%"', []),
    # special use
    (
        'LIST (SPECIAL-USE) "" "%" RETURN (SPECIAL-USE SUBSCRIBED)',
        [
            '(\\HasNoChildren \\Subscribed \\Archive) "/" "Archive"',
            '(\\HasNoChildren \\Subscribed \\Drafts) "/" "Drafts"',
            '(\\HasNoChildren \\Subscribed \\Junk) "/" "Junk"',
            '(\\HasNoChildren \\Subscribed \\Sent) "/" "Sent"',
            '(\\HasNoChildren \\Subscribed \\Trash) "/" "Trash"',
        ],
    ),
    # with the numbers of STATUS
    (
        'LIST "" "fruit%" RETURN (STATUS (MESSAGES UNSEEN SIZE))',
        [
            '(\\HasChildren) "/" "fruit"',
            f'* STATUS "fruit" (MESSAGES 1 UNSEEN 1 SIZE {len(PREFIX) + len(LETTER)})',
        ],
    ),
]


async def test_children_count_whether_or_not_they_fit_the_pattern(server: Server) -> None:
    # given the mailboxes of RFC 5258 §5, example 9
    async with Client(server) as client:
        for name in ("foo2/bar1", "foo2/bar2", "baz2/bar2", "baz2/bar22", "baz2/bar222", "eps2/mamba"):
            await client.do(f"CREATE {name}")
            await client.do(f"SUBSCRIBE {name}")
        await client.do("SUBSCRIBE eps2")
        lines = await client.do('LIST (RECURSIVEMATCH SUBSCRIBED) "" "*2"')
    assert sorted(line.removeprefix("* LIST ") for line in lines[:-1]) == [
        '(\\HasChildren \\Subscribed) "/" "eps2" ("CHILDINFO" ("SUBSCRIBED"))',
        '(\\HasChildren) "/" "foo2" ("CHILDINFO" ("SUBSCRIBED"))',
        '(\\HasNoChildren \\Subscribed) "/" "baz2/bar2"',
        '(\\HasNoChildren \\Subscribed) "/" "baz2/bar22"',
        '(\\HasNoChildren \\Subscribed) "/" "baz2/bar222"',
        '(\\HasNoChildren \\Subscribed) "/" "foo2/bar2"',
    ]


@pytest.mark.parametrize(("command", "wanted"), CASES, ids=[command for command, _ in CASES])
async def test_list(server: Server, command: str, wanted: list[str]) -> None:
    async with Client(server) as client:
        for setup in (
            "CREATE fruit/apple",
            "CREATE gone",
            "SUBSCRIBE gone",
            "SUBSCRIBE fruit/apple",
            "DELETE gone",
        ):
            assert (await client.do(setup))[-1].startswith("OK")
        await server.deliver(LETTER, "fruit")
        lines = await client.do(command)
        assert lines[-1] == "OK LIST completed"
        said = [line if line.startswith("* STATUS") else line.removeprefix("* LIST ") for line in lines[:-1]]
        assert sorted(said) == sorted(wanted)


async def test_lsub_names_the_parent_of_what_percent_hides(server: Server) -> None:
    async with Client(server) as client:
        await client.do("CREATE fruit/apple")
        await client.do("SUBSCRIBE fruit/apple")
        assert await client.do('LSUB "" "f%"') == ['* LSUB (\\Noselect) "/" "fruit"', "OK LSUB completed"]
        assert await client.do('LSUB "" "f*"') == ['* LSUB () "/" "fruit/apple"', "OK LSUB completed"]


async def test_a_parent_says_which_options_its_children_meet(server: Server) -> None:
    # RFC 5258 §3.5
    async with Client(server) as client:
        await client.do("DELETE Archive")
        await client.do("CREATE fruit/old (USE (\\Archive))")
        await client.do("SUBSCRIBE fruit/old")
        for options, criteria in (
            ("SPECIAL-USE", '"SPECIAL-USE"'),
            ("SUBSCRIBED SPECIAL-USE", '"SPECIAL-USE" "SUBSCRIBED"'),
        ):
            lines = await client.do(f'LIST ({options} RECURSIVEMATCH REMOTE) "" "f%"')
            assert lines[0] == f'* LIST (\\HasChildren) "/" "fruit" ("CHILDINFO" ({criteria}))'
