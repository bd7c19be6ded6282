"""The frame of the pages: addresses of files, theme, errors, sentences, work with its seconds, logins."""

import hashlib
import re
import time
from pathlib import Path
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packshot.core.errors import PackshotError
from packshot.jobs.desk import DeskBusy
from packshot.jobs.records import NotFound
from packshot.server.pages import frame
from packshot.server.pages.sentences import tell
from packshot.server.pages.working import Works
from tests.servers import key_for, make_app, running

HTML = {"Accept": "text/html"}


@pytest.fixture
def app(tmp_path: Path):
    return make_app(tmp_path)


def test_the_files_of_others_are_what_their_list_says() -> None:
    text = (frame.STATIC / "vendor" / "README.md").read_text()
    rows = re.findall(r"^\| (\S+) \|.*\| ([0-9a-f]{64}) \|$", text, re.MULTILINE)
    assert rows
    for name, digest in rows:
        assert hashlib.sha256((frame.STATIC / "vendor" / name).read_bytes()).hexdigest() == digest
    listed = {name for name, _ in rows} | {"README.md", "htmx-LICENSE.txt"}
    assert {p.name for p in (frame.STATIC / "vendor").iterdir()} == listed


def test_no_page_has_script_or_style_in_it() -> None:
    for path in frame.TEMPLATES.glob("*.html"):
        text = path.read_text()
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|https?://(?!shop\.example)", text), (
            path
        )
    for path in frame.STATIC.rglob("*"):
        if path.suffix in (".css", ".js") and "vendor" not in path.parts:
            assert not re.search(r"https?://(?!www\.w3\.org)|eval\(|new Function", path.read_text()), path


