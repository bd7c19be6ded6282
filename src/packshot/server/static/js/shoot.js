// Shoot: photos are sent as soon as they are chosen, so that Start takes a moment only.
import { ask, fill, lasts, toast } from "./app.js";
import { Sender, dropZone, isPicture } from "./upload.js";

const SHOWN = 60;
const form = document.getElementById("shoot");
const say = form.dataset;
const at = (id) => document.getElementById(id);
let items = [];
let starting = false;

const sender = new Sender("/upload", {
  begun: (item) => show(item),
  done: (item, picture) => { item.sha256 = picture.sha256; show(item); },
  failed: (item, error) => { item.error = error.message; show(item); refuse(`${item.file.name}: ${error.message}`, item); },
  moved: (all) => progress(all),
});

function take(files) {
  at("refused").replaceChildren();
  const pictures = files.filter(isPicture).sort((a, b) => (a.webkitRelativePath || a.name).localeCompare(b.webkitRelativePath || b.name));
  if (!pictures.length) return refuse(say.nopictures);
  const good = [];
  for (const file of pictures) {
    if (file.size > say.bytes) refuse(fill(say.toolarge, { name: file.name, most: Math.round(say.bytes / 1048576) }));
    else if (items.length + good.length >= say.most) { refuse(fill(say.toomany, { most: say.most })); break; }
    else good.push({ file, sha256: null, error: null, tile: null });
  }
  items.push(...good);
  good.forEach(place);
  sender.add(good);
  all();
}

function refuse(text, item) {
  const box = document.createElement("div");
  box.className = "message bad";
  const line = document.createElement("p");
  line.textContent = text;
  box.append(line);
  if (item) {
    const again = document.createElement("button");
    again.type = "button";
    again.className = "button small";
    again.textContent = say.again;
    again.onclick = () => { box.remove(); item.error = null; show(item); sender.add([item]); all(); };
    box.append(again);
  }
  if (at("refused").children.length < 8) at("refused").append(box);
}

function place(item) {
  if (at("tiles").children.length >= SHOWN) return;
  const tile = document.createElement("li");
  tile.className = "tile";
  const pic = document.createElement("div");
  pic.className = "tile-pic checker";
  const foot = document.createElement("div");
  foot.className = "tile-foot";
  const name = document.createElement("span");
  name.className = "tile-name";
  name.textContent = item.file.name;
  foot.append(name);
  const remove = document.createElement("button");
  remove.type = "button";
  remove.className = "icon-button small tile-x";
  remove.setAttribute("aria-label", fill(say.remove, { name: item.file.name }));
  remove.append(at("files").closest("form").ownerDocument.createTextNode("×"));
  remove.onclick = () => {
    items = items.filter((one) => one !== item);
    sender.drop(item);
    undo([item]);
    const next = tile.nextElementSibling?.querySelector("button") || at("clear");
    tile.remove();
    const hidden = items.find((one) => !one.tile);
    if (hidden) place(hidden);
    all();
    next.focus();
  };
  tile.append(pic, foot, remove);
  item.tile = tile;
  at("tiles").append(tile);
  show(item);
}

function show(item) {
  if (!item.tile) return;
  const pic = item.tile.firstChild;
  if (item.sha256 && !pic.firstChild) {
    const img = document.createElement("img");
    img.loading = "lazy";
    img.alt = "";
    img.src = `/v1/pictures/${item.sha256}?thumb=320`;
    pic.append(img);
  }
  item.tile.classList.toggle("is-waiting", !item.sha256 && !item.error);
  item.tile.classList.toggle("is-failed", Boolean(item.error));
}

function progress(sending) {
  const busy = sending.active + sending.waiting.length > 0;
  at("sending").hidden = !busy;
  if (busy) {
    at("sending-text").textContent = fill(say.uploading, { done: sending.ended, total: sending.total });
    at("sending-left").textContent = sending.left === null ? "" : fill(say.left, { time: lasts(sending.left) });
    at("sending-bar").value = sending.bytes ? sending.sent / sending.bytes : 0;
  }
  ready();
}

function all() {
  at("chosen").hidden = !items.length;
  at("teach").hidden = at("samples").hidden = items.length > 0;
  form.querySelector("[data-drop]").classList.toggle("compact", items.length > 0);
  at("count").textContent = items.length === 1 ? say.one : fill(say.many, { n: items.length });
  const hidden = items.length - at("tiles").children.length;
  at("more").hidden = hidden <= 0;
  at("more").textContent = fill(say.more, { n: hidden });
  ready();
}

function ready() {
  const sent = items.filter((item) => item.sha256).length;
  const busy = sender.active + sender.waiting.length > 0;
  const button = at("start");
  button.disabled = starting || busy || !sent;
  button.textContent = starting ? say.starting : sent ? (sent === 1 ? say.startOne : fill(say.startMany, { n: sent })) : say.start;
  at("start-hint").textContent = busy ? say.wait : "";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (at("start").disabled) return;
  starting = true;
  ready();
  const body = Object.fromEntries([...new FormData(form)].filter(([name]) => name !== "photos"));
  body.pictures = items.filter((item) => item.sha256).map((item) => item.sha256);
  try {
    const answer = await ask("/", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    location.href = (await answer.json()).location;
  } catch (error) {
    starting = false;
    at("refused").replaceChildren();
    refuse(error.message);
    ready();
    at("refused").scrollIntoView({ block: "center" });
  }
});

function hints() {
  const background = form.elements.background.value;
  at("own-colour").hidden = background !== "own";
  at("white-hint").hidden = background === "white" || form.elements.channel.value !== at("white-hint").dataset.channel;
}

form.addEventListener("change", hints);
at("try").onclick = async () => {
  at("try").disabled = true;
  try {
    take(await Promise.all([...document.querySelectorAll("[data-sample]")].map(async (img) => new File([await (await ask(img.src)).blob()], `${img.dataset.sample}.jpg`, { type: "image/jpeg" }))));
  } catch (error) {
    refuse(error.message);
  }
  at("try").disabled = false;
};
at("clear").onclick = () => {
  const gone = items;
  for (const item of gone) sender.drop(item);
  items = [];
  at("tiles").replaceChildren();
  all();
  undo(gone);
  at("files").focus();
};

/** Says what was removed, and puts it back if that is wished; what had not been sent yet is sent then. */
function undo(gone) {
  toast(fill(gone.length === 1 ? say.removedOne : say.removedMany, { n: gone.length, name: gone[0].file.name }), { text: say.undo, act: () => {
    for (const item of gone) item.tile = null;
    items.push(...gone);
    gone.forEach(place);
    sender.add(gone.filter((item) => !item.sha256 && !item.error));
    all();
  } });
}
dropZone(form.querySelector("[data-drop]"), take);
for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
hints();
all();
