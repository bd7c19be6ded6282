// Verify: a picture is sent, looked at, and forgotten; the trials send it again, since the studio does not keep it.
import { fill, follow, put, sentence, toast } from "./app.js";
import { dropZone, isPicture } from "./upload.js";

const at = (id) => document.getElementById(id);
const form = at("verify");
let file = null;

function post(url, sent, progress) {
  return new Promise((good, bad) => {
    const request = new XMLHttpRequest();
    const body = new FormData();
    body.append("file", sent, sent.name);
    request.open("POST", url);
    request.setRequestHeader("Accept", "text/html");
    request.setRequestHeader("X-Fragment", "1");
    request.upload.onprogress = (event) => progress(event.loaded / event.total);
    request.onload = () => (request.status < 300 ? good(request.responseText) : bad(new Error(sentence(request.responseText, request.status))));
    request.onerror = () => bad(new Error(sentence("", 0)));
    request.send(body);
  });
}

async function look(files) {
  file = files.find(isPicture) || files[0];
  if (!file) return;
  at("busy").hidden = false;
  at("found").replaceChildren();
  at("busy-text").textContent = fill(form.dataset.sending, { name: file.name });
  at("busy-bar").value = 0;
  try {
    const html = await post("/verify", file, (share) => {
      if (share < 1) { at("busy-bar").value = share; return; }
      at("busy-bar").removeAttribute("value");
      at("busy-text").textContent = fill(form.dataset.looking, { name: file.name });
    });
    form.classList.add("compact");
    at("teach").hidden = true;
    put(at("found"), html);
    for (const one of at("found").querySelectorAll("[data-script]")) one.hidden = false;
    at("found").focus({ preventScroll: true });
  } catch (error) {
    at("found").replaceChildren();
    toast(error.message);
  }
  at("busy").hidden = true;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-survive]");
  if (!button || !file) return;
  button.disabled = true;
  const place = at("found").querySelector("[data-trials]");
  try {
    put(place, await post("/verify/survive", file, () => {}));
    await follow(place);
    button.hidden = true;
  } catch (error) {
    toast(error.message);
    button.disabled = false;
  }
});

dropZone(form, look);
for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
