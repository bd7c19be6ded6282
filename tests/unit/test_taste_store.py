"""Events into a store: joined, pseudonymised, filtered, counted; and a shopper out of it."""

import json
import shutil
import stat
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packshot.catalog.dataset import Catalog
from packshot.core.errors import PackshotError, UsageError
from packshot.taste.forget import forget_user
from packshot.taste.ingest import COUNTED, Ingested, IngestSettings, ingest_events, parse_consent
from packshot.taste.interactions import WEIGHTS
from packshot.taste.keys import key_path, pseudonym, read_key
from packshot.taste.products import read_products
from packshot.taste.rules import Rules, find_bots, find_doubles
from packshot.taste.store import open_store
from packshot.taste.times import DAY_MS
from tests.shoppers import write_shop

KEY = b"0123456789abcdef0123456789abcdef"
NOW = 1_735_689_600_000  # 1 January 2025
BOTH = IngestSettings(consent="rank,personalise")
Row = tuple[str, str, str, object]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    return write_shop(tmp_path_factory.mktemp("shop"))


def put(tmp_path: Path, shop: Catalog, rows: list[Row], settings: IngestSettings = BOTH, header: str = "") -> Ingested:
    path = tmp_path / "events.csv"
    lines = [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join([header or "user,product,kind,time", *lines]) + "\n")
    return ingest_events([path], shop, tmp_path / "store", KEY, settings, now=NOW)


def history(tmp_path: Path, user: str) -> list[tuple[str, str, int]]:
    return [tuple(e) for e in open_store(tmp_path / "store").history(pseudonym(KEY, user))]


def test_names_of_products(shop: Catalog) -> None:
    products = read_products(shop)
    assert len(products.rows) == 12
    first = products.rows[products.number["sku-00"]]
    assert first.name == "sku-00" and len(first.photos) == 2 and first.price == 9.9
    alone = products.rows[-1]
    assert alone.name == alone.photos[0]
    for name in (alone.key, alone.key.removesuffix(".png"), alone.name):
        assert products.number[name] == 11


def test_what_is_left_out_is_counted_by_the_first_reason(tmp_path: Path, shop: Catalog) -> None:
    hour = 3_600_000
    rows: list[Row] = [
        ("ann", "sku-01", "view", NOW - 5 * hour),
        ("ann", "sku-01", "view", NOW - 5 * hour + 1500),  # A double click,
        ("ann", "sku-01", "view", NOW - 5 * hour + 3000),  # and one more in the same row of clicks.
        ("ann", "sku-01", "cart", NOW - 5 * hour + 3000),
        ("ann", "10", "purchase", NOW + hour),  # A clock that goes ahead.
        ("ann", "sku-02", "view", NOW + 2 * DAY_MS),
        ("ann", "sku-02", "view", "1970-01-01"),
        ("ann", "sku-99", "view", NOW),
        ("ann", "sku-02", "gazed", NOW),
        ("ann", "sku-02", "view", "soon"),
        ("", "sku-02", "view", NOW),
        ("ann", "", "view", NOW),
    ]
    result = put(tmp_path, shop, rows)
    expected = {"rows": 12, "added": 3, "double_clicks": 2, "clamped": 1, "future": 1, "before_2000": 1}
    expected |= {"unknown_product": 1, "unknown_kind": 1, "damaged": 3}
    assert result.counts == {name: expected.get(name, 0) for name in COUNTED}
    assert history(tmp_path, "ann") == [
        ("sku-01", "view", NOW - 5 * hour),
        ("sku-01", "cart", NOW - 5 * hour + 3000),
        ("sku-10", "purchase", NOW + hour),
    ]
    again = put(tmp_path, shop, [*rows, rows[4]])  # What is dated ahead is not new each time.
    assert (again.counts["added"], again.counts["already_there"], again.counts["double_clicks"]) == (0, 3, 3)
    counts = result.counts
    assert counts["rows"] == sum(n for name, n in counts.items() if name not in ("rows", "clamped", "withdrawn"))


