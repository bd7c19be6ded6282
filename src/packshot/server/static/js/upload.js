// Photos from drops, folders and pickers; sent one request each, a few at a time, with progress.
import { sentence } from "./app.js";

const KINDS = /\.(jpe?g|jfif|png|webp|avif|tiff?|bmp|gif|heic|heif)$/i;
const AT_ONCE = 3;

export const isPicture = (file) => file.type.startsWith("image/") || KINDS.test(file.name);

/** All files of a drop, folders included. */
export async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...transfer.files];
  const found = [];
  const walk = async (entry) => {
    if (entry.isFile) {
      found.push(await new Promise((good, bad) => entry.file(good, bad)));
    } else {
      const reader = entry.createReader();
      for (;;) {
        const some = await new Promise((good, bad) => reader.readEntries(good, bad));
        if (!some.length) break;
        for (const one of some) await walk(one);
      }
    }
  };
  for (const entry of entries) await walk(entry);
  return found;
}

/** Makes a zone take dropped and chosen files: `take(files)`. */
export function dropZone(zone, take) {
  let depth = 0;
  const over = (on) => zone.classList.toggle("over", on);
  zone.addEventListener("dragenter", (event) => { event.preventDefault(); depth += 1; over(true); });
  zone.addEventListener("dragover", (event) => event.preventDefault());
  zone.addEventListener("dragleave", () => { depth -= 1; if (depth <= 0) over(false); });
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    depth = 0;
    over(false);
    take(await filesOf(event.dataTransfer));
  });
  for (const input of zone.querySelectorAll("input[type=file]")) {
    input.addEventListener("change", () => { const files = [...input.files]; input.value = ""; if (files.length) take(files); });
  }
}

/** Sends one file to `url`; `progress(bytes)` is told how much of it is there. */
export function send(file, url, progress = () => {}) {
  return new Promise((good, bad) => {
    const request = new XMLHttpRequest();
    const body = new FormData();
    body.append("file", file, file.name);
    request.open("POST", url);
    request.setRequestHeader("Accept", "text/html, application/json;q=0.9");
    request.setRequestHeader("X-Fragment", "1");
    request.upload.onprogress = (event) => progress(event.loaded);
    request.onload = () => {
      let said = null;
      try { said = JSON.parse(request.responseText); } catch { /* no JSON */ }
      if (request.status < 300 && said) return good(said);
      bad(Object.assign(new Error(sentence(request.responseText, request.status)), { status: request.status }));
    };
    request.onerror = () => bad(Object.assign(new Error(document.getElementById("words").dataset.failed), { status: 0 }));
    request.send(body);
  });
}

/** A queue of files that are sent a few at a time; a busy studio is asked again after a while. */
export class Sender {
  constructor(url, { begun, done, failed, moved }) {
    Object.assign(this, { url, begun, done, failed, moved, waiting: [], active: 0 });
    this.reset();
  }
  reset() { this.total = 0; this.ended = 0; this.bytes = 0; this.sent = 0; this.since = performance.now(); }
  add(items) {
    if (!this.active && !this.waiting.length) this.reset();
    for (const item of items) { this.waiting.push(item); this.total += 1; this.bytes += item.file.size; }
    this.next();
  }
  drop(item) {
    const at = this.waiting.indexOf(item);
    if (at >= 0) { this.waiting.splice(at, 1); this.total -= 1; this.bytes -= item.file.size; this.moved(this); }
  }
  get left() {
    const gone = (performance.now() - this.since) / 1000;
    return this.sent && gone > 1.5 ? (gone / this.sent) * (this.bytes - this.sent) : null;
  }
  next() {
    while (this.active < AT_ONCE && this.waiting.length) this.one(this.waiting.shift());
    this.moved(this);
  }
  async one(item) {
    this.active += 1;
    this.begun(item);
    let before = 0;
    try {
      for (let tries = 0; ; tries += 1) {
        try {
          const picture = await send(item.file, this.url, (now) => {
            now = Math.min(now, item.file.size);
            this.sent += now - before; before = now; this.moved(this);
          });
          this.done(item, picture);
          break;
        } catch (error) {
          if (!(error.status === 503 || error.status === 429 || error.status === 0) || tries >= 4) throw error;
          await new Promise((good) => setTimeout(good, 1000 * 2 ** tries));
        }
      }
    } catch (error) {
      this.failed(item, error);
    }
    this.sent += item.file.size - before;
    this.ended += 1;
    this.active -= 1;
    this.next();
  }
}

/** A zone for one picture: sent, then the page goes on to `data-then` + its checksum. */
export function oneZone(zone) {
  const note = zone.querySelector("[data-note]");
  const bar = zone.querySelector("progress");
  dropZone(zone, async (files) => {
    const file = files.find(isPicture);
    note.textContent = "";
    if (!file) { note.textContent = zone.dataset.nopicture; return; }
    bar.hidden = false;
    bar.value = 0;
    try {
      const picture = await send(file, "/upload", (bytes) => { bar.value = bytes / file.size; });
      location.href = zone.dataset.then + picture.sha256;
    } catch (error) {
      bar.hidden = true;
      note.textContent = error.message;
    }
  });
}

for (const zone of document.querySelectorAll("[data-one-zone]")) oneZone(zone);
for (const one of document.querySelectorAll("[data-script]")) one.hidden = false;
