// Create: an endless sheet of made pictures; keep (K), reject (R), undo; a photo to be like; what is kept goes on.
import { ask, enliven, fill, follow, lasts, put, toast } from "./app.js";
import { dropZone, isPicture } from "./upload.js";

const at = (id) => document.getElementById(id);
const form = at("ask");
const sheet = at("sheet");

if (form) {
  const texts = sheet.dataset;
  let next = null;      // seed and offset of the next pictures; null: nothing to go on with
  let asked = null;     // the settings that the sheet was made with
  let busy = false;
  let usual = 3;        // seconds of one step, learnt from the last
  let ahead = 0;        // steps that came by scrolling alone since the last key or click

  const problem = (text) => {
    const box = at("problem");
    box.replaceChildren();
    box.hidden = !text;
    if (!text) return;
    const message = document.createElement("div");
    message.className = "message bad";
    message.setAttribute("role", "alert");
    message.append(Object.assign(document.createElement("p"), { textContent: text }));
    box.append(message);
  };

  const progress = (count) => {
    const began = performance.now();
    const show = () => {
      const gone = (performance.now() - began) / 1000;
      at("making-bar").value = Math.min(0.97, gone / usual);
      const left = usual - gone;
      at("making-text").textContent = left > 0.5
        ? fill(texts.making, { n: count, time: lasts(left) }) : fill(texts.longer, { n: count });
    };
    at("making").hidden = false;
    show();
    const timer = setInterval(show, 400);
    return (worked) => {
      clearInterval(timer);
      at("making").hidden = true;
      if (worked) usual = 0.6 * usual + 0.4 * (performance.now() - began) / 1000;
    };
  };

  const find = async (url) => {
    const box = at("finding");
    put(box, await (await ask(url)).text());
    await follow(box);
    const wrong = box.querySelector("[data-problem]");
    box.replaceChildren();
    if (wrong) throw new Error(wrong.textContent.trim());
  };

  const load = async () => {
    if (busy || next === null || !asked) return;
    busy = true;
    at("make").disabled = at("more").disabled = true;
    const data = new FormData();
    for (const [name, value] of asked) data.append(name, value);
    data.set("seed", next.seed);
    data.set("offset", next.offset);
    let ended = progress(12);
    try {
      let came = await (await ask("/create/sheet", { method: "POST", body: data })).json();
      if (came.work) {  // The photo has to be found in the model first, which takes a while.
        ended(false);
        await find(came.work);
        ended = progress(12);
        came = await (await ask("/create/sheet", { method: "POST", body: data })).json();
      }
      ended(true);
      sheet.insertAdjacentHTML("beforeend", came.html);
      next = came.next;
      at("said").textContent = came.said.join(" ");
      at("gate").textContent = came.gate;
      problem("");
    } catch (error) {
      ended(false);
      problem(error.message);
      next = null;
    } finally {
      busy = false;
      at("make").disabled = at("more").disabled = false;
      at("more-row").hidden = next === null;
      if (next !== null && near()) watch.disconnect(), watch.observe(at("more-row"));
    }
  };

  const near = () => at("more-row").getBoundingClientRect().top < innerHeight + 200;
  const watch = new IntersectionObserver((seen) => {
    // Not without end where nobody looks: a scroll or a key allows some more steps.
    if (seen.some((one) => one.isIntersecting) && sheet.children.length && ahead < 6) { ahead += 1; load(); }
  }, { rootMargin: "200px" });
  for (const name of ["scroll", "keydown", "pointerdown"]) addEventListener(name, () => { ahead = 0; }, { passive: true });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    asked = [...new FormData(form)];
    next = { seed: Number(form.elements.seed.value || 0), offset: 0 };
    sheet.replaceChildren();
    at("begin").hidden = true;
    at("said").textContent = "";
    load().then(() => watch.observe(at("more-row")));
    if (at("said").getBoundingClientRect().top > innerHeight * 0.8) at("said").scrollIntoView({ block: "start" });
  });
  at("more").addEventListener("click", load);
  at("run").addEventListener("change", () => at("choose-run").submit());

  // Keep and reject.
  const decide = async (tile, decision) => {
    const data = new URLSearchParams({ sha256: tile.dataset.sha, decision });
    try {
      const html = await (await ask("/create/choose", { method: "POST", body: data })).text();
      put(at("kept"), html);
      return true;
    } catch (error) {
      toast(error.message);
      return false;
    }
  };
  const keep = async (tile) => {
    const button = tile.querySelector('[data-decide="keep"]');
    const was = button.getAttribute("aria-pressed") === "true";
    button.setAttribute("aria-pressed", String(!was));
    tile.classList.toggle("is-kept", !was);
    if (!(await decide(tile, was ? "undo" : "keep"))) {
      button.setAttribute("aria-pressed", String(was));
      tile.classList.toggle("is-kept", was);
    }
  };
  const reject = async (tile) => {
    const beside = tile.nextElementSibling || tile.previousElementSibling;
    const after = tile.nextElementSibling;
    if (!(await decide(tile, "reject"))) return;
    const button = tile.querySelector('[data-decide="keep"]');
    button.setAttribute("aria-pressed", "false");
    tile.classList.remove("is-kept");
    const focused = tile.contains(document.activeElement);
    tile.remove();
    if (focused) (beside || at("make")).focus();
    toast(texts.rejected, { text: texts.undo, act: async () => {
      if (await decide(tile, "undo")) { sheet.insertBefore(tile, after?.isConnected ? after : null); tile.focus(); }
    } });
  };
  sheet.addEventListener("click", (event) => {
    const button = event.target.closest("[data-decide]");
    if (button) (button.dataset.decide === "keep" ? keep : reject)(button.closest("[data-sha]"));
  });
  sheet.addEventListener("keydown", (event) => {
    const tile = event.target.closest("[data-sha]");
    if (!tile || event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase();
    const step = { arrowright: 1, arrowleft: -1 }[key];
    if (key === "k") keep(tile);
    else if (key === "r") reject(tile);
    else if (step) (step > 0 ? tile.nextElementSibling : tile.previousElementSibling)?.focus();
    else return;
    event.preventDefault();
  });

  // The photo that pictures shall be like.
  const like = (sha256, name) => {
    at("like").value = sha256;
    at("like-one").hidden = at("variation-field").hidden = !sha256;
    at("like-none").hidden = at("truncation-field").hidden = !!sha256;
    if (!sha256) return;
    at("like-picture").src = `/v1/pictures/${sha256}?thumb=160`;
    at("like-name").textContent = name;
  };
  dropZone(form.querySelector("[data-drop]"), async (files) => {
    const file = files.find(isPicture);
    if (!file) return;
    const data = new FormData();
    data.append("file", file);
    try {
      const came = await (await ask("/create/photo", { method: "POST", body: data })).json();
      problem("");
      like(came.sha256, came.name);
      at("like-clear").focus();
    } catch (error) {
      problem(error.message);
    }
  });
  at("like-clear").addEventListener("click", () => { like("", ""); at("like-file").focus(); });

  // Teaching the shop's taste.
  at("kept").addEventListener("submit", async (event) => {
    if (event.target.id !== "teach") return;
    event.preventDefault();
    const button = event.target.querySelector("button");
    button.disabled = true;
    try {
      put(at("taught"), await (await ask("/create/teach", { method: "POST", body: new URLSearchParams(new FormData(event.target)) })).text());
      await follow(at("taught"));
    } catch (error) {
      toast(error.message);
      button.disabled = false;
    }
  });
  enliven();
}
