"""The book and the studio: no picture lost, none twice, tenants apart; the counts add up, whatever happens between."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from packshot.core.errors import UsageError
from packshot.jobs import database
from packshot.jobs.records import ENDED, ITEM_STATES, Job, JobRequest, NotFound
from packshot.jobs.rows import Outcome, free_stem, new_id, rate_of
from packshot.jobs.settings import Limits, StudioSettings
from packshot.jobs.shelf import new_picture
from packshot.jobs.studio import Studio
from tests.jobs_help import BALANCE, add, png, request_of


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    made = Studio(StudioSettings(home=tmp_path / "studio"))
    yield made
    made.close()


def done(studio: Studio, number: int, name: str = "p.png", state: str = "done", tenant: str = "shop") -> Outcome:
    """Returns the outcome of a picture that went well."""
    data = png(1000 + number)
    made = new_picture(tenant, studio.store.put(data), name, "image/png", 24, 24, len(data))
    return Outcome(number=number, state=state, tries=1, result=made, reason="look" if state == "review" else None)  # type: ignore[arg-type]


def test_pictures_belong_to_their_tenant(studio: Studio) -> None:
    [mine] = add(studio, 1, "a")
    assert studio.picture("a", mine.sha256) == mine
    assert studio.read_picture("a", mine.sha256) == png(0)
    for ask in (studio.picture, studio.read_picture, studio.forget_picture):
        with pytest.raises(NotFound):
            ask("b", mine.sha256)
        with pytest.raises(NotFound):
            ask("a", "../etc/passwd\0")
    assert studio.pictures("b") == []
    again = studio.add_picture("a", png(0), name="other.png", mime="image/png", width=24, height=24)
    assert again == mine  # As it was sent first.
    assert len(add(studio, 1, "b")) == 1


def test_jobs_belong_to_their_tenant(studio: Studio) -> None:
    pictures = add(studio, 2, "a")
    job = studio.submit(request_of(pictures, "a"))
    with pytest.raises(NotFound):
        studio.submit(request_of(pictures, "b"))
    mask = f"picture:{pictures[0].sha256}"
    add(studio, 1, "b", first=7)
    with pytest.raises(NotFound):  # A step names another tenant's picture.
        studio.submit(request_of(add(studio, 1, "b", first=7), "b", steps=({"task": "repair", "mask": mask},)))
    for ask in (studio.job, studio.items, studio.cancel, studio.retry, studio.log, studio.results):
        with pytest.raises(NotFound):
            ask("b", job.id)
        with pytest.raises(NotFound):
            ask("a", "no-such\0job")
    with pytest.raises(NotFound):
        studio.item("b", job.id, 0)
    with pytest.raises(NotFound):
        studio.decide("b", job.id, 0, "approved")
    for number in (-1, 2, 2**40):
        with pytest.raises(NotFound):
            studio.item("a", job.id, number)
    assert studio.jobs("b") == []
    assert [j.id for j in studio.jobs("a")] == [job.id]


def test_a_job_is_taken_on_whole_or_not_at_all(studio: Studio) -> None:
    pictures = add(studio, 2)
    with pytest.raises(NotFound):
        studio.submit(JobRequest(tenant="shop", steps=(BALANCE,), pictures=(pictures[0].sha256, "f" * 64)))
    assert studio.jobs("shop") == []
    with database.reading(studio.engine) as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(database.items)).scalar() == 0


def test_the_same_key_is_the_same_job(studio: Studio) -> None:
    pictures = add(studio, 2)
    first = studio.submit(request_of(pictures, idempotency_key="k"))
    assert studio.submit(request_of(pictures, idempotency_key="k")).id == first.id
    with pytest.raises(UsageError, match="was used for another job"):
        studio.submit(request_of(pictures[:1], idempotency_key="k"))
    other = add(studio, 2, "b")
    assert studio.submit(request_of(other, "b", idempotency_key="k")).id != first.id


def test_the_same_key_from_many_threads_is_one_job(studio: Studio) -> None:
    pictures, ids = add(studio, 3), []
    threads = [
        Thread(target=lambda: ids.append(studio.submit(request_of(pictures, idempotency_key="k")).id)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1


@pytest.mark.parametrize(
    "more", [{"title": "x\0"}, {"title": "x" * 501}, {"idempotency_key": "k" * 256}, {"title": "\ud800"}]
)
def test_what_no_database_takes_is_refused(studio: Studio, more: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"too long|no text"):
        studio.submit(request_of(add(studio, 1), **more))
    with pytest.raises(UsageError, match="no plain values"):
        studio.submit(request_of(add(studio, 1), steps=({"task": "x", "at": datetime.now(UTC)},)))


def test_too_many_pictures_are_refused(tmp_path: Path) -> None:
    studio = Studio(StudioSettings(home=tmp_path, limits=Limits(pictures=2)))
    with pytest.raises(UsageError, match="2 are allowed"):
        studio.submit(request_of(add(studio, 3)))
    studio.close()


def test_results_are_what_may_leave_and_have_names_of_their_own(studio: Studio) -> None:
    same = [
        studio.add_picture("shop", png(i), name=name, mime="image/png", width=24, height=24)
        for i, name in enumerate(["a/Shoe.png", "shoe.PNG", "shoe.jpg", "\0..", "x.png", "y.png"])
    ]
    job = studio.submit(request_of(same))
    stems = [row.stem for row in studio.book.waiting(job.id, 0, 10)]
    assert stems == ["Shoe", "shoe-2", "shoe-3", "picture", "x", "y"]
    studio.book.begin(job.id, 1)
    outcomes = [done(studio, i, f"{stem}.png") for i, stem in enumerate(stems[:4])]
    outcomes += [done(studio, 4, "x.png", "review"), Outcome(number=5, state="refused", tries=1, reason="no")]
    assert studio.book.finish(job.id, outcomes) == 6
    names = [name for name, _ in studio.results("shop", job.id)]
    assert names == ["Shoe.png", "shoe-2.png", "shoe-3.png", "picture.png"]
    studio.decide("shop", job.id, 4, "approved")
    assert [name for name, _ in studio.results("shop", job.id)][-1] == "x.png"
    studio.decide("shop", job.id, 4, "rejected")
    assert len(list(studio.results("shop", job.id))) == 4
    with pytest.raises(UsageError, match="not in review"):
        studio.decide("shop", job.id, 0, "approved")
    for _, sha256 in studio.results("shop", job.id):  # A result is a picture of the tenant.
        assert studio.read_picture("shop", sha256)


def test_results_come_page_by_page(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("packshot.jobs.book.PAGE", 3)
    job = studio.submit(request_of(add(studio, 10)))
    studio.book.finish(job.id, [done(studio, i, f"p{i}.png") for i in range(10)])
    assert [name for name, _ in studio.results("shop", job.id)] == [f"p{i}.png" for i in range(10)]
    assert [i.number for i in studio.items("shop", job.id, offset=4, limit=3)] == [4, 5, 6]
    assert studio.items("shop", job.id, state="failed") == []
    assert len(studio.items("shop", job.id, offset=2**70)) == 0


def test_a_result_that_no_json_holds_is_kept_all_the_same(studio: Studio) -> None:
    job = studio.submit(request_of(add(studio, 1)))
    odd = {"psnr": float("inf"), "of": [float("nan"), "\ud800", "a\0b"], "deep": {"x": (1, 2)}}
    studio.book.finish(job.id, [Outcome(number=0, state="failed", tries=3, figures=odd, reason="a\0b", confidence=0.5)])
    item = studio.item("shop", job.id, 0)
    assert item.figures == {"psnr": None, "of": [None, "?", "ab"], "deep": {"x": [1, 2]}}
    assert item.reason == "ab"


def test_forgetting_leaves_what_others_need(studio: Studio) -> None:
    [a], [b] = add(studio, 1, "a"), add(studio, 1, "b")
    studio.forget_picture("a", a.sha256)
    assert studio.read_picture("b", b.sha256) == png(0)
    job = studio.submit(request_of([b], "b"))
    studio.forget_picture("b", b.sha256)
    assert studio.store.size(b.sha256) is not None  # The job waits for it.
    studio.cancel("b", job.id)
    assert studio.store.size(b.sha256) is None
    with pytest.raises(NotFound):
        studio.read_picture("b", b.sha256)


def test_a_retry_does_what_failed_and_nothing_else(studio: Studio) -> None:
    job = studio.submit(request_of(add(studio, 4)))
    with pytest.raises(UsageError, match="has not ended"):
        studio.retry("shop", job.id)
    assert studio.book.begin(job.id, 1) is not None
    studio.book.finish(
        job.id,
        [
            done(studio, 0),
            Outcome(number=1, state="failed", tries=3, reason="bad"),
            Outcome(number=2, state="refused", tries=1, reason="no"),
            Outcome(number=3, state="waiting", tries=1, reason="again"),
        ],
    )
    assert studio.book.end(job.id, 1, "failed", "The disk is full.")
    assert studio.job("shop", job.id).error == "The disk is full."
    again = studio.retry("shop", job.id)
    assert (again.state, again.error, again.finished) == ("queued", None, 1)
    assert [r.number for r in studio.book.waiting(job.id, 0, 9)] == [1, 2, 3]
    assert studio.book.begin(job.id, 1) is None  # The run before is over.
    assert not studio.book.end(job.id, 1, "done")
    assert studio.book.begin(job.id, 2) is not None
    studio.book.finish(job.id, [done(studio, i) for i in (1, 2, 3)])
    assert studio.book.end(job.id, 2, "done")
    with pytest.raises(UsageError, match="no picture of it failed"):
        studio.retry("shop", job.id)


def test_cancelling_ends_at_once_and_twice_is_once(studio: Studio) -> None:
    told: list[Job] = []
    studio.book.on_ended = lambda _, job: told.append(job)
    job = studio.submit(request_of(add(studio, 2)))
    assert studio.book.begin(job.id, 1) is not None
    assert studio.book.wanted([(job.id, 1)]) == {(job.id, 1)}
    assert studio.cancel("shop", job.id).state == "cancelled"
    assert studio.cancel("shop", job.id).state == "cancelled"
    assert [j.state for j in told] == ["cancelled"]
    assert studio.book.wanted([(job.id, 1)]) == set()
    assert not studio.book.end(job.id, 1, "done")
    assert studio.book.finish(job.id, [done(studio, 0)]) == 1  # It was finished: that is not thrown away.
    assert studio.job("shop", job.id).counts["done"] == 1


def test_a_job_that_failed_to_be_announced_has_not_ended(studio: Studio) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError

    studio.book.on_ended = fails
    job = studio.submit(request_of(add(studio, 1)))
    with pytest.raises(RuntimeError):
        studio.cancel("shop", job.id)
    assert studio.job("shop", job.id).state == "queued"


def test_the_queue_hears_of_a_job_until_it_has_noted_it(studio: Studio) -> None:
    low = studio.submit(request_of(add(studio, 1), priority=9))
    high = studio.submit(request_of(add(studio, 1), priority=0))
    assert [r.id for r in studio.book.unqueued()] == [high.id, low.id]
    studio.book.queued(high.id, 1)
    assert [r.id for r in studio.book.unqueued()] == [low.id]
    assert [(r.id, r.run) for r in studio.book.unfinished()] == [(high.id, 1)]
    studio.book.queue_again(high.id, 1)
    studio.book.queue_again(high.id, 1)  # The second has nothing to do any more.
    assert {(r.id, r.run) for r in studio.book.unqueued()} == {(low.id, 1), (high.id, 2)}


def test_rates_come_from_times_that_may_jump() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert rate_of([now - timedelta(seconds=i) for i in range(11)]) == pytest.approx(60)
    assert rate_of([now]) is rate_of([now, now]) is None
    assert rate_of([]) is None
    # Set back by a year in between: only those of one clock count.
    assert rate_of([now, now - timedelta(seconds=1), now - timedelta(days=365)]) == pytest.approx(60)


def test_a_clock_that_was_set_back_harms_nothing(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([datetime(2030, 1, 1, tzinfo=UTC), datetime(2020, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)])
    pictures = add(studio, 2)
    for module in ("book", "rows"):
        monkeypatch.setattr(f"packshot.jobs.{module}.now", lambda: next(times, datetime(2021, 1, 1, tzinfo=UTC)))
    job = studio.submit(request_of(pictures))
    studio.book.begin(job.id, 1)
    studio.book.finish(job.id, [done(studio, 0), done(studio, 1)])
    told = studio.job("shop", job.id)
    assert told.started is not None
    assert told.started < told.created
    assert told.finished == 2
    assert studio.book.end(job.id, 1, "done")


@pytest.mark.parametrize("before", [datetime.min.replace(tzinfo=UTC), datetime.max, datetime(1, 1, 1)])
def test_any_moment_can_be_asked_for(studio: Studio, before: datetime) -> None:
    assert studio.jobs("shop", before=before) == []
    assert studio.pictures("shop", before=before) == []


def test_ids_are_letters_that_sort_by_time() -> None:
    ids = [new_id() for _ in range(200)]
    assert len(set(ids)) == 200
    assert all(i.isalnum() and len(i) == 26 for i in ids)
    assert [i[:9] for i in ids] == sorted(i[:9] for i in ids)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a/b/c.jpg", "c"),
        ("C:\\photos\\x.y.png", "x.y"),
        (".hidden", "hidden"),
        ("..", "picture"),
        ("con|<>.png", "con"),
        ("x" * 300 + ".png", "x" * 80),
        ("鞋 子.png", "鞋 子"),
        ("\ud800\n.png", "picture"),
    ],
)
def test_stems_are_safe_on_every_system(name: str, stem: str) -> None:
    assert free_stem(name, set()) == stem
    assert free_stem(name, {stem.casefold()}) == f"{stem}-2"


def test_nobody_works_is_said_and_a_beat_is_believed(studio: Studio) -> None:
    assert studio.ready()["database"] == studio.ready()["store"] == "ok"
    assert "packshot work" in studio.ready()["worker"]
    old = {"id": "w", "host": "h", "beat": 1, "seen": datetime(2020, 1, 1, tzinfo=UTC)}
    with database.writing(studio.engine) as connection:
        connection.execute(sa.insert(database.workers), old)
    assert "packshot work" in studio.ready()["worker"]
    with database.writing(studio.engine) as connection:  # Its clock is wrong; its beat moves.
        connection.execute(sa.update(database.workers).values(beat=2))
    assert studio.ready()["worker"] == "ok"


@dataclass
class Known:
    """What the machine knows of a job: each picture's state, its result, and which run is at it."""

    tenant: str
    states: list[str]
    results: list[str | None]
    state: str = "queued"
    run: int = 1
    tries: list[int] = field(default_factory=list)