def test_rows_that_are_left_out_are_told_by_their_lines_and_never_by_their_shoppers(
    tmp_path: Path, shop: Catalog
) -> None:
    rows: list[Row] = [("secret", "sku-01", "view", NOW - i * 60_000) for i in range(20)]
    rows[3] = ("secret", "sku-01", "view", "1 May")
    rows[5] = ("secret", "sku-77", "view", NOW)
    rows[6:8] = [("secret", "sku-01", "gazed", NOW), ("", "", "view", NOW)]
    rows[9] = ("secret", "sku-01", "view", f"{NOW},secret")
    rows[12:17] = [("secret", "x" * 50 + str(i), "view", NOW) for i in range(5)]
    result = put(tmp_path, shop, rows)
    assert result.columns == {name: [name] for name in ("user", "product", "kind", "time")}
    assert {(e.reason, e.line, e.said) for e in result.examples} == {
        ("damaged", 11, "it has 5 columns, the first line 4"),
        ("damaged", 5, "the time '1 May' cannot be read"),
        ("damaged", 9, "it has no user and no product"),
        ("unknown_kind", 8, "the kind 'gazed'"),
        ("unknown_product", 7, "the product 'sku-77'"),
        ("unknown_product", 14, f"the product '{'x' * 40}...'"),
    }
    assert {e.file for e in result.examples} == {"events.csv"} and "secret" not in str(result.examples)
    assert result.counts["damaged"] == 3 and result.counts["unknown_product"] == 6
    store = (tmp_path / "store/store.json").read_text()
    assert "sku-77" not in store and "events.csv" not in store


def test_what_is_old_still_happened(tmp_path: Path, shop: Catalog) -> None:
    rows: list[Row] = [("old", "sku-01", "purchase", NOW - 3000 * DAY_MS), ("new", "sku-02", "view", NOW)]
    rows += [("both", "sku-03", "purchase", NOW - 900 * DAY_MS), ("both", "sku-03", "return", NOW - 900 * DAY_MS)]
    put(tmp_path, shop, rows)
    for half_life in (0.1, 30.0):
        found = open_store(tmp_path / "store").interactions(half_life_days=half_life)
        row = found.matrix[found.user_rows[pseudonym(KEY, "old")]].toarray()[0]
        assert row[found.item_columns["sku-01"]] == pytest.approx(5 * 0.5**30) and (row != 0).sum() == 1
        assert found.positive.nnz == 2  # A purchase that comes back counts nothing.


def test_the_same_file_twice_changes_nothing_and_another_adds(tmp_path: Path, shop: Catalog) -> None:
    rows: list[Row] = [(f"u{i % 40}", f"sku-{i % 10:02d}", "view", NOW - i * 60_000) for i in range(400)]
    rows += [(u, p, k, t + 900) for u, p, k, t in rows[:50]]
    first = put(tmp_path, shop, rows)
    before = {p.name.split("-")[1]: p.read_bytes() for p in open_store(tmp_path / "store").parts}
    again = put(tmp_path, shop, rows)
    assert first.counts["added"] == again.events == 400
    assert again.counts["added"] == 0 and again.counts["already_there"] + again.counts["double_clicks"] == 450
    assert {p.name.split("-")[1]: p.read_bytes() for p in open_store(tmp_path / "store").parts} == before
    more = put(tmp_path, shop, [("u0", "sku-03", "purchase", NOW), ("new", "sku-03", "view", NOW)])
    assert (more.counts["added"], more.events, more.shoppers) == (2, 402, 41)
    times = [t for _, _, t in history(tmp_path, "u0")]
    assert times == sorted(times) and times[-1] == NOW


