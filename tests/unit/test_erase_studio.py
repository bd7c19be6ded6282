"""What the studio holds of a photo goes with it: store, rows, texts, work in flight; nothing of it is left, by grep."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa
from PIL import Image

from packshot.cli.main import main
from packshot.core.errors import PackshotError
from packshot.core.files import write_bytes
from packshot.jobs import database, desk_work, hands, holdings
from packshot.jobs.choices import Choices, Decided
from packshot.jobs.desk_ledger import EraseAsked, carry_out_erasure, plan_erasure
from packshot.jobs.hands import Order
from packshot.jobs.holdings import StudioHolder
from packshot.jobs.records import Job, JobRequest, Output, Picture
from packshot.jobs.rows import Outcome
from packshot.jobs.settings import StudioSettings
from packshot.jobs.shelf import new_picture
from packshot.jobs.studio import Studio
from packshot.tasks.erase import carry_out, listed
from packshot.tasks.erase_check import verify_erasure
from packshot.tasks.erase_finder import make_plan
from packshot.tasks.erase_plan import EraseRequest
from tests.jobs_help import BALANCE, png

NAME, OTHER = "kleid-grün-07.png", "hut.png"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    made = Studio(StudioSettings())
    assert made.settings.place == tmp_path / "home" / "studio"
    yield made
    made.close()


def put(studio: Studio, seed: int, name: str, tenant: str = "shop", made_from: tuple[str, ...] = ()) -> Picture:
    data = png(seed)
    return studio.add_picture(tenant, data, name=name, mime="image/png", width=24, height=24, made_from=made_from)


def do(studio: Studio, *pictures: Picture, steps: tuple[dict[str, object], ...] = (BALANCE,), **more: object) -> Job:
    """Has a job done as a worker does it: each result is the picture's bytes turned round, with one beside it."""
    tenant = pictures[0].tenant
    request = JobRequest(tenant=tenant, steps=steps, pictures=tuple(p.sha256 for p in pictures), **more)  # type: ignore[arg-type]
    job = studio.submit(request)
    studio.book.begin(job.id, 1)
    for number, picture in enumerate(pictures):
        data = studio.read_picture(tenant, picture.sha256)[::-1] + job.id.encode()
        results = []
        for name, content in ((f"{picture.name[:-4]}.jpg", data), (f"{picture.name[:-4]}-heat.png", data + b"heat")):
            results.append(new_picture(tenant, studio.store.put(content), name, "image/png", 24, 24, len(content)))
        outcome = Outcome(
            number=number,
            state="done",
            tries=1,
            result=results[0],
            beside={"heat": results[1]},
            reason=f"{picture.name}: look",
            figures={"labels": {"name": picture.name}},
        )
        studio.book.finish(job.id, [outcome])
    studio.book.end(job.id, 1, "done")
    return studio.job(tenant, job.id)


def results_of(studio: Studio, job: Job) -> list[str]:
    return [s for i in studio.items(job.request.tenant, job.id) for s in (i.result, *i.beside.values()) if s]


def left_of(folder: Path, *words: bytes) -> list[str]:
    """The oracle: every file below a folder that holds a word or is called like it, by eye."""
    return [
        str(p.relative_to(folder))
        for p in sorted(folder.rglob("*"))
        if p.is_file() and any(w in p.read_bytes() or w in str(p.relative_to(folder)).encode() for w in words)
    ]


