// A mask painted over a photo. Everything painted is a list of strokes, so undo costs no memory: the list is drawn anew.

const INK = "#f0443a";
const KEPT_EVERY = 24;  // After so many strokes a picture of the mask is kept, from which drawing anew begins.

export class Painter {
  constructor(stage, { width, height, said, changed, words }) {
    Object.assign(this, { stage, width, height, said, changed, words });
    this.inner = stage.querySelector("#inner");
    this.mask = stage.querySelector("#mask");
    this.cross = stage.querySelector("#cross");
    this.ring = stage.querySelector("#ring");
    this.mask.width = width;
    this.mask.height = height;
    this.ink = this.mask.getContext("2d", { willReadFrequently: true });
    this.tool = "brush";
    this.brush = 44;
    this.strokes = [];
    this.undone = [];
    this.kept = [];
    this.zoom = 1;
    this.x = this.y = 0;
    this.at = { x: width / 2, y: height / 2 };
    this.pointers = new Map();
    this.listen();
    this.fit();
    new ResizeObserver(() => this.fit()).observe(stage);
  }

  // What is seen
  fit() {
    const box = this.stage.getBoundingClientRect();
    this.base = Math.min(box.width / this.width, box.height / this.height);
    this.zoom = 1;
    this.x = (box.width - this.width * this.base) / 2;
    this.y = (box.height - this.height * this.base) / 2;
    this.place();
  }
  place() {
    const scale = this.base * this.zoom;
    const box = this.stage.getBoundingClientRect();
    const room = (size, seen) => (size <= seen ? [(seen - size) / 2, (seen - size) / 2] : [seen - size, 0]);
    const [left, right] = room(this.width * scale, box.width);
    const [top, foot] = room(this.height * scale, box.height);
    this.x = Math.min(right, Math.max(left, this.x));
    this.y = Math.min(foot, Math.max(top, this.y));
    this.inner.style.width = `${this.width}px`;
    this.inner.style.height = `${this.height}px`;
    this.inner.style.transform = `translate(${this.x}px, ${this.y}px) scale(${scale})`;
    this.showCross();
  }
  zoomBy(factor, clientX, clientY) {
    const box = this.stage.getBoundingClientRect();
    const px = clientX === undefined ? box.width / 2 : clientX - box.left;
    const py = clientY === undefined ? box.height / 2 : clientY - box.top;
    const before = this.base * this.zoom;
    this.zoom = Math.min(12, Math.max(1, this.zoom * factor));
    const after = this.base * this.zoom;
    this.x = px - ((px - this.x) * after) / before;
    this.y = py - ((py - this.y) * after) / before;
    this.place();
  }
  point(event) {
    const box = this.stage.getBoundingClientRect();
    const scale = this.base * this.zoom;
    return { x: (event.clientX - box.left - this.x) / scale, y: (event.clientY - box.top - this.y) / scale };
  }
  showRing(event) {
    const round = this.tool === "brush" || this.tool === "eraser";
    this.ring.hidden = !round || event.pointerType === "touch";
    if (this.ring.hidden) return;
    const box = this.stage.getBoundingClientRect();
    const size = this.brush * this.base * this.zoom;
    Object.assign(this.ring.style, { width: `${size}px`, height: `${size}px`, left: `${event.clientX - box.left}px`, top: `${event.clientY - box.top}px` });
  }
  showCross() {
    Object.assign(this.cross.style, { left: `${this.at.x}px`, top: `${this.at.y}px`, transform: `scale(${1 / (this.base * this.zoom)})` });
  }

