"""Keys: made once, kept as a checksum, good until they expire or are revoked; tokens and signatures that hold."""

import hashlib
import json
import stat
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from packshot.cli import serve as cli
from packshot.core.errors import PackshotError, UsageError
from packshot.jobs.database import keys as table
from packshot.jobs.database import now, writing
from packshot.jobs.delivery import check_signature, sign, webhook_secret
from packshot.jobs.keys import KEY, Keys
from packshot.jobs.records import NotFound
from packshot.jobs.settings import StudioSettings
from packshot.server.limits import Buckets
from packshot.server.signing import SECRET_FILE, Signer


@pytest.fixture
def settings(tmp_path: Path) -> StudioSettings:
    return StudioSettings(home=tmp_path / "studio")


@pytest.fixture
def keys(settings: StudioSettings) -> Keys:
    return Keys(settings)


def test_a_key_is_known_by_its_secret_and_only_its_checksum_is_kept(keys: Keys, settings: StudioSettings) -> None:
    made = keys.add("till", tenant="shoes", scopes=("read", "edit", "read"), rate=60)
    match = KEY.fullmatch(made.secret)
    assert match is not None
    assert keys.check(made.secret) == made.key
    assert (made.key.tenant, made.key.scopes, made.key.rate) == ("shoes", ("read", "edit"), 60)
    secret = match[2]
    for file in settings.place.rglob("*"):
        assert not file.is_file() or secret.encode() not in file.read_bytes()
    with keys._engine.connect() as connection:
        assert connection.execute(sa.select(table.c.hash)).scalar() == hashlib.sha256(secret.encode()).hexdigest()


def test_what_is_nearly_a_key_is_none(keys: Keys) -> None:
    secret = keys.add("till", tenant="shoes").secret
    other = keys.add("other", tenant="hats").secret
    wrong = [
        "",
        secret[:-1],
        secret + "A",
        secret.replace("pk_", "sk_"),
        secret[:16] + other[16:],
        secret[:-1] + ("A" if secret[-1] != "A" else "B"),
        f" {secret}",
        f"{secret}\n",
        "pk_000000000000_" + "A" * 43,
        "pk_" + "0" * 100_000,
    ]
    assert [keys.check(text) for text in wrong] == [None] * len(wrong)
    assert keys.check(secret) is not None


@given(st.text(max_size=80))
def test_no_text_opens_anything(text: str) -> None:
    assert KEY.fullmatch(text) is None