def test_bots_go_and_stay_away(tmp_path: Path, shop: Catalog) -> None:
    fast: list[Row] = [("bot", f"sku-{i % 10:02d}", "view", NOW - 300_000 + i * 900) for i in range(301)]
    keen: list[Row] = [("keen", f"sku-{i % 10:02d}", "view", NOW - 302_000 + i * 1000) for i in range(301)]
    busy: list[Row] = [("busy", f"sku-{i % 10:02d}", "view", NOW - 2001 * 40_000 + i * 40_000) for i in range(2001)]
    result = put(tmp_path, shop, fast + keen + busy)
    assert result.counts["of_bots"] == 301 + 2001 and result.counts["added"] == 301 and result.bots == 2
    again = put(tmp_path, shop, [("bot", "sku-01", "purchase", NOW)])
    assert again.counts["of_bots"] == 1 and not history(tmp_path, "bot")


def test_consent(tmp_path: Path, shop: Catalog) -> None:
    rows = [
        ("ann", "sku-01", "view", NOW - 3000, "rank"),
        ("ann", "sku-02", "view", NOW - 1000, ""),
        ("bob", "sku-01", "view", NOW - 3000, "none"),
        ("cat", "sku-01", "view", NOW - 3000, "rank personalise"),
        ("dan", "sku-01", "view", NOW - 3000, ""),
        ("eve", "sku-01", "view", NOW - 9000, "all"),
        ("eve", "sku-02", "view", NOW - 5000, "none"),  # The later word counts.
    ]
    header = "user,product,kind,time,consent"
    result = put(tmp_path, shop, rows, IngestSettings(), header)
    assert result.counts["no_consent"] == 4 and result.counts["added"] == 3
    store = open_store(tmp_path / "store")
    ann, cat = pseudonym(KEY, "ann"), pseudonym(KEY, "cat")
    assert store.interactions(use="rank").users == sorted([ann, cat])
    assert store.interactions(use="personalise").users == [cat]
    (tmp_path / "said.csv").write_text("customer,consent\ncat,none\ndan,rank\n")
    later = IngestSettings(consent="all", consent_file=tmp_path / "said.csv")
    result = put(tmp_path, shop, rows, later, header)
    assert result.counts["withdrawn"] == 1 and not history(tmp_path, "cat")
    assert history(tmp_path, "dan") and not history(tmp_path, "bob")
    with pytest.raises(UsageError, match=r"Unknown consent 'rnak'\. Did you mean 'rank'"):
        put(tmp_path, shop, rows, IngestSettings(consent="rnak"), header)
    assert [parse_consent(t) for t in ("", "none", "rank;none", "Personalize", "yes", "maybe")] == [0, 0, 0, 2, 3, 0]
    assert [parse_consent(t) for t in ("rank=1,personalise=0", "rank: yes", "not personalise")] == [0, 1, 0]


def test_a_consent_that_ended_does_not_come_back_with_an_older_file(tmp_path: Path, shop: Catalog) -> None:
    header = "user,product,kind,time,consent"
    first: list[Row] = [("ann", "sku-01", "view", f"{NOW - 9 * DAY_MS},all"), ("bob", "sku-01", "view", f"{NOW - 9},")]
    assert put(tmp_path, shop, first, BOTH, header).counts["added"] == 2
    withdrawn = put(tmp_path, shop, [("ann", "sku-02", "view", f"{NOW - DAY_MS},none")], BOTH, header)
    assert withdrawn.counts["withdrawn"] == 1 and not history(tmp_path, "ann")
    again = put(tmp_path, shop, first, BOTH, header)
    assert (again.counts["no_consent"], again.counts["already_there"]) == (1, 1) and not history(tmp_path, "ann")
    # What a file of consents says, it says now; a later row counts after it.
    (tmp_path / "said.csv").write_text("user,consent\nbob,none\nann,rank\n")
    put(tmp_path, shop, first, IngestSettings(consent="all", consent_file=tmp_path / "said.csv"), header)
    assert history(tmp_path, "ann") and not history(tmp_path, "bob")
    put(tmp_path, shop, [("bob", "sku-01", "view", f"{NOW - 1},all")], BOTH, header)
    assert not history(tmp_path, "bob")
    put(tmp_path, shop, [("bob", "sku-01", "view", f"{NOW + 1},all")], BOTH, header)
    assert history(tmp_path, "bob")