class StudioMachine(RuleBasedStateMachine):
    """Jobs that are submitted, worked at, killed, cancelled, retried, in any order."""

    jobs = Bundle("jobs")

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.studio = Studio(StudioSettings(home=self.folder))
        self.pictures = {t: add(self.studio, 3, t) for t in ("a", "b")}
        self.known: dict[str, Known] = {}
        self.ended: Counter[str] = Counter()
        self.studio.book.on_ended = lambda _, job: self.ended.update([job.id])

    @rule(target=jobs, tenant=st.sampled_from(["a", "b"]), which=st.lists(st.integers(0, 2), min_size=1, max_size=5))
    def submit(self, tenant: str, which: list[int]) -> str:
        job = self.studio.submit(request_of([self.pictures[tenant][i] for i in which], tenant))
        self.known[job.id] = Known(tenant, ["waiting"] * len(which), [None] * len(which), tries=[0] * len(which))
        return job.id

    @rule(id=jobs, run=st.integers(-1, 0))
    def work_begins(self, id: str, run: int) -> None:
        """A process takes a job, or takes it again after a kill, or comes late with a run that is over."""
        known = self.known[id]
        row = self.studio.book.begin(id, known.run + run)
        if run == 0 and known.state in ("queued", "running"):
            assert row is not None
            known.state = "running"
        else:
            assert row is None

    @rule(id=jobs, number=st.integers(0, 4), state=st.sampled_from([*ITEM_STATES]), twice=st.booleans())
    def a_picture_is_done(self, id: str, number: int, state: str, twice: bool) -> None:
        """Also by a process that nobody waits for any more, and by two at once."""
        known = self.known[id]
        if number >= len(known.states):
            return
        good = state in ("done", "review")
        tries = known.tries[number] + 1
        outcome = (
            done(self.studio, number, state=state, tenant=known.tenant)
            if good
            else Outcome(number=number, state=state, tries=tries, reason="why")  # type: ignore[arg-type]
        )
        noted = self.studio.book.finish(id, [outcome] * (1 + twice))
        if known.states[number] != "waiting":
            assert noted == 0
            return
        assert noted == 1 + (twice and state == "waiting")
        known.states[number], known.tries[number] = state, 1 if good else tries
        known.results[number] = outcome.result.sha256 if outcome.result else None

    @rule(id=jobs)
    def work_ends(self, id: str) -> None:
        known, before = self.known[id], self.ended[id]
        ends = known.state in ("queued", "running")
        assert self.studio.book.end(id, known.run, "failed" if "waiting" in known.states else "done", None) is ends
        if ends:
            known.state = "failed" if "waiting" in known.states else "done"
        assert self.ended[id] == before + ends

    @rule(id=jobs)
    def cancel(self, id: str) -> None:
        known = self.known[id]
        known.state = known.state if known.state in ENDED else "cancelled"
        assert self.studio.cancel(known.tenant, id).state == known.state

    @rule(id=jobs)
    def retry(self, id: str) -> None:
        known = self.known[id]
        again = {"failed", "refused"} & set(known.states)
        if known.state not in ENDED or (known.state == "done" and not again):
            with pytest.raises(UsageError):
                self.studio.retry(known.tenant, id)
            return
        self.studio.retry(known.tenant, id)
        known.state, known.run = "queued", known.run + 1
        for i, state in enumerate(known.states):
            if state in again:
                known.states[i], known.tries[i] = "waiting", 0

    @rule(id=jobs)
    def the_queue_lost_it(self, id: str) -> None:
        known = self.known[id]
        self.studio.book.queue_again(id, known.run)
        if known.state in ("queued", "running"):
            known.state, known.run = "queued", known.run + 1

    @invariant()
    def the_book_is_right(self) -> None:
        for id, known in self.known.items():
            job = self.studio.job(known.tenant, id)
            items = self.studio.items(known.tenant, id)
            assert [i.number for i in items] == list(range(len(known.states)))  # None lost, none twice.
            assert [i.state for i in items] == known.states
            assert [i.result for i in items if i.state == "done"] == [
                r for r, s in zip(known.results, known.states, strict=True) if s == "done"
            ]
            assert {s: n for s, n in job.counts.items() if n} == Counter(known.states)
            assert job.state == known.state
            assert job.total == len(items) == sum(job.counts.values())
            assert job.finished == job.total - known.states.count("waiting")
            assert (job.ended is not None) == (known.state in ENDED)

    def teardown(self) -> None:
        if hasattr(self, "studio"):
            self.studio.close()
            shutil.rmtree(self.folder)


TestStudioMachine = StudioMachine.TestCase
TestStudioMachine.settings = settings(
    max_examples=8, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
