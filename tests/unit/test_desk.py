"""The desk: answers from processes that may die, take too long, or be too many to wait for; and what they are asked."""

import io
import json
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from packshot.core.errors import PackshotError, UsageError
from packshot.core.workers import WorkerFault
from packshot.images.decode import SUFFIXES, BadPicture
from packshot.jobs.desk import Desk, DeskBusy, DeskLost, DeskTimeout, clean_name, edit_one, probe, thumb, verify_one
from packshot.jobs.desk_work import MIMES, NAMES, _schema, describe_tasks
from packshot.jobs.records import Output
from packshot.jobs.settings import Limits, StudioSettings
from packshot.tasks.batch import BatchOptions, edit_photos
from packshot.tasks.enhance import Enhance, EnhanceRequest
from tests import desk_tasks
from tests.catalog_photos import encoded, photo


def settings(tmp_path: Path, **limits: float) -> StudioSettings:
    return StudioSettings(home=tmp_path, limits=Limits(**limits))  # type: ignore[arg-type]


def until(there: Path) -> None:
    for _ in range(1000):
        if there.exists():
            return
        time.sleep(0.01)
    pytest.fail(f"{there} did not appear")


def test_a_desk_answers_from_a_process_that_stays(tmp_path: Path) -> None:
    desk = Desk(settings(tmp_path), count=1)
    try:
        assert desk.pids() == []  # None is started before it is needed.
        assert desk.ask(desk_tasks.double, 21) == 42
        first = desk.ask(desk_tasks.pid)
        assert first == desk.ask(desk_tasks.pid) != os.getpid()
        with pytest.raises(UsageError, match="say it so") as refused:
            desk.ask(desk_tasks.refuse, "say it so")
        assert refused.value.exit_code == 2
        with pytest.raises(WorkerFault, match="KeyError"):
            desk.ask(desk_tasks.fault)
        with pytest.raises(WorkerFault):
            desk.ask(desk_tasks.unsendable)
        assert desk.ask(desk_tasks.pid) == first
    finally:
        desk.close()
    with pytest.raises(DeskBusy):
        desk.ask(desk_tasks.double, 1)
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_a_process_that_dies_is_replaced_and_one_question_kills_two_at_most(tmp_path: Path) -> None:
    desk = Desk(settings(tmp_path), count=1)
    try:
        assert desk.ask(desk_tasks.die_once, tmp_path) == "done"
        with pytest.raises(DeskLost):
            desk.ask(desk_tasks.die)
        assert desk.ask(desk_tasks.double, 2) == 4
    finally:
        desk.close()


def test_what_a_killed_process_put_down_is_removed(tmp_path: Path) -> None:
    desk = Desk(settings(tmp_path), count=1)
    try:
        with pytest.raises(DeskTimeout):
            desk.ask(desk_tasks.put_down, b"a picture", tmp_path / "never", seconds=0.5)
        assert [p for p in (tmp_path / "desk").rglob("*") if p.is_file()] == []
    finally:
        desk.close()
    assert list((tmp_path / "desk").iterdir()) == []
    left = tmp_path / "desk" / f"{socket.gethostname()}.{2**22 + 1}.aaaa"  # Of a server that was killed.
    other = tmp_path / "desk" / f"elsewhere.{2**22 + 1}.aaaa"
    for folder in (left, other):
        folder.mkdir()
    desk = Desk(settings(tmp_path), count=1)
    try:
        assert desk.ask(desk_tasks.double, 1) == 2
        assert (left.exists(), other.exists()) == (False, True)
    finally:
        desk.close()


def test_what_takes_too_long_is_ended_and_nobody_else_with_it(tmp_path: Path) -> None:
    desk = Desk(settings(tmp_path), count=2)
    try:
        with ThreadPoolExecutor(2) as threads:
            good = threads.submit(desk.ask, desk_tasks.wait_for, tmp_path / "good")
            until(tmp_path / "good.begun")
            with pytest.raises(DeskTimeout, match=r"0\.3 seconds"):
                desk.ask(desk_tasks.wait_for, tmp_path / "never", seconds=0.3)
            (tmp_path / "good").touch()
            assert good.result(10) == "good"
        assert desk.busy == 0
        assert desk.ask(desk_tasks.double, 3) == 6
    finally:
        desk.close()


def test_too_many_are_asked_to_come_again_and_what_is_quick_does_not_wait(tmp_path: Path) -> None:
    desk = Desk(settings(tmp_path, waiting=1), count=1)
    try:
        with ThreadPoolExecutor(2) as threads:
            first = threads.submit(desk.ask, desk_tasks.wait_for, tmp_path / "first")
            until(tmp_path / "first.begun")
            second = threads.submit(desk.ask, desk_tasks.double, 5)
            while not desk.waiting:
                time.sleep(0.01)
            with pytest.raises(DeskBusy):
                desk.ask(desk_tasks.double, 1)
            assert desk.ask(desk_tasks.double, 8, quick=True) == 16
            assert not second.done()
            (tmp_path / "first").touch()
            assert first.result(10) == "first"
            assert second.result(10) == 10
    finally:
        desk.close()