class Shop:
    """A studio with a photo in every place that there is, and another photo beside it everywhere."""

    def __init__(self, studio: Studio) -> None:
        self.studio, place = studio, studio.settings.place
        self.photo, self.other = put(studio, 1, NAME), put(studio, 2, OTHER)
        self.job = do(studio, self.photo, self.other, title=f"Two of {NAME}", webhook="https://example.com/hook")
        mine = results_of(studio, self.job)[:2]
        again = studio.picture("shop", mine[0])
        self.second = do(studio, again)  # What was made is edited once more, alone in its job.
        self.page = put(studio, 3, "by-hand.png", made_from=(mine[1],))  # On a page, without a job.
        self.style = do(studio, self.other, steps=({"task": "restyle", "style": f"picture:{self.photo.sha256}"},))
        self.gone = [self.photo.sha256, *mine, *results_of(studio, self.second), self.page.sha256]
        self.gone += results_of(studio, self.style)
        self.stays = [self.other.sha256, *results_of(studio, self.job)[2:]]
        store = studio.store
        store.keep_derived(self.photo.sha256, "thumb-320", b"small " + png(1))
        store.keep_derived(self.other.sha256, "thumb-320", b"small " + png(2))
        store.keep_derived(self.other.sha256, f"style-{self.photo.sha256[:24]}-320", b"in its style")
        store.keep_derived(self.other.sha256, "styled-x-100", self.page.sha256.encode())
        torn = Path(store._path(self.photo.sha256))
        torn.with_name(f".{torn.name}.0a1b2c3d.tmp").write_bytes(png(1)[:40])
        write_bytes(place / "work" / f"{self.job.id}-1" / "0" / "in" / NAME, png(1))  # Of a worker that was killed.
        write_bytes(place / "work" / f"{self.job.id}-1" / "0" / "out" / "x.png", b"not noted yet")
        store.put(b"not noted yet")
        write_bytes(place / "desk" / "host.1.ab" / "cd" / "packshot-desk-x" / self.photo.sha256, png(1))
        write_bytes(place / "intake" / "shelf" / "product" / f"00000-{NAME}", png(1))
        write_bytes(place / "intake" / "shelf" / "product" / f"00001-{OTHER}", png(2))
        write_bytes(place / "found" / f"{self.photo.sha256}-00.json", b"{}")
        choices = Choices(place / "choices")
        decided = {"name": "x.png", "label": "hat", "run": "r", "seed": 1}
        choices.add(Decided(sha256=self.page.sha256, kept=True, **decided))  # type: ignore[arg-type]
        choices.add(Decided(sha256=self.other.sha256, kept=True, **decided))  # type: ignore[arg-type]
        self.taste = place / "events" / "tenants" / "other" / "shoppers"
        write_bytes(self.taste / "store.json", b"{}")
        write_bytes(self.taste / "derived" / "model" / "features.npy", self.photo.sha256.encode())
        command = studio.submit(JobRequest(tenant="shop", kind="command", argv=("ingest", "x"), title="Shelf"))
        said = f"{NAME}: too small.\nhut.png: taken.\nThe picture {self.photo.sha256[:12]} is not in the store."
        studio.book.progress(command.id, finished=0, total=0, rate=None, log=said)
        self.command = command
        # What the words of the photo are, as SQLite, JSON and file names write them.
        escaped = json.dumps(NAME)[1:-1].encode()
        stems = (NAME[:-4].encode(), json.dumps(NAME[:-4])[1:-1].encode())
        self.words = (NAME.encode(), escaped, *stems, png(1), b"not noted yet", b"by-hand.png")
        self.words += tuple(s.encode()[:12] for s in self.gone)

    def left(self) -> list[str]:
        return left_of(self.studio.settings.place, *self.words)

    def check_gone(self) -> None:
        """Makes sure that nothing of the photo is left, and all of the other one."""
        studio = self.studio
        assert self.left() == []
        assert [studio.read_picture("shop", s) != b"" for s in self.stays] == [True] * len(self.stays)
        job = studio.job("shop", self.job.id)
        assert (job.total, job.finished, job.counts["done"], job.state) == (1, 1, 1, "done")
        assert [i.name for i in studio.items("shop", job.id)] == [OTHER]
        assert job.request.title == "Two of (erased)"
        assert {j.id for j in studio.jobs("shop")} == {job.id, self.command.id}  # The others have nothing left.
        assert studio.log("shop", self.command.id).splitlines()[1] == "hut.png: taken."
        assert studio.store.read_derived(self.other.sha256, "thumb-320") == b"small " + png(2)
        assert [p.name for p in self.taste.iterdir()] == ["store.json"]  # It is computed again.
        assert set(Choices(studio.settings.place / "choices").now()) == {self.other.sha256}
        assert [p.name for p in (studio.settings.place / "intake").rglob("*.png")] == [f"00001-{OTHER}"]


def request_of(studio: Studio, what: str, **more: object) -> EraseRequest:
    return EraseRequest(what=what, holders=(StudioHolder(studio.settings),), **more)  # type: ignore[arg-type]