def test_interactions_are_the_sum_by_hand(tmp_path: Path, shop: Catalog) -> None:
    rng = np.random.default_rng(3)
    kinds = list(WEIGHTS)
    rows: list[Row] = [
        (f"u{rng.integers(9)}", f"sku-{rng.integers(8):02d}", kinds[rng.integers(5)], NOW - i * 5_000_000)
        for i in range(200)
    ]
    put(tmp_path, shop, rows)
    store = open_store(tmp_path / "store")
    at, names = NOW - 20 * 5_000_000, [f"sku-{i:02d}" for i in range(6)]
    found = store.interactions(at, 10, {"view": 2.0}, items=names)
    expected: dict[tuple[str, str], float] = defaultdict(float)
    for user, product, kind, time in rows:
        if product in names and time <= at:
            value = {**WEIGHTS, "view": 2.0}[kind]
            expected[pseudonym(KEY, user), product] += value * 0.5 ** ((at - time) / DAY_MS / 10)
    assert found.items == names
    dense = found.matrix.toarray()
    for i, user in enumerate(found.users):
        for j, item in enumerate(names):
            assert dense[i, j] == pytest.approx(expected[user, item], abs=1e-4)
    with pytest.raises(UsageError, match="Unknown kind of event 'viwe'"):
        store.interactions(weights={"viwe": 1})
    with pytest.raises(UsageError, match="half-life is 0"):
        store.interactions(half_life_days=0)


def test_last_liked_and_a_user_with_returns_alone(tmp_path: Path, shop: Catalog) -> None:
    rows: list[Row] = [
        ("ann", "sku-01", "view", NOW - 3000),
        ("ann", "sku-02", "view", NOW - 2000),
        ("ann", "sku-03", "hide", NOW - 1000),
        ("bob", "sku-01", "return", NOW - 500),
    ]
    put(tmp_path, shop, rows)
    found = open_store(tmp_path / "store").interactions()
    ann, bob = (found.user_rows[pseudonym(KEY, u)] for u in ("ann", "bob"))
    assert found.items[found.last[ann]] == "sku-02" and found.last[bob] == -1
    assert found.positive[bob].nnz == 0 and found.negative[bob].nnz == 1


def test_forgetting_leaves_no_byte(tmp_path: Path, shop: Catalog) -> None:
    rows: list[Row] = [(f"shopper-{i % 30}", f"sku-{i % 10:02d}", "view", NOW - i * 60_000) for i in range(300)]
    put(tmp_path, shop, rows)
    root, name = tmp_path / "store", pseudonym(KEY, "shopper-7")
    store = open_store(root)
    store.derived.mkdir()
    (store.derived / "model.json").write_text(json.dumps([name]))
    (root / "parts/.part-3-old.parquet.12345678.tmp").write_text(name)  # As a killed writer leaves it.
    everything = b"".join(p.read_bytes() for p in root.rglob("*") if p.is_file())
    assert b"shopper-7" not in everything and KEY not in everything and name.encode() in everything
    result = forget_user(root, "shopper-7", KEY)
    assert (result.events, result.derived, result.found) == (10, 1, [])
    assert result.bytes == sum(p.stat().st_size for p in root.rglob("*") if p.is_file())
    everything = b"".join(p.read_bytes() for p in root.rglob("*") if p.is_file())
    assert name.encode() not in everything and bytes.fromhex(name) not in everything
    left = open_store(root)
    assert left.summary()["events"] == 290 and left.summary()["shoppers"] == 29
    assert sum(left.about["part_rows"].values()) == 290
    with pytest.raises(UsageError, match="knows no such shopper"):
        forget_user(root, "shopper-7", KEY)


def test_the_proof_finds_what_was_left(tmp_path: Path, shop: Catalog) -> None:
    put(tmp_path, shop, [("ann", "sku-01", "view", NOW), ("bob", "sku-01", "view", NOW)])
    name = pseudonym(KEY, "ann")
    (tmp_path / "store/notes.txt").write_bytes(b"x" * (2**22 - 7) + name.encode())  # Across two blocks.
    (tmp_path / "store/raw.bin").write_bytes(bytes.fromhex(name))
    assert forget_user(tmp_path / "store", "ann", KEY).found == ["notes.txt", "raw.bin"]


