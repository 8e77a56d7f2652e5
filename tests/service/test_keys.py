"""API keys: what is stored of them, which are valid, and how soon a revoked one is refused."""

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from riskmodel.errors import BadInput
from riskmodel.home import Home
from service.http import keys
from service.http.keys import Key, Keyring, KeysUnread
from service.store.database import Store
from service.store.tables import keys as table

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
KEY = r"vigie_[0-9a-f]{8}_[0-9a-f]{64}"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def find(ring: Keyring, text: str) -> Key | None:
    """What a worker does for a request with a key."""
    if not ring.is_current:
        ring.read()
    return ring.find(text)


@pytest.fixture
def store(home: Home) -> Store:
    return Store.of(home)


def test_only_prefix_and_digest_of_a_key_are_stored(store: Store, home: Home) -> None:
    made = keys.add(store, "read", "a newsroom", NOW)
    assert re.fullmatch(KEY, made)
    prefix, secret = made.split("_")[1:]
    (row,) = keys.list_keys(store)
    assert (row.prefix, row.scope, row.label, row.created_at, row.revoked_at) == (
        prefix,
        "read",
        "a newsroom",
        NOW,
        None,
    )
    assert row.digest == hashlib.sha256(secret.encode()).hexdigest()
    assert len(bytes.fromhex(secret)) * 8 == 256
    store.engine.dispose()
    assert all(secret.encode() not in file.read_bytes() for file in home.root.rglob("*") if file.is_file())


def test_a_key_is_recognised_only_in_full(store: Store) -> None:
    made, other = keys.add(store, "write", "a", NOW), keys.add(store, "read", "b", NOW)
    ring = Keyring(store)
    prefix, secret = made.split("_")[1:]
    assert find(ring, made) == Key(prefix, "write")
    assert find(ring, other) == Key(other.split("_")[1], "read")
    wrong = (
        *(made[:-1], made + "0", made.upper(), made.removeprefix("vigie_"), f"vigie_{prefix}_", f"vigie_{prefix}", ""),
        *(
            f"vigie_{prefix}_{other.split('_')[2]}",
            f"vigie__{secret}",
            f"vigie_00000000_{secret}",
            "vigie",
            "é\udcff\0",
        ),
        f"vigie_{prefix}_{hashlib.sha256(secret.encode()).hexdigest()}",
    )
    assert [text for text in wrong if find(ring, text) is not None] == []


def test_secrets_are_compared_in_constant_time_for_known_and_unknown_prefixes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, compared = keys.add(store, "read", "a", NOW), []

    def compare(one: str, other: str) -> bool:
        compared.append((len(one), len(other)))
        return one == other

    monkeypatch.setattr(keys.hmac, "compare_digest", compare)
    ring = Keyring(store)
    for text in (made, made[:-1] + "x", "vigie_00000000_" + "0" * 64, "nonsense"):
        find(ring, text)
    assert compared == [(64, 64)] * 4


def test_a_revoked_key_is_refused_within_a_second(store: Store) -> None:
    made, clock = keys.add(store, "read", "a", NOW), Clock()
    ring = Keyring(store, clock)
    assert find(ring, made)
    keys.revoke(store, made.split("_")[1], NOW)
    clock.now = 1.0
    assert find(ring, made) is None
    later = keys.add(store, "read", "b", NOW)
    clock.now = 2.0
    assert find(ring, later)
    with pytest.raises(BadInput, match="no valid key has the prefix"):
        keys.revoke(store, made.split("_")[1], NOW)


def test_the_database_is_not_read_for_each_request(store: Store) -> None:
    made, clock = keys.add(store, "read", "a", NOW), Clock()
    statements = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    ring = Keyring(store, clock)
    for text in [made, "vigie_00000000_0"] * 50:
        find(ring, text)
    assert sum("FROM keys" in statement for statement in statements) == 1


def test_keys_stay_valid_while_the_database_does_not_answer(store: Store) -> None:
    made, clock = keys.add(store, "read", "a", NOW), Clock()
    ring, late = Keyring(store, clock), Keyring(store, clock)
    assert find(ring, made)
    with store.writing() as connection:
        connection.execute(sa.text("ALTER TABLE keys RENAME TO lost"))
    clock.now = 9.0
    assert find(ring, made)
    with pytest.raises(sa.exc.SQLAlchemyError):
        find(late, made)
    with store.writing() as connection:
        connection.execute(sa.text("ALTER TABLE lost RENAME TO keys"))
        connection.execute(sa.update(table).values(revoked_at=NOW))
    clock.now = 18.0
    assert find(ring, made) is None


def test_a_key_is_found_without_waiting_for_the_database(store: Store) -> None:
    made, clock = keys.add(store, "read", "a", NOW), Clock()
    ring = Keyring(store, clock)
    with pytest.raises(KeysUnread):
        ring.find(made)
    ring.read()
    statements: list[str] = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    clock.now = 99.0
    assert (ring.is_current, ring.find(made)) == (False, Key(made.split("_")[1], "read"))
    assert statements == []


def test_keys_are_made_listed_and_revoked_by_command(home: Home, vigie: Callable[..., Any], tmp_path: Path) -> None:
    assert vigie("keys", "list").out == "there are no keys: make one with vigie keys add\n"
    made = vigie("keys", "add", "--scope", "write", "--label", "the duty officer")
    assert re.fullmatch(f"{KEY}\n", made.out), "standard output is the key alone, so that a script can use it"
    prefix, secret = made.out.strip().split("_")[1:]
    listed = vigie("keys", "list").out
    assert listed.startswith(f"{prefix} write the duty officer: made 20")
    assert "revoked" not in listed
    assert vigie("keys", "revoke", prefix).code == 0
    listed = vigie("keys", "list")
    assert ", revoked 20" in listed.out
    assert secret not in listed.out + listed.err
    again = vigie("keys", "revoke", prefix)
    assert (again.code, "no valid key has the prefix" in again.err) == (3, True)
    assert vigie("keys", "add", "--scope", "read", "--label", " ").code == 3
    assert vigie("keys", "add", "--scope", "all", "--label", "x").code == 2