def test_a_photo_goes_from_the_studio_and_the_rest_works_on(studio: Studio) -> None:
    shop = Shop(studio)
    before = left_of(studio.settings.place, *shop.words)
    assert len(before) > 12
    request = request_of(studio, shop.photo.sha256)
    plan = make_plan(request, dry_run=True)
    told = listed(plan)
    # Rows: the photo in its job, its result in the second, the one job in its style. Jobs: those three.
    counts = {"pictures": 8, "items": 3, "jobs": 3, "choices": 1}
    assert {k: told.held[str(studio.settings.place)][k] for k in counts} == counts
    assert left_of(studio.settings.place, *shop.words) == before
    result = carry_out(make_plan(request), request)
    assert (result.state, result.problems, result.remains) == ("erased", {}, [])
    shop.check_gone()
    assert result.certificate is not None
    body = json.loads(result.certificate.read_text())["body"]
    (held,) = body["holders"]
    assert {k: held["removed"][k] for k in counts} == counts
    assert held["removed"]["files"] == 9 + 1 + 3  # In the store; a folder in work; intake, desk, found.
    assert NAME not in result.certificate.read_text()
    checked = verify_erasure(result.certificate, holders=request.holders)
    assert checked.holds, checked.problems
    assert "was not asked" in verify_erasure(result.certificate).problems[0]
    put(studio, 1, "again.png")
    problems = verify_erasure(result.certificate, holders=request.holders).problems
    assert any("a row of a picture" in p for p in problems)
    assert any("a picture in the store" in p for p in problems)
    with pytest.raises(PackshotError, match="no such photo in the studio"):
        make_plan(request_of(studio, "0" * 64))


STEPS = (
    "drop_runs",
    "drop_rows",
    "scrub",
    "compact",
    "shutil.rmtree",
    "store.remove",
    "store.drop_mentions",
    "find_rows",
)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step_the_same_command_finishes(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, name: str, after: bool
) -> None:
    class Killed(BaseException):
        pass

    shop = Shop(studio)
    request = request_of(studio, shop.photo.sha256)
    owner: object = holdings
    *path, last = name.split(".")
    if path == ["store"]:
        owner = request.holders[0].store  # type: ignore[attr-defined]
    elif path:
        owner = getattr(holdings, path[0])
    real: Callable[..., object] = getattr(owner, last)

    def dies(*args: object, **options: object) -> object:
        found = real(*args, **options) if after else None
        raise Killed(found)

    plan = make_plan(request)
    with monkeypatch.context() as patch:
        patch.setattr(owner, last, dies)
        with pytest.raises(Killed):
            carry_out(plan, request)
    again = request_of(studio, shop.photo.sha256)
    result = carry_out(make_plan(again), again)
    assert (result.state, result.problems, result.remains) == ("erased", {}, [])
    shop.check_gone()
    assert result.held[str(studio.settings.place)]["items"] == 3


def test_another_tenant_keeps_its_own(studio: Studio) -> None:
    shop = Shop(studio)
    theirs = put(studio, 1, "ours.png", tenant="other")
    job = do(studio, theirs)
    holder = StudioHolder(studio.settings, "shop")
    before = [studio.items("other", job.id), studio.pictures("other")]
    held = holder.find([shop.photo.sha256])
    assert held.counts["pictures"] == 8
    assert not held.made & set(results_of(studio, job))
    asked = EraseAsked(what=shop.photo.sha256, settings=studio.settings, tenant="shop")
    assert plan_erasure(asked)["held"] == {f"{studio.settings.place}, tenant shop": dict(held.counts)}
    done = carry_out_erasure(asked)
    assert done["state"] == "erased", done
    assert shop.photo.sha256 in done["checksums"]
    assert [p.sha256 for p in studio.pictures("shop")] == [
        p.sha256 for p in studio.pictures("shop") if p.sha256 in shop.stays
    ]
    assert [studio.items("other", job.id), studio.pictures("other")] == before
    assert studio.read_picture("other", theirs.sha256) == png(1)
    with pytest.raises(PackshotError, match="no such photo"):
        plan_erasure(asked)


def test_a_person_whom_a_picture_names_itself(studio: Studio) -> None:
    def by(who: str, seed: int) -> bytes:
        image, out = Image.open(io.BytesIO(png(seed))), io.BytesIO()
        exif = Image.Exif()
        exif[0x013B] = who
        image.convert("RGB").save(out, "JPEG", exif=exif)
        return out.getvalue()

    kept = {}
    for who, seed in (("Anna Maier", 1), ("Annabel Maier", 2), ("anna maier; Bo Li", 3)):
        data = by(who, seed)
        studio.add_picture("shop", data, name=f"{seed}.jpg", mime="image/jpeg", width=24, height=24)
        kept[hashlib.sha256(data).hexdigest()] = who
    studio.store.remove(put(studio, 9, "lost.png").sha256)
    argv = ("ingest", "x", "--owner", "Anna Maier", "--source", "Annabel Maier")
    command = studio.submit(JobRequest(tenant="shop", kind="command", argv=argv, title="Photos of Anna Maier"))
    studio.book.progress(command.id, finished=0, total=0, rate=None, log="by Anna Maier: 3 photos")
    request = request_of(studio, "Anna Maier", person=True)
    result = carry_out(make_plan(request), request)
    assert result.state == "erased"
    assert result.photos == 2
    assert sorted(kept.get(p.sha256, "lost") for p in studio.pictures("shop")) == ["Annabel Maier", "lost"]
    assert left_of(studio.settings.place, b"Anna Maier", b"anna maier") == []
    told = studio.job("shop", command.id).request
    assert told.argv == ("ingest", "x", "--owner", "(erased)", "--source", "Annabel Maier")
    assert told.title == "Photos of (erased)"


