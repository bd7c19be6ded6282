// Restyle: one's own photo in every style, small, one after the other; a look at the chosen one; the full size.
import { ask, fill, follow, put, toast } from "./app.js";
import { isPicture, send } from "./upload.js";

const AT_ONCE = 2;
const at = (id) => document.getElementById(id);
const page = at("restyle");
const form = at("wish");

// Thumbnails: those that are in view first
const waiting = [...document.querySelectorAll("img[data-thumb]")];
const total = waiting.length;
let made = 0;
function tell() {
  at("made").textContent = made < total ? fill(page.dataset.made, { n: made, total }) : "";
}
async function next() {
  const seen = waiting.findIndex((img) => { const box = img.getBoundingClientRect(); return box.bottom > 0 && box.top < innerHeight; });
  const [img] = waiting.splice(Math.max(0, seen), 1);
  if (!img) return;
  for (let tries = 0; tries < 4; tries += 1) {
    try {
      const answer = await ask(img.dataset.thumb);
      const url = URL.createObjectURL(await answer.blob());
      img.onload = () => URL.revokeObjectURL(url);
      img.src = url;
      img.classList.remove("is-sample");
      break;
    } catch (error) {
      if (error.status !== 503 && error.status !== 0) { img.closest(".tile").title = error.message; break; }
      await new Promise((good) => setTimeout(good, 1500 * 2 ** tries));
    }
  }
  made += 1;
  tell();
  await next();
}
tell();
for (let i = 0; i < AT_ONCE; i += 1) next();

// The chosen one
let later = 0;
let asked = 0;
async function show(url, full) {
  const own = (asked += 1);
  const busy = at("busy");
  at("run").disabled = true;
  try {
    const answer = await ask(url, { method: "POST", body: new FormData(form) });
    if (own !== asked) return;
    put(busy, await answer.text());
    await follow(busy);
    if (own !== asked) return;
    if (busy.querySelector("[data-problem]")) return;
    at("view").replaceChildren(...busy.childNodes);
    if (full) at("view").scrollIntoView({ block: "nearest", behavior: "smooth" });
  } catch (error) {
    if (own === asked) { busy.replaceChildren(); toast(error.message); }
  } finally {
    if (own === asked) at("run").disabled = !form.elements.style.value;
  }
}
function chosen() {
  at("hint").hidden = Boolean(form.elements.style.value);
  at("run").disabled = !form.elements.style.value;
  if (!page.dataset.preview || !form.elements.style.value) return;
  clearTimeout(later);
  later = setTimeout(() => show(page.dataset.preview, false), 250);
}
for (const input of form.elements) input.addEventListener("change", chosen);
form.addEventListener("submit", (event) => event.preventDefault());
at("run").onclick = () => { clearTimeout(later); show(page.dataset.run, true); };
if (form.elements.style.value) chosen();

// The style of any picture
const own = at("own-style");
if (own) {
  own.onchange = async () => {
    const file = [...own.files].find(isPicture);
    if (!file) return;
    try {
      const picture = await send(file, "/upload");
      location.href = `/restyle?picture=${page.dataset.picture}&style=${picture.sha256}`;
    } catch (error) {
      toast(error.message);
    }
  };
}

// The link for shoppers
const link = at("link-form");
if (link) {
  link.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      put(at("link"), await (await ask(link.action, { method: "POST", body: new FormData(link) })).text());
      at("the-link").select();
    } catch (error) {
      toast(error.message);
    }
  });
}