  // What is painted
  add(stroke) {
    this.strokes.push(stroke);
    this.undone = [];
    this.draw(stroke);
    if (this.strokes.length % KEPT_EVERY === 0) this.kept.push(this.copy());
    this.changed(this);
  }
  copy() {
    const copy = document.createElement("canvas");
    copy.width = this.width;
    copy.height = this.height;
    copy.getContext("2d").drawImage(this.mask, 0, 0);
    return copy;
  }
  draw(stroke) {
    const ink = this.ink;
    ink.save();
    ink.globalCompositeOperation = stroke.tool === "eraser" ? "destination-out" : "source-over";
    ink.fillStyle = ink.strokeStyle = INK;
    if (stroke.tool === "clear") {
      ink.clearRect(0, 0, this.width, this.height);
    } else if (stroke.tool === "box") {
      ink.fillRect(stroke.box[0], stroke.box[1], stroke.box[2], stroke.box[3]);
    } else if (stroke.tool === "picture") {
      ink.drawImage(stroke.canvas, 0, 0, this.width, this.height);
    } else {
      ink.lineWidth = stroke.size;
      ink.lineCap = ink.lineJoin = "round";
      ink.beginPath();
      const [first, ...rest] = stroke.points;
      ink.moveTo(first.x, first.y);
      if (!rest.length) ink.lineTo(first.x + 0.01, first.y);
      for (const point of rest) ink.lineTo(point.x, point.y);
      ink.stroke();
    }
    ink.restore();
  }
  redraw() {
    this.kept.length = Math.min(this.kept.length, Math.floor(this.strokes.length / KEPT_EVERY));
    this.ink.clearRect(0, 0, this.width, this.height);
    const from = this.kept.length * KEPT_EVERY;
    if (this.kept.length) this.ink.drawImage(this.kept[this.kept.length - 1], 0, 0);
    for (const stroke of this.strokes.slice(from)) this.draw(stroke);
    this.changed(this);
  }
  undo() {
    if (!this.strokes.length) return;
    this.undone.push(this.strokes.pop());
    this.redraw();
    this.said(this.words.undone);
  }
  redo() {
    if (!this.undone.length) return;
    this.strokes.push(this.undone.pop());
    this.redraw();
    this.said(this.words.redone);
  }
  clear() {
    if (!this.strokes.length) return;
    this.add({ tool: "clear" });
    this.said(this.words.cleared);
  }
  remove(stroke) {
    const at = this.strokes.indexOf(stroke);
    if (at < 0) return;
    this.strokes.splice(at, 1);
    this.kept = [];
    this.redraw();
  }
  addBox(x, y, w, h) {
    if (w < 0) [x, w] = [x + w, -w];
    if (h < 0) [y, h] = [y + h, -h];
    if (w < 1 || h < 1) return;
    this.add({ tool: "box", box: [x, y, w, h] });
    this.said(this.words.boxed);
  }
  /** Share of the photo that is painted. */
  covered() {
    const { data } = this.ink.getImageData(0, 0, this.width, this.height);
    let count = 0;
    for (let i = 3; i < data.length; i += 16) if (data[i] > 127) count += 1;
    return count / (data.length / 16);
  }
  isPainted(x, y) {
    return this.ink.getImageData(Math.floor(x), Math.floor(y), 1, 1).data[3] > 127;
  }
  /** The mask as a PNG: white where it is painted. */
  blob() {
    const out = document.createElement("canvas");
    out.width = this.width;
    out.height = this.height;
    const ink = out.getContext("2d");
    ink.drawImage(this.mask, 0, 0);
    ink.globalCompositeOperation = "source-in";
    ink.fillStyle = "#fff";
    ink.fillRect(0, 0, this.width, this.height);
    return new Promise((good) => out.toBlob(good, "image/png"));
  }

