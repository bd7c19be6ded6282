// What every page has: theme, times, sliders' figures, before/after, messages. Other scripts import from here.

const words = () => document.getElementById("words").dataset;

/** Shows a message for a while; `undo`: {text, act} adds a button. */
export function toast(text, undo) {
  const box = document.createElement("div");
  box.className = "toast";
  box.append(text);
  if (undo) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = undo.text;
    button.onclick = () => { undo.act(); box.remove(); };
    box.append(button);
  }
  document.getElementById("toasts").append(box);
  setTimeout(() => box.remove(), undo ? 9000 : 5000);
}

/** The sentence of an answer that is an error: of a fragment, of problem+json, or that the studio did not answer. */
export function sentence(text, status) {
  try {
    const said = JSON.parse(text);
    if (typeof said.detail === "string" && said.detail) return said.detail;
  } catch {
    const part = new DOMParser().parseFromString(text, "text/html").querySelector("[data-problem]");
    if (part) return part.textContent.trim();
  }
  return `${words().failed}${status ? ` (${status})` : ""}`;
}

/** fetch that fails with a sentence. */
export async function ask(url, options = {}) {
  let answer;
  const headers = { Accept: "text/html, application/json;q=0.9", "X-Fragment": "1", ...options.headers };
  try {
    answer = await fetch(url, { credentials: "same-origin", ...options, headers });
  } catch {
    throw Object.assign(new Error(words().failed), { status: 0 });
  }
  if (answer.ok) return answer;
  throw Object.assign(new Error(sentence(await answer.text(), answer.status)), { status: answer.status });
}

/** Puts HTML of the server into an element, and makes it alive. */
export function put(target, html) {
  target.innerHTML = html;
  window.htmx?.process(target);
  enliven(target);
}

/** Follows work that is under way: its fragment is asked for until it is no longer [data-working]. */
export async function follow(target, ended = () => {}) {
  const run = (target.run = (target.run || 0) + 1);
  for (;;) {
    const working = target.querySelector("[data-working]");
    if (!working) break;
    await new Promise((good) => setTimeout(good, 500));
    if (target.run !== run) return;
    let answer;
    try {
      answer = await ask(working.dataset.working);
    } catch (error) {
      if (error.status === 0 || error.status >= 500) continue;  // It may come back.
      toast(error.message);
      target.replaceChildren();
      break;
    }
    const html = await answer.text();
    if (target.run !== run) return;
    const next = new DOMParser().parseFromString(html, "text/html").querySelector("[data-working]");
    if (next) {  // Only what changes, so that nothing is read out again and again.
      for (const part of next.querySelectorAll("[data-part]")) {
        const old = working.querySelector(`[data-part="${part.dataset.part}"]`);
        if (part.tagName === "PROGRESS") old.value = part.value; else old.textContent = part.textContent;
      }
    } else {
      put(target, html);
    }
  }
  ended(target);
}

/** Fills a text with {names}. */
export const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? values[name] : whole));

/** Seconds as words, by the page's own units. */
export function lasts(seconds) {
  const zh = document.documentElement.lang.startsWith("zh");
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} ${zh ? "秒" : "s"}`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} ${zh ? "分钟" : "min"}`;
  return `${Math.round(seconds / 3600)} ${zh ? "小时" : "h"}`;
}

function theme(event) {
  const link = event.target.closest("[data-theme-to]");
  if (!link) return;
  event.preventDefault();
  const to = link.dataset.themeTo;
  document.documentElement.dataset.theme = to;
  document.cookie = `theme=${to}; path=/; max-age=31536000; samesite=lax`;
  for (const one of document.querySelectorAll("[data-theme-to]")) {
    one.setAttribute("aria-pressed", String(one.dataset.themeTo === to));
  }
}

function keepQuery(root) {
  for (const link of root.querySelectorAll("[data-keep-query]")) {
    const query = new URLSearchParams(location.search);
    const [name, value] = link.dataset.keepQuery.split("=");
    query.set(name, value);
    link.href = `?${query}`;
  }
}

const shortly = new Intl.DateTimeFormat(document.documentElement.lang, { hour: "2-digit", minute: "2-digit" });
const fully = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });

function when(root) {
  for (const time of root.querySelectorAll("time[data-when]")) {
    const date = new Date(time.dateTime);
    if (Number.isNaN(+date)) continue;
    const today = date.toDateString() === new Date().toDateString();
    time.textContent = (today ? shortly : fully).format(date);
    time.title = fully.format(date);
  }
}

function figures(root) {
  for (const out of root.querySelectorAll("output[for]")) {
    const input = document.getElementById(out.htmlFor.value);
    if (!input || out.dataset.bound) continue;
    out.dataset.bound = "1";
    const show = () => {
      const value = Number(input.value);
      out.value = out.dataset.percent !== undefined ? `${Math.round(value * 100)} %` : input.value + (out.dataset.unit || "");
      if (out.dataset.percent !== undefined) input.setAttribute("aria-valuetext", out.value);
    };
    input.addEventListener("input", show);
    show();
  }
}

function compares(root) {
  for (const figure of root.querySelectorAll("[data-compare]")) {
    if (figure.dataset.bound) continue;
    figure.dataset.bound = "1";
    const frame = figure.querySelector(".compare-frame");
    const range = figure.querySelector("input[type=range]");
    const after = figure.querySelector(".compare-after");
    // As wide as its picture at three quarters of the window's height, so that nothing lies beside it.
    frame.style.maxWidth = `calc(74vh * ${after.getAttribute("width") / after.getAttribute("height")})`;
    const before = figure.querySelector("[data-place]");
    if (before) {  // Where the photo lies in the picture, so that the product does not move.
      const [left, top, width, height] = before.dataset.place.split(" ").map((share) => `${100 * share}%`);
      Object.assign(before.style, { left, top, width, height, objectFit: "fill", maxWidth: "none" });
    }
    const show = () => {
      frame.style.setProperty("--at", `${range.value}%`);
      range.setAttribute("aria-valuetext", `${words().before} ${range.value} %, ${words().after} ${100 - range.value} %`);
    };
    range.addEventListener("input", show);
    show();
  }
}

/** Makes what the server sent alive: times, sliders, before/after. */
export function enliven(root = document) {
  when(root);
  figures(root);
  compares(root);
  keepQuery(root);
}

document.addEventListener("click", theme);
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  toast(words().copied);
});
document.addEventListener("click", (event) => {  // An open "More" closes when something else is touched.
  for (const open of document.querySelectorAll("details.more[open]")) if (!open.contains(event.target)) open.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const open of document.querySelectorAll("details.more[open]")) { open.open = false; open.querySelector("summary").focus(); }
});
document.addEventListener("submit", (event) => {  // A question before something that cannot be undone.
  const text = event.target.dataset?.confirm;
  if (text && !window.confirm(text)) event.preventDefault();
});
for (const name of ["htmx:response:error", "htmx:error"]) {
  document.addEventListener(name, (event) => { if (!event.target.closest?.("[hx-trigger]")) toast(words().failed); });
}
for (const name of ["htmx:after:swap", "htmx:after:settle"]) document.addEventListener(name, () => enliven());
enliven();
