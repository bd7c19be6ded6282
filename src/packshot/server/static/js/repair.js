// Repair: painting, suggestions that are taken or left, the result, one mask for many photos.
import { ask, fill, follow, put } from "./app.js";
import { Painter } from "./paint.js";
import { Sender, isPicture } from "./upload.js";

const at = (id) => document.getElementById(id);
const page = at("repair");
const words = page.dataset;
const width = Number(words.width);
const height = Number(words.height);

const painter = new Painter(at("stage"), {
  width, height, words,
  said: (text) => { at("said").textContent = text; },
  changed: (all) => {
    at("undo").disabled = !all.strokes.length;
    at("redo").disabled = !all.undone.length;
    at("clear").disabled = !all.strokes.length;
    clearTimeout(painterLater);
    painterLater = setTimeout(tellCovered, 150);
  },
});
let painterLater = 0;
let covered = 0;

function tellCovered() {
  covered = painter.covered();
  const said = covered < 0.001 ? covered.toFixed(5) : covered.toFixed(3);
  at("covered").textContent = covered ? fill(words.covered, { n: (100 * said).toFixed(covered < 0.01 ? 2 : 1) }) : words.nothing;
  ready();
}
function ready() { at("many-run").disabled = !(covered && chosen.length && !chosen.some((one) => !one.sha256 && !one.error)); }

// Tools
const tools = [...document.querySelectorAll("[data-tool]")];
function pick(tool) {
  painter.tool = tool;
  for (const one of tools) {
    const on = one.dataset.tool === tool;
    one.setAttribute("aria-checked", String(on));
    one.tabIndex = on ? 0 : -1;
  }
  at("stage").dataset.tool = tool;
}
painter.picked = pick;
painter.resized = (size) => { at("brush").value = size; };
for (const one of tools) {
  one.onclick = () => painter.pick(one.dataset.tool);
  one.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const next = tools[(tools.indexOf(one) + by + tools.length) % tools.length];
    painter.pick(next.dataset.tool);
    next.focus();
  });
}
pick("brush");
at("brush").oninput = () => { painter.brush = Number(at("brush").value); };
at("undo").onclick = () => painter.undo();
at("redo").onclick = () => painter.redo();
at("clear").onclick = () => painter.clear();
at("zoom-in").onclick = () => painter.zoomBy(1.4);
at("zoom-out").onclick = () => painter.zoomBy(1 / 1.4);
at("zoom-fit").onclick = () => painter.fit();
at("numbers").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  const share = (name) => Number(form.get(name)) / 100;
  painter.addBox(share("x") * width, share("y") * height, share("w") * width, share("h") * height);
});

// Suggestions
let pieces = [];
at("suggest").onclick = async () => {
  at("suggest").disabled = true;
  at("suggesting").hidden = false;
  const bar = at("suggesting").querySelector("progress");
  try {
    const { id } = await (await ask(`/repair/suggest/${words.picture}`, { method: "POST" })).json();
    for (;;) {
      const said = await (await ask(`/repair/found/${id}`)).json();
      if (said.error) throw new Error(said.error);
      if (said.pieces) { await suggested(said); break; }
      bar.value = said.share;
      at("suggest-text").textContent = said.text;
      await new Promise((good) => setTimeout(good, 500));
    }
  } catch (error) {
    at("suggest-hint").textContent = error.message;
    at("suggest").disabled = false;
  }
  at("suggesting").hidden = true;
};

async function suggested(found) {
  if (!found.pieces.length) { at("suggest-hint").textContent = words.clean; at("suggest").hidden = true; return; }
  const image = new Image();
  image.src = found.map;
  await image.decode();
  const map = document.createElement("canvas");
  map.width = image.naturalWidth;
  map.height = image.naturalHeight;
  const ink = map.getContext("2d", { willReadFrequently: true });
  ink.drawImage(image, 0, 0);
  const levels = ink.getImageData(0, 0, map.width, map.height).data;
  pieces = found.pieces.map((piece, i) => ({ ...piece, canvas: drawn(levels, i + 1, map), stroke: null }));
  at("suggest").hidden = true;
  at("pieces").hidden = false;
  at("take-sure").hidden = !pieces.some((piece) => piece.sure);
  const list = at("piece-list");
  for (const piece of pieces) {
    const line = document.createElement("li");
    const label = document.createElement("label");
    label.className = "check";
    const box = document.createElement("input");
    box.type = "checkbox";
    const text = document.createElement("span");
    const where = `${Math.round(100 * (piece.box[0] + piece.box[2] / 2))} %, ${Math.round(100 * (piece.box[1] + piece.box[3] / 2))} %`;
    text.append(piece.name);
    const hint = document.createElement("span");
    hint.className = "hint";
    hint.textContent = piece.kind === "text" ? where : `${piece.sure ? words.sure : words.unsure} · ${where}`;
    text.append(hint);
    label.append(box, text);
    line.append(label);
    list.append(line);
    piece.box_input = box;
    box.onchange = () => take(piece, box.checked);
    line.onmouseenter = () => overlay(piece);
    line.onmouseleave = () => overlay();
    box.onfocus = () => overlay(piece);
    box.onblur = () => overlay();
  }
  overlay();
}