def test_who_waits_too_long_for_a_process_is_told_so(tmp_path: Path) -> None:
    desk = Desk(settings(tmp_path), count=1)
    try:
        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(desk.ask, desk_tasks.wait_for, tmp_path / "first")
            until(tmp_path / "first.begun")
            with pytest.raises(DeskBusy):
                desk.ask(desk_tasks.double, 1, seconds=0.1)
            assert desk.waiting == 0
            (tmp_path / "first").touch()
            assert first.result(10) == "first"
    finally:
        desk.close()


def test_closing_ends_those_at_work_and_those_that_wait(tmp_path: Path) -> None:
    desk = Desk(settings(tmp_path), count=1)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(desk.ask, desk_tasks.wait_for, tmp_path / "first")
        until(tmp_path / "first.begun")
        second = threads.submit(desk.ask, desk_tasks.double, 5)
        while not desk.waiting:
            time.sleep(0.01)
        desk.close()
        with pytest.raises(DeskBusy):
            second.result(10)
        with pytest.raises(PackshotError):
            first.result(10)
    assert desk.pids() == []
    desk.close()  # Once more changes nothing.


def test_many_threads_get_each_their_own_answer(tmp_path: Path) -> None:
    desk = Desk(settings(tmp_path, waiting=100), count=2)
    try:
        with ThreadPoolExecutor(16) as threads:
            assert list(threads.map(lambda n: desk.ask(desk_tasks.double, n), range(200))) == list(range(0, 400, 2))
        assert desk.busy == desk.waiting == 0
        assert threading.active_count() < 50
    finally:
        desk.close()


def test_probe_says_what_a_file_is_and_refuses_what_is_none() -> None:
    limits = Limits(bytes=200_000, pixels=20_000)
    found = probe(encoded(photo(0, 60, 80), "PNG"), limits)
    assert (found.mime, found.width, found.height, found.ending) == ("image/png", 60, 80, ".png")
    sideways = Image.fromarray(photo(0, 60, 80))
    exif = sideways.getexif()
    exif[0x0112] = 6
    out = io.BytesIO()
    sideways.save(out, "JPEG", exif=exif)
    assert (probe(out.getvalue(), limits).width, probe(out.getvalue(), limits).height) == (80, 60)
    for bad in (
        b"",
        b"hello",
        encoded(photo(0), "JPEG")[:-400],  # Half an upload.
        encoded(np.zeros((1000, 1000, 3), np.uint8), "PNG"),  # A few kB that become many pixels.
        b"\0" * 300_000,
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ):
        with pytest.raises(BadPicture):
            probe(bad, limits)


def test_a_thumb_keeps_its_form_and_transparency() -> None:
    limits = Limits()
    small = Image.open(io.BytesIO(thumb(encoded(photo(0, 300, 200), "JPEG"), 160, limits)))
    assert (small.format, small.size) == ("WEBP", (160, 107))
    clear = np.dstack([photo(0, 60, 80), np.zeros((80, 60), np.uint8)])
    kept = Image.open(io.BytesIO(thumb(encoded(clear, "PNG"), 160, limits)))
    assert (kept.mode, kept.size) == ("RGBA", (60, 80))


def test_the_endings_are_those_of_the_decoder() -> None:
    assert {MIMES[kind]: endings for kind, endings in SUFFIXES.items()} == NAMES


@given(st.text(max_size=300), st.sampled_from([*NAMES, ""]))
def test_a_clean_name_is_safe_and_stays_so(name: str, mime: str) -> None:
    clean = clean_name(name, mime)
    assert 1 <= len(clean.encode("utf-8", "surrogatepass")) <= 100
    assert Path(clean).name == clean
    assert clean not in (".", "..")
    assert not clean.startswith(".")
    assert clean.isprintable()
    assert not set('<>:"|?*/\\') & set(clean)
    if mime:
        assert clean.lower().endswith(NAMES[mime])
        assert clean_name(clean, mime) == clean


@pytest.mark.parametrize(
    ("name", "mime", "clean"),
    [
        ("shoe.JPEG", "image/jpeg", "shoe.JPEG"),
        ("../../etc/passwd", "image/png", "passwd.png"),
        ("C:\\photos\\shoe.png", "image/jpeg", "shoe.jpg"),
        ("", "image/webp", "photo.webp"),
        ("v1.2 final", "image/png", "v1.2 final.png"),
        ("鞋子.jpg", "image/jpeg", "鞋子.jpg"),
        ("shoe.png", "", "shoe.png"),
        ("shoe.exe", "", "shoe.exe.bin"),
    ],
)
def test_names(name: str, mime: str, clean: str) -> None:
    assert clean_name(name, mime) == clean


