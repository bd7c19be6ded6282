// Train: a folder's photos are sent with their folders' names as categories, and with progress.
import { fill, sentence, toast } from "./app.js";
import { isPicture } from "./upload.js";

const form = document.getElementById("ingest");
if (form) {
  const folder = document.getElementById("ingest-folder");
  const photos = document.getElementById("ingest-photos");
  const bar = document.getElementById("ingest-bar");
  const chosen = document.getElementById("ingest-chosen");
  for (const one of form.querySelectorAll("[data-script]")) one.hidden = false;

  const category = (file) => {
    const parts = (file.webkitRelativePath || "").split("/");
    return parts.length > 2 ? parts[parts.length - 2] : "";
  };
  const files = () => [...folder.files, ...photos.files].filter(isPicture);
  const tell = () => {
    const some = files();
    chosen.textContent = some.length ? fill(form.dataset.chosen, { n: some.length, m: new Set(some.map(category)).size }) : "";
  };
  folder.addEventListener("change", tell);
  photos.addEventListener("change", tell);

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const some = files();
    const data = new FormData();
    for (const name of ["name", "category", "licence", "source"]) data.append(name, form.elements[name].value);
    for (const file of some) {
      data.append("photos", file, file.name);
      data.append("folder", category(file));
    }
    const button = form.querySelector("button");
    const request = new XMLHttpRequest();
    request.open("POST", form.action);
    request.setRequestHeader("Accept", "text/html");
    button.disabled = true;
    bar.hidden = false;
    request.upload.addEventListener("progress", (sent) => {
      bar.value = sent.total ? sent.loaded / sent.total : 0;
      chosen.textContent = fill(form.dataset.sending, { done: (sent.loaded / 1e6).toFixed(1), total: (sent.total / 1e6).toFixed(1) });
    });
    request.addEventListener("loadend", () => {
      button.disabled = false;
      bar.hidden = true;
      if (request.status === 200) location.href = request.responseURL;
      else {
        const page = new DOMParser().parseFromString(request.responseText, "text/html");
        toast(page.querySelector("main .message.bad p")?.textContent || sentence(request.responseText, request.status));
        tell();
      }
    });
    request.send(data);
  });
}