  // Pointers
  listen() {
    const stage = this.stage;
    stage.addEventListener("pointerdown", (event) => this.down(event));
    stage.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, (event) => this.up(event));
    stage.addEventListener("pointerleave", () => { this.ring.hidden = true; });
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY / 400), event.clientX, event.clientY);
    }, { passive: false });
    stage.addEventListener("keydown", (event) => this.key(event));
    stage.addEventListener("focus", () => { this.cross.hidden = !stage.matches(":focus-visible"); });
    stage.addEventListener("blur", () => { this.cross.hidden = true; });
  }
  down(event) {
    if (event.button > 1) return;
    event.preventDefault();
    this.stage.focus({ preventScroll: true });
    this.cross.hidden = true;
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
    if (this.pointers.size === 2) { this.cancel(); this.startPinch(); return; }
    if (this.pointers.size > 2) return;
    const point = this.point(event);
    if (this.tool === "hand" || event.button === 1 || this.spaceDown) {
      this.pan = { x: event.clientX - this.x, y: event.clientY - this.y };
    } else if (this.tool === "box") {
      this.live = { tool: "box", box: [point.x, point.y, 0, 0] };
    } else {
      this.live = { tool: this.tool, size: this.brush, points: [point] };
      this.draw(this.live);
    }
  }
  move(event) {
    this.showRing(event);
    if (!this.pointers.has(event.pointerId)) return;
    this.pointers.set(event.pointerId, event);
    if (this.pinch) return this.movePinch();
    if (this.pan) { this.x = event.clientX - this.pan.x; this.y = event.clientY - this.pan.y; return this.place(); }
    if (!this.live) return;
    if (this.live.tool === "box") {
      const point = this.point(event);
      this.live.box[2] = point.x - this.live.box[0];
      this.live.box[3] = point.y - this.live.box[1];
      this.redrawLive();
      return;
    }
    const some = event.getCoalescedEvents?.() ?? [];
    for (const one of some.length ? some : [event]) {
      const last = this.live.points[this.live.points.length - 1];
      const point = this.point(one);
      this.live.points.push(point);
      this.draw({ ...this.live, points: [last, point] });
    }
  }
  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    if (this.pinch) { if (!this.pointers.size) this.pinch = null; return; }
    this.pan = null;
    const live = this.live;
    this.live = null;
    if (!live) return;
    if (event.type === "pointercancel") return this.redraw();
    if (live.tool === "box") { this.redraw(); this.addBox(...live.box); return; }
    this.at = { ...live.points[live.points.length - 1] };
    this.add(live);
  }
  cancel() { if (this.live) { this.live = null; this.redraw(); } this.pan = null; }
  redrawQuietly() { const tell = this.changed; this.changed = () => {}; this.redraw(); this.changed = tell; }
  redrawLive() {
    this.redrawQuietly();
    const [x, y, w, h] = this.live.box;
    this.ink.save();
    this.ink.fillStyle = INK;
    this.ink.globalAlpha = 0.6;
    this.ink.fillRect(x, y, w, h);
    this.ink.restore();
  }
  startPinch() {
    const [a, b] = [...this.pointers.values()];
    this.pinch = { far: Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY), x: (a.clientX + b.clientX) / 2, y: (a.clientY + b.clientY) / 2 };
  }
  movePinch() {
    if (this.pointers.size < 2) return;
    const [a, b] = [...this.pointers.values()];
    const far = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
    const x = (a.clientX + b.clientX) / 2;
    const y = (a.clientY + b.clientY) / 2;
    this.x += x - this.pinch.x;
    this.y += y - this.pinch.y;
    if (this.pinch.far > 0) this.zoomBy(far / this.pinch.far, x, y);
    this.pinch = { far, x, y };
  }

  // Keys: the photo is painted on without a pointer, too
  key(event) {
    const step = Math.max(1, Math.round(this.brush / 2 / (event.altKey ? 8 : 1)));
    const ways = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if ((event.ctrlKey || event.metaKey) && (key === "z" || key === "y")) {
      event.preventDefault();
      return key === "y" || event.shiftKey ? this.redo() : this.undo();
    }
    if (event.ctrlKey || event.metaKey) return;
    if (ways[event.key]) {
      event.preventDefault();
      this.cross.hidden = false;
      const [dx, dy] = ways[event.key];
      const before = { ...this.at };
      this.at = { x: Math.min(this.width - 1, Math.max(0, this.at.x + dx)), y: Math.min(this.height - 1, Math.max(0, this.at.y + dy)) };
      if (event.shiftKey && (this.tool === "brush" || this.tool === "eraser")) {
        this.add({ tool: this.tool, size: this.brush, points: [before, { ...this.at }] });
      }
      this.showCross();
      return this.tellPlace();
    }
    if (key === " ") {
      event.preventDefault();
      this.cross.hidden = false;
      if (this.tool === "box") {
        if (!this.corner) { this.corner = { ...this.at }; return this.said(this.words.corner); }
        const { x, y } = this.corner;
        this.corner = null;
        return this.addBox(x, y, this.at.x - x, this.at.y - y);
      }
      if (this.tool === "hand") return;
      this.add({ tool: this.tool, size: this.brush, points: [{ ...this.at }] });
      return this.said(this.tool === "eraser" ? this.words.rubbed : this.words.drawn);
    }
    const does = { b: () => this.pick("brush"), e: () => this.pick("eraser"), r: () => this.pick("box"), h: () => this.pick("hand"),
      "[": () => this.resize(0.8), "]": () => this.resize(1.25), "+": () => this.zoomBy(1.4), "=": () => this.zoomBy(1.4), "-": () => this.zoomBy(1 / 1.4), 0: () => this.fit() };
    if (event.key === "Escape" && this.corner) { this.corner = null; return; }
    if (does[key]) { event.preventDefault(); does[key](); }
  }
  tellPlace() {
    const state = this.isPainted(this.at.x, this.at.y) ? this.words.in : this.words.out;
    this.said(this.words.position.replace("{x}", Math.round((100 * this.at.x) / this.width)).replace("{y}", Math.round((100 * this.at.y) / this.height)).replace("{state}", state));
  }
  pick(tool) { this.tool = tool; this.corner = null; this.picked?.(tool); }
  resize(factor) { this.brush = Math.min(240, Math.max(2, Math.round(this.brush * factor))); this.resized?.(this.brush); }
}