def test_static_files(app) -> None:
    with running(app) as client:
        page = client.get("/verify").text
        for address in set(re.findall(r'(?:href|src)="(/static/[^"#]+)', page)):
            answer = client.get(address, headers={"Accept-Encoding": "gzip"})
            assert answer.status_code == 200 and "immutable" in answer.headers["cache-control"]
            assert client.get(address, headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
        assert client.get("/static/css/app.css").headers["cache-control"] == "public, max-age=300"
        for bad in (
            "../app.py",
            "%2e%2e/app.py",
            "css",
            "nothing.css",
            "../locale/zh.toml",
            "css/../../pages/frame.py",
        ):
            assert client.get(f"/static/{bad}").status_code == 404, bad
        assert client.get("/favicon.ico").headers["content-type"] == "image/svg+xml"


def test_the_theme_leads_back_to_this_site_only(app) -> None:
    with running(app, follow_redirects=False) as client:
        for back, leads in {
            "/jobs": "/jobs",
            "//evil.example": "/",
            "/\\evil.example": "/",
            "http://evil.example": "/",
        }.items():
            answer = client.get("/theme/dark", params={"back": back})
            assert (answer.status_code, answer.headers["location"]) == (303, leads)
            assert "theme=dark" in answer.headers["set-cookie"]
        assert "set-cookie" not in client.get("/theme/pink").headers


def test_errors_are_pages_parts_or_json(app) -> None:
    with running(app) as client:
        page = client.get("/jobs/nothing", headers=HTML)
        assert page.status_code == 404 and "<h1>There is nothing here</h1>" in page.text
        part = client.get("/jobs/nothing", headers={**HTML, "X-Fragment": "1"})
        assert part.status_code == 404 and part.text.lstrip().startswith('<div class="message bad"')
        assert client.get("/jobs/nothing").headers["content-type"] == "application/problem+json"
        chinese = client.get("/nothing", headers={**HTML, "Accept-Language": "zh"})
        assert "这个地址没有内容。" in chinese.text


def test_who_has_no_key_is_led_to_the_login_and_sees_verify(tmp_path: Path) -> None:
    app = make_app(tmp_path, keys="on")
    with running(app, follow_redirects=False) as client:
        answer = client.get("/jobs?state=review", headers=HTML)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login?next=/jobs%3Fstate%3Dreview")
        login = client.get("/login?next=/jobs", headers=HTML)
        assert '<input type="hidden" name="next" value="/jobs">' in login.text
        assert (
            'action="/login"' in login.text and "same-origin" in login.text
        )  # Else the browser hides where it is from.
        wrong = client.post("/login", data={"key": "pk_no", "next": "/jobs"}, headers=HTML)
        assert wrong.status_code == 401 and 'role="alert"' in wrong.text
        verify = client.get("/verify", headers=HTML)
        assert verify.status_code == 200 and 'href="/train"' not in verify.text and 'href="/login"' in verify.text
        key = key_for(app, "shop", "read")
        assert 'action="/logout"' in client.get("/jobs", headers={**HTML, **key}).text
        refused = client.get("/", headers={**HTML, **key})
        assert refused.status_code == 403 and "scope" in refused.text


def test_sentences_of_tasks_for_people() -> None:
    both = (
        "cutout: the cut-out is not sure (confidence 0.31, wanted 0.50); "
        "check: No border around the picture. Seen: a border of 9 pixels."
    )
    assert tell(both, "en") == (
        "Cut-out: the cut-out is not sure (confidence 0.31, wanted 0.50); "
        "Channel's rules: No border around the picture. Seen: a border of 9 pixels."
    )
    assert (
        tell(both, "zh")
        == "抠图：抠图拿不准（把握 0.31，要求 0.50）；渠道规则：图片四周没有边框。 实测：9 像素的边框。"
    )
    two = (
        "check: At least 100 x 100 pixels. Seen: 64 x 64. "
        "The background is exactly 255, 255, 255. Seen: the background is not plain."
    )
    assert (
        tell(two, "zh")
        == "渠道规则：至少 100 x 100 像素。 实测：64 x 64。 背景正好是 255, 255, 255。 实测：背景不是纯色。"
    )
    assert tell("The product reaches the photo's border (top, left): it may be cut off there.", "zh").endswith(
        "（上, 左），那里可能被裁掉了。"
    )
    assert "--mask" not in tell(
        "Left alone, since it may belong to the product: dust (3); if it is damage, draw a --mask.", "en"
    )
    assert tell("https://x.example: never heard of", "zh") == "https://x.example: never heard of"
    assert tell(None, "zh") == ""


@given(st.text(max_size=200))
def test_any_sentence_is_told_somehow(text: str) -> None:
    assert isinstance(tell(text, "zh"), str)
    assert text.isascii() is False or "{" in text or tell(text, "en").count("{}") == text.count("{}")


def test_work_tells_its_seconds_and_learns_from_them() -> None:
    works = Works()

    def ended(work):
        deadline = time.monotonic() + 10
        while work.ended is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return work

    first = works.start("a", "repair", 1.7, lambda: time.sleep(0.2) or "there")
    assert first.expected == pytest.approx(6.0) and 0 <= first.share < 0.2
    assert ended(first).result == "there" and first.error is None
    second = works.start("a", "repair", 1.7, lambda: "there")
    assert second.expected == pytest.approx(0.7 * 6.0 + 0.3 * first.seconds, rel=0.01)

    def refuse():
        raise PackshotError("This is none.")

    failed = ended(works.start("a", "repair", 1.7, refuse))
    assert (failed.result, failed.error) == (None, "This is none.")
    assert works.get("a", first.id) is first
    for tenant, id in (("b", first.id), ("a", "nothing")):
        with pytest.raises(NotFound):
            works.get(tenant, id)


def test_strangers_do_not_take_every_process() -> None:
    works, go = Works(), Event()
    works.check_room("survive", 1)
    works.start("a", "survive", 1, go.wait)
    works.check_room("restyle", 1)
    with pytest.raises(DeskBusy, match="come again"):
        works.check_room("survive", 1)
    works.check_room("survive", 2)
    go.set()
    deadline = time.monotonic() + 10
    while any(work.ended is None for work in works._works.values()):
        assert time.monotonic() < deadline
    works.check_room("survive", 1)


def test_what_was_made_is_forgotten_with_what_it_shows() -> None:
    works = Works()
    own, other = works.start("a", "taste", 1, lambda: "a page"), works.start("b", "taste", 1, lambda: "another")
    assert own.over.wait(10) and other.over.wait(10)
    works.forget("a")
    with pytest.raises(NotFound):
        works.get("a", own.id)
    assert works.get("b", other.id).result == "another"