def test_forgetting_the_only_shopper(tmp_path: Path, shop: Catalog) -> None:
    put(tmp_path, shop, [("ann", "sku-01", "view", NOW)])
    forget_user(tmp_path / "store", pseudonym(KEY, "ann"))
    assert open_store(tmp_path / "store").summary()["events"] == 0
    assert open_store(tmp_path / "store").interactions().users == []


def test_keys(tmp_path: Path, shop: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "home"))
    with pytest.raises(UsageError, match="There is no file"):
        read_key()
    key = read_key(make=True)
    assert key == read_key() and stat.S_IMODE(key_path().stat().st_mode) == 0o600
    (tmp_path / "short").write_text("secret")
    with pytest.raises(PackshotError, match="has 6 bytes"):
        read_key(tmp_path / "short")
    put(tmp_path, shop, [("ann", "sku-01", "view", NOW)])
    with pytest.raises(PackshotError, match="made with another key"):
        ingest_events([tmp_path / "events.csv"], shop, tmp_path / "store", key, BOTH)
    with pytest.raises(PackshotError, match="made with another key"):
        forget_user(tmp_path / "store", "ann", key)


def test_a_broken_file_leaves_the_store_as_it_was(tmp_path: Path, shop: Catalog) -> None:
    put(tmp_path, shop, [("ann", "sku-01", "view", NOW)])
    before = {p: p.read_bytes() for p in (tmp_path / "store").rglob("*") if p.is_file()}
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(PackshotError):
        ingest_events([tmp_path / "events.csv", tmp_path / "bad.parquet"], shop, tmp_path / "store", KEY, BOTH, now=NOW)
    assert {p: p.read_bytes() for p in (tmp_path / "store").rglob("*") if p.is_file()} == before


def test_what_is_no_store(tmp_path: Path, shop: Catalog) -> None:
    with pytest.raises(PackshotError, match="is no store of events"):
        open_store(tmp_path)
    (tmp_path / "store").mkdir()
    (tmp_path / "store/holiday.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        put(tmp_path, shop, [("ann", "sku-01", "view", NOW)])
    shutil.rmtree(tmp_path / "store")
    put(tmp_path, shop, [("ann", "sku-01", "view", NOW)])
    part = open_store(tmp_path / "store").parts[0]
    part.write_bytes(part.read_bytes()[:-1])
    with pytest.raises(PackshotError, match="missing or was changed"):
        open_store(tmp_path / "store")


CLICKS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(0, 1), st.integers(0, 20)), max_size=40)


@given(CLICKS, st.integers(0, 4))
def test_doubles_are_what_a_loop_finds(clicks: list[tuple[int, int, int, int]], within: int) -> None:
    columns = [np.array([c[i] for c in clicks], np.int64) for i in range(4)]
    found = find_doubles(*columns, within)
    last: dict[tuple[int, int, int], int] = {}
    for i in sorted(range(len(clicks)), key=lambda i: (clicks[i][3], i)):
        *what, time = clicks[i]
        assert found[i] == (tuple(what) in last and time - last[tuple(what)] <= within)
        last[tuple(what)] = time


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 60)), max_size=40))
def test_bots_are_what_a_loop_finds(clicks: list[tuple[int, int]]) -> None:
    rules = Rules(burst=3, burst_ms=10, daily=12)
    clicks = sorted(clicks)
    found = find_bots(np.array([c[0] for c in clicks], np.int64), np.array([c[1] for c in clicks], np.int64), rules)
    expected = set()
    for user in range(3):
        times = [t for u, t in clicks if u == user]
        if len(times) > 12 or any(sum(t <= s < t + 10 for s in times) > 3 for t in times):
            expected.add(user)
    assert set(found.tolist()) == expected