function drawn(levels, number, map) {
  const canvas = document.createElement("canvas");
  canvas.width = map.width;
  canvas.height = map.height;
  const ink = canvas.getContext("2d");
  const out = ink.createImageData(map.width, map.height);
  for (let i = 0; i < levels.length; i += 4) {
    if (levels[i] === number) { out.data[i] = 240; out.data[i + 1] = 68; out.data[i + 2] = 58; out.data[i + 3] = 255; }
  }
  ink.putImageData(out, 0, 0);
  return canvas;
}

function take(piece, on) {
  if (on && !piece.stroke) {
    piece.stroke = { tool: "picture", canvas: piece.canvas };
    painter.add(piece.stroke);
    if (piece.kind === "text") at("attest-row").classList.add("wanted");
  } else if (!on && piece.stroke) {
    painter.remove(piece.stroke);
    piece.stroke = null;
  }
  at("said").textContent = fill(on ? words.taken : words.left, { name: piece.name });
  overlay();
}

/** Frames around what was found and not taken; the one that is pointed at is stronger. */
function overlay(strong) {
  const canvas = at("found");
  canvas.width = width;
  canvas.height = height;
  const ink = canvas.getContext("2d");
  const line = Math.max(1.5, width / 500);
  for (const piece of pieces) {
    if (piece.stroke && piece !== strong) continue;
    const [x, y, w, h] = [piece.box[0] * width, piece.box[1] * height, piece.box[2] * width, piece.box[3] * height];
    const pad = line * 2;
    ink.setLineDash(piece.sure ? [] : [line * 4, line * 3]);
    for (const [colour, thick] of [["#fff", line * 2.4], [piece === strong ? "#f0443a" : "#2350c9", piece === strong ? line * 1.8 : line]]) {
      ink.strokeStyle = colour;
      ink.lineWidth = thick;
      ink.strokeRect(x - pad, y - pad, w + 2 * pad, h + 2 * pad);
    }
  }
}
at("take-sure").onclick = () => { for (const piece of pieces) if (piece.sure && !piece.stroke) { piece.box_input.checked = true; take(piece, true); } };
at("leave-all").onclick = () => { for (const piece of pieces) if (piece.stroke) { piece.box_input.checked = false; take(piece, false); } };
document.addEventListener("keydown", () => setTimeout(unticked));
document.addEventListener("click", () => setTimeout(unticked));
function unticked() {  // What was undone by hand is no longer taken.
  for (const piece of pieces) {
    if (piece.stroke && !painter.strokes.includes(piece.stroke)) { piece.stroke = null; piece.box_input.checked = false; overlay(); }
  }
}

// The result
const form = at("settings");
async function body() {
  const data = new FormData(form);
  data.append("mask", await painter.blob(), "mask.png");
  return data;
}
async function run() {
  tellCovered();
  const error = at("run-error");
  error.hidden = true;
  if (!covered) { error.textContent = words.nothing; error.hidden = false; return; }
  at("run").disabled = true;
  try {
    const answer = await ask(`/repair/run/${words.picture}`, { method: "POST", body: await body() });
    put(at("result"), await answer.text());
    at("result").scrollIntoView({ block: "nearest", behavior: "smooth" });
    await follow(at("result"));
    if (at("result").querySelector("[data-needs-word]")) { at("attest-row").classList.add("wanted"); at("attest").focus(); }
    else at("result").scrollIntoView({ block: "start", behavior: "smooth" });
  } catch (problem) {
    error.textContent = problem.message;
    error.hidden = false;
  }
  at("run").disabled = false;
}
form.addEventListener("submit", (event) => { event.preventDefault(); form.elements.seed.value = 0; run(); });
at("result").addEventListener("click", (event) => {
  if (!event.target.closest("[data-another]")) return;
  form.elements.seed.value = Number(form.elements.seed.value) + 1;
  run();
});

// Many photos
let chosen = [];
const sender = new Sender("/upload", {
  begun: () => {},
  done: (item, picture) => { item.sha256 = picture.sha256; },
  failed: (item, error) => { item.error = error.message; },
  moved: (all) => {
    const busy = all.active + all.waiting.length > 0;
    at("many-bar").hidden = !busy;
    at("many-bar").value = all.bytes ? all.sent / all.bytes : 0;
    const failed = chosen.filter((one) => one.error).map((one) => `${one.file.name}: ${one.error}`);
    at("many-text").textContent = busy ? fill(words.sending, { done: all.ended, total: all.total }) : [fill(words.chosen, { n: chosen.filter((one) => one.sha256).length }), ...failed].join(" · ");
    ready();
  },
});
at("many-files").onchange = () => {
  const files = [...at("many-files").files].filter(isPicture).map((file) => ({ file, sha256: null, error: null }));
  at("many-files").value = "";
  chosen.push(...files);
  sender.add(files);
};
at("many-run").onclick = async () => {
  at("many-run").disabled = true;
  try {
    const data = await body();
    data.append("pictures", chosen.filter((one) => one.sha256).map((one) => one.sha256).join(" "));
    location.href = (await (await ask("/repair/many", { method: "POST", body: data })).json()).location;
  } catch (error) {
    at("many-text").textContent = error.message;
    at("many-run").disabled = false;
  }
};

// For whoever drives this page from outside: from here on every control works.
page.dataset.ready = "yes";