def test_a_name_that_another_picture_has_stays_in_texts(studio: Studio) -> None:
    photo = put(studio, 1, "shoe.png")
    put(studio, 2, "shoe.png")
    job = do(studio, photo, put(studio, 3, "hat.png"), title="About shoe.png")
    request = request_of(studio, photo.sha256)
    result = carry_out(make_plan(request), request)
    assert result.state == "erased"
    assert studio.job("shop", job.id).request.title == "About shoe.png"


def test_the_command_finds_the_studio_by_itself(
    studio: Studio, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shop = Shop(studio)

    def call(*words: str, code: int = 0) -> str:
        got = 0
        try:
            main(["erase", *words])
        except SystemExit as e:
            got = int(e.code or 0)
        assert got == code
        return "".join(capsys.readouterr())

    said = call(shop.photo.sha256, "--dry-run")
    assert f"Studio {studio.settings.place}: 8 pictures, 3 rows, 3 jobs, 13 files, 1 choice." in said
    proof = tmp_path / "proof.json"
    call(shop.photo.sha256, "--yes", "--certificate", str(proof))
    shop.check_gone()
    assert "It holds" in call("--verify", str(proof))
    assert "was not asked" in call("--verify", str(proof), "--set", f"home={tmp_path / 'another'}", code=1)


def test_a_database_that_is_read_all_the_time_is_told(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = put(studio, 1, NAME)
    monkeypatch.setattr(holdings, "CHECKPOINTS", 2)
    monkeypatch.setattr(database, "BUSY_MS", 50)
    request = request_of(studio, photo.sha256)
    with studio.engine.connect().execution_options(reads=True) as reader:
        reader.execute(sa.text("SELECT count(*) FROM pictures")).all()
        result = carry_out(make_plan(request), request)
        assert result.state == "incomplete"
        assert "erase again" in result.problems[str(studio.settings.place)]


def forget_edits() -> None:
    for edits in (desk_work._edits, hands._edits):
        for key in list(edits._kept):
            edits._drop(key)


def test_edits_that_are_kept_ready_go_with_a_picture_of_theirs(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_edits()  # Of other tests.
    made: list[object] = []
    monkeypatch.setattr("packshot.jobs.steps.build_steps", lambda *_: made.append(object()) or made[-1])
    monkeypatch.setattr(desk_work.tempfile, "tempdir", str(tmp_path))
    mask = put(studio, 5, "mask.png")
    steps = ({"task": "repair", "mask": f"picture:{mask.sha256}"},)
    data = studio.read_picture("shop", mask.sha256)
    kept = desk_work._ready(steps, Output(), {mask.sha256: data}, {mask.sha256: mask.sha256})
    assert desk_work._ready(steps, Output(), {mask.sha256: data}, {mask.sha256: mask.sha256}) is kept
    (copy,) = tmp_path.glob(f"packshot-desk-*/{mask.sha256}")
    copy.unlink()
    other = desk_work._ready(({"task": "enhance"},), Output(), {}, {})
    assert [kept.edit for kept in desk_work._edits._kept.values()] == [other]
    assert not copy.parent.exists()
    order = Order(
        job="j", tenant="shop", steps=steps, output=Output(), on=date.today(), pictures=(mask.sha256,), folder=tmp_path
    )
    kept = hands._ready(order, studio.store)
    assert hands._ready(order, studio.store) is kept
    (tmp_path / "steps" / mask.sha256).unlink()
    assert hands._ready(order, studio.store) is not kept
    forget_edits()


def test_what_one_picture_is_made_of_is_told() -> None:
    from packshot.jobs.desk_work import edit_one

    done = edit_one([{"task": "enhance", "white_balance": 0.5}], png(1), "p.png", Output(), {})
    assert done.result.status == "done"
    assert done.made_from == (hashlib.sha256(png(1)).hexdigest(),)
    forget_edits()