def test_revoked_and_expired_keys_open_nothing(keys: Keys) -> None:
    first, second = keys.add("a", tenant="shoes"), keys.add("b", tenant="shoes", days=1)
    assert keys.check(second.secret) == second.key
    gone = keys.revoke(first.key.id)
    assert gone.revoked is not None
    assert not gone.opens
    assert keys.check(first.secret) is None
    assert keys.revoke(first.key.id) == gone
    with writing(keys._engine) as connection:
        connection.execute(sa.update(table).values(expires=now() - timedelta(seconds=1)))
    assert keys.check(second.secret) is None
    assert [k.id for k in keys.all()] == [first.key.id, second.key.id]
    assert keys.all("hats") == []
    with pytest.raises(NotFound, match="no key ffff"):
        keys.revoke("ffff")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"scopes": ("reed",)}, "Did you mean 'read'"),
        ({"scopes": ()}, "at least one scope"),
        ({"tenant": "Shoes & Co"}, "no name of a tenant"),
        ({"tenant": "../shoes"}, "no name of a tenant"),
        ({"tenant": ""}, "no name of a tenant"),
        ({"rate": 0}, "requests a minute"),
        ({"days": 0}, "above 0"),
        ({"name": " "}, "name"),
        ({"name": "a\x1b[31m"}, "name"),
    ],
)
def test_bad_keys_are_not_made(keys: Keys, change: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        keys.add(**{"name": "till", "tenant": "shoes", **change})  # type: ignore[arg-type]
    assert keys.all() == []


def test_the_commands(settings: StudioSettings) -> None:
    def run(*words: str) -> dict[str, object]:
        done = CliRunner().invoke(cli.keys, [*words, "--set", f"home={settings.place}", "--json"], obj=["--json"])
        assert done.exit_code == 0, done.output
        out: dict[str, object] = json.loads(done.output)
        return out

    made = run("add", "till", "--tenant", "shoes", "--scope", "edit", "--scope", "read", "--rate", "60")
    assert (made["scopes"], made["rate"], made["good"]) == (["edit", "read"], 60, True)
    assert Keys(settings).check(str(made["secret"])) is not None
    listed = run("list")
    assert str(made["secret"]) not in json.dumps(listed)
    assert [k["id"] for k in listed["keys"]] == [made["id"]]  # type: ignore[attr-defined]
    assert run("revoke", str(made["id"]))["good"] is False
    assert Keys(settings).check(str(made["secret"])) is None
    plain = CliRunner().invoke(cli.keys, ["list", "--set", f"home={settings.place}"])
    assert "revoked  shoes  till: edit, read; 60 requests a minute" in plain.output
    assert run("webhook-secret", "--tenant", "shoes")["secret"] == webhook_secret(settings.place, "shoes")


def test_tokens_are_for_one_purpose_and_one_time(tmp_path: Path) -> None:
    signer = Signer(tmp_path)
    token = signer.sign("login", {"key": 7}, 60)
    assert signer.read("login", token) == {"key": 7}
    assert Signer(tmp_path).read("login", token) == {"key": 7}  # Another server of the same studio.
    assert stat.S_IMODE((tmp_path / SECRET_FILE).stat().st_mode) == 0o600
    assert signer.read("style", token) is None
    assert signer.read("login", signer.sign("login", 1, -1)) is None
    assert Signer(tmp_path / "other").read("login", token) is None
    body, _, mac = token.partition(".")
    for wrong in ("", ".", token[:-1], f"{body}x.{mac}", f"{body}.", f"{body}.{mac}=", "é" + token, token * 100):
        assert signer.read("login", wrong) is None


def test_no_text_is_a_token(tmp_path: Path) -> None:
    signer = Signer(tmp_path)

    @given(st.text(max_size=200))
    def check(text: str) -> None:
        assert signer.read("login", text) is None

    check()


def test_a_damaged_secret_is_not_used(tmp_path: Path) -> None:
    (tmp_path / SECRET_FILE).write_bytes(b"short")
    with pytest.raises(PackshotError, match="damaged"):
        Signer(tmp_path)


def test_webhooks_are_signed_for_one_tenant(tmp_path: Path) -> None:
    shoes, hats = webhook_secret(tmp_path, "shoes"), webhook_secret(tmp_path, "hats")
    assert shoes == webhook_secret(tmp_path, "shoes") != hats
    body, at = b'{"type":"job.done"}', int(time.time())
    header = sign(shoes, body, at)
    assert check_signature(shoes, body, header)
    assert not check_signature(hats, body, header)
    assert not check_signature(shoes, body + b" ", header)
    assert not check_signature(shoes, body, header.replace(str(at), str(at + 1)))
    assert not check_signature(shoes, body, sign(shoes, body, at - 301))
    assert check_signature(shoes, body, sign(shoes, body, at - 301), tolerance=400)
    for wrong in ("", "t=", "v1=abc", f"t={at}", "t=x,v1=y"):
        assert not check_signature(shoes, body, wrong)


def test_a_bucket_gives_its_rate_and_no_more() -> None:
    time_now = [0.0]
    buckets = Buckets(lambda: time_now[0])
    assert [buckets.take("a", 3) for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a", 3) == pytest.approx(20)
    assert buckets.take("b", 3) == 0
    time_now[0] = 20.0
    assert buckets.take("a", 3) == 0
    assert buckets.take("a", 3) > 0
    time_now[0] = 1e6
    assert [buckets.take("a", 3) > 0 for _ in range(4)] == [False, False, False, True]


@given(st.lists(st.floats(0, 10), max_size=60), st.integers(1, 600))
def test_never_more_than_the_rate_and_one_bucket(steps: list[float], rate: int) -> None:
    at, taken = 0.0, 0
    clock = [0.0]
    buckets = Buckets(lambda: clock[0])
    for step in steps:
        at += step
        clock[0] = at
        taken += buckets.take("a", rate) == 0
    assert taken <= rate + at * rate / 60 + 1e-6


def test_a_key_is_frozen(keys: Keys) -> None:
    key = keys.add("till", tenant="shoes").key
    assert replace(key, revoked=now()).opens is False
