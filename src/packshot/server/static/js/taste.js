// Taste: what takes time is followed; the quiz by click or arrow keys; pictures made for a shopper, kept like on Create.
import { ask, follow, put, toast } from "./app.js";

const view = document.getElementById("view");
const making = document.getElementById("making-for");
const made = document.getElementById("made");

const came = () => {
  const part = view.querySelector("[data-may-make]");
  if (making) making.hidden = part?.dataset.mayMake !== "yes";
  const choices = making?.querySelector("input[name=choices]");
  if (choices && part) choices.value = part.dataset.choices;
};

if (view) follow(view, came).then(came);
for (const part of document.querySelectorAll("[data-follow]")) if (part !== view) follow(part);

// The quiz: the choices stand in the address, so that back and forward work.
if (view?.dataset.quiz) {
  let busy = false;
  const choicesNow = () => view.querySelector("[data-choices]")?.dataset.choices ?? "";
  const go = async (choices, remember = true) => {
    if (busy) return;
    busy = true;
    made?.replaceChildren();
    const url = `${view.dataset.quiz}&choices=${choices}`;
    try {
      const page = new DOMParser().parseFromString(await (await ask(url)).text(), "text/html");
      if (remember) history.pushState({ choices }, "", url);
      put(view, page.getElementById("view").innerHTML);
      await follow(view);
      came();
      view.querySelector("[data-choice]")?.focus();
    } catch (error) {
      toast(error.message);
    } finally {
      busy = false;
    }
  };
  view.addEventListener("click", (event) => {
    const choice = event.target.closest("[data-choice]");
    if (choice) go(choicesNow() + choice.dataset.choice);
    else if (event.target.closest("[data-back]")) go(choicesNow().slice(0, -1));
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
    const place = { ArrowLeft: 0, ArrowRight: 1 }[event.key];
    const choice = place === undefined ? null : view.querySelectorAll("[data-choice]")[place];
    if (choice) { event.preventDefault(); choice.click(); }
  });
  addEventListener("popstate", () => go(new URLSearchParams(location.search).get("choices") || "", false));
}

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("[data-make]");
  if (!form) return;
  event.preventDefault();
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    put(made, await (await ask(form.getAttribute("action"), { method: "POST", body: new URLSearchParams(new FormData(form)) })).text());
    await follow(made);
    form.elements.seed.value = Number(form.elements.seed.value) + 1;  // Another press makes others.
  } catch (error) {
    toast(error.message);
  } finally {
    button.disabled = false;
  }
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-keep]");
  if (!button) return;
  const was = button.getAttribute("aria-pressed") === "true";
  try {
    await ask("/create/choose", { method: "POST", body: new URLSearchParams({ sha256: button.dataset.keep, decision: was ? "undo" : "keep" }) });
    button.setAttribute("aria-pressed", String(!was));
    button.classList.toggle("primary", !was);
  } catch (error) {
    toast(error.message);
  }
});