def test_one_picture_gets_the_pixels_of_the_command_line(tmp_path: Path) -> None:
    data = encoded(photo(3, 90, 70), "JPEG")
    steps = [{"task": "enhance", "white_balance": 1.0, "tone": 0.5}]
    done = edit_one(steps, data, "shoe.jpg", Output(quality=90), {})
    (tmp_path / "shoe.jpg").write_bytes(data)
    edit = Enhance(EnhanceRequest(white_balance=1.0, tone=0.5))
    edit_photos([tmp_path / "shoe.jpg"], edit, tmp_path / "out", BatchOptions(quality=90, quiet=True))
    assert done.data == (tmp_path / "out" / "shoe.jpg").read_bytes()
    assert (done.name, done.mime, done.result.status, done.result.photo) == (
        "shoe.jpg",
        "image/jpeg",
        "done",
        "shoe.jpg",
    )


def test_what_is_wrong_with_one_picture_is_its_result_without_our_folders() -> None:
    done = edit_one([{"task": "backdrop"}], b"no picture", "shoe.jpg", Output(), {})
    assert done.data is None
    assert done.result.status == "failed"
    assert done.result.reason == (
        "shoe.jpg is not a picture: its content is none of JPEG, PNG, WEBP, TIFF, BMP, GIF, AVIF, HEIF."
    )


def test_pictures_that_steps_name_are_theirs_alone() -> None:
    mask = encoded(np.full((80, 60, 3), 255, np.uint8), "PNG")
    step = {"task": "repair", "mask": f"picture:{'a' * 64}", "method": "patch"}
    with pytest.raises(UsageError, match="is not here"):
        edit_one([step], encoded(photo(0), "JPEG"), "shoe.jpg", Output(), {"b" * 64: mask})


def test_verify_one_names_the_file_and_no_folder_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACKSHOT_HOME", str(tmp_path))  # What other tests released must not look like it.
    found = verify_one(encoded(photo(0), "JPEG"), "shoe.jpg", Limits())
    assert (found["file"], found["verdict"]) == ("shoe.jpg", "unmarked")
    assert "packshot-desk" not in json.dumps(found)
    assert verify_one(b"hello", "shoe.jpg", Limits())["verdict"] == "unreadable"
    with pytest.raises(PackshotError, match="megapixels"):
        verify_one(encoded(photo(0), "JPEG"), "shoe.jpg", Limits(pixels=100))


@dataclass(frozen=True, kw_only=True)
class Inner:
    """Inside."""

    size: int = 3


@dataclass(frozen=True, kw_only=True)
class Outer:
    """What is wanted.

    More of it.

    Attributes:
        name: of it: a text
            on two lines.
        low, high: bounds.

    Raises:
        UsageError: never.
    """

    name: str
    low: float = 0.0
    high: float | None = None
    kind: Literal["a", "b"] = "a"
    mask: Path | None = None
    many: tuple[str, ...] = ()
    inner: Inner = Inner()


def test_settings_as_json_schema() -> None:
    schema = _schema(Outer)
    assert schema["description"] == "What is wanted."
    assert schema["required"] == ["name"]
    properties = schema["properties"]
    assert properties["name"] == {"type": "string", "description": "of it: a text on two lines."}
    assert properties["low"] == {"type": "number", "description": "bounds.", "default": 0.0}
    assert properties["high"] == {
        "anyOf": [{"type": "number"}, {"type": "null"}],
        "description": "bounds.",
        "default": None,
    }
    assert properties["kind"] == {"enum": ["a", "b"], "default": "a"}
    assert properties["mask"]["anyOf"][0]["pattern"] == "^picture:[0-9a-f]{64}$"
    assert properties["many"] == {"type": "array", "items": {"type": "string"}}
    assert properties["inner"]["properties"]["size"] == {"type": "integer", "default": 3}


def test_every_task_is_described() -> None:
    tasks = describe_tasks()
    assert {"cutout", "enhance", "repair", "restyle", "backdrop", "extend", "anonymise"} <= tasks.keys()
    assert "description" in tasks["enhance"]["properties"]["scale"]
    assert json.loads(json.dumps(tasks)) == tasks


def test_an_edit_that_is_kept_ready_is_that_of_these_very_files() -> None:
    steps, plain = [{"task": "repair", "mask": f"picture:{'c' * 64}", "method": "patch"}], photo(0, 60, 80)
    results = []
    for top in (8, 50):
        mask = np.zeros((80, 60), np.uint8)
        mask[top : top + 10, 20:30] = 255
        done = edit_one(steps, encoded(plain, "PNG"), "shoe.png", Output(), {"c" * 64: encoded(mask, "PNG")})
        assert done.data is not None
        changed = np.asarray(Image.open(io.BytesIO(done.data)).convert("RGB")) != np.asarray(plain)[..., :3]
        results.append(np.flatnonzero(changed.any(axis=(1, 2))))
    assert results[0].max() < 18 and results[1].min() >= 50
