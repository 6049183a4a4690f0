// Which page is shown, and what all pages have: where we are, whether we are connected, questions before something is done.

import { announce, button, h, on, show } from "./dom.js";
import { begin, changed, listen, post, state } from "./live.js";
import { overview } from "./overview.js";
import { cutover } from "./cutover.js";
import { data } from "./data.js";
import { mapping } from "./mapping.js";
import { lake } from "./lake.js";
import { warehouse } from "./warehouse.js";

const PAGES = { overview: ["Overview", overview], cutover: ["Cutover", cutover], data: ["Data", data], mapping: ["Mapping", mapping], lake: ["Lake and models", lake], warehouse: ["Warehouse", warehouse] };
const page = () => PAGES[location.hash.slice(1)] ? location.hash.slice(1) : "overview";
let shown = "", verdict = "";

function render() {
  const now = state.overview, name = page(), [title, view] = PAGES[name];
  const main = document.getElementById("main");
  if (shown !== name) {
    show(main);
    if (shown) { main.focus({ preventScroll: true }); scrollTo(0, 0); announce(title); }
    shown = name;
  }
  document.title = (now ? `${now.verdict.level === "bad" ? "✕ " : now.verdict.level === "warn" ? "! " : ""}${now.verdict.title} · ` : "") + "whimbrel";
  show(document.getElementById("nav"), Object.entries(PAGES).filter(([key]) => key !== "warehouse" || now?.project.warehouse).map(([key, [text]]) =>
    h("a", { href: `#${key}`, "aria-current": key === name ? "page" : null }, text)));
  show(document.getElementById("where"), now ? [h("span", { class: "place" }, now.project.source || "no source"), h("span", { "aria-hidden": "true" }, " → "),
    h("span", { class: "place" }, now.project.target), now.read_only ? h("span", { class: "badge" }, "read-only") : null] : "");
  const lost = state.error || !state.connected;
  show(document.getElementById("link"), h("span", { class: `live ${lost ? "lost" : ""}` }, lost ? "connecting …" : "live"));
  if (state.error) show(main, h("section", { class: "card bad" }, h("h1", {}, "The console does not answer"), fault(state.error)));
  else if (!now) show(main, h("p", { class: "soft" }, "Looking …"));
  else show(main, view(now));
  if (now && now.verdict.title !== verdict) { if (verdict) announce(now.verdict.title); verdict = now.verdict.title; }
}

// An error as whimbrel says it: its name, place, message and the next step.
export function fault(said) {
  return h("div", { class: "fault", role: "alert" },
    h("p", {}, said.error ? h("b", {}, said.error) : null, said.error ? ": " : "", said.place ? `${said.place}: ` : "", h("span", { class: "pre" }, said.message)),
    said.hint ? h("p", { class: "soft pre" }, said.hint) : null);
}

// ---- Starting and stopping what the console does for a person

on("start", node => start(node.dataset.name, node.dataset.question));
on("stop", node => post(`stop/${node.dataset.name}`).catch(tellFault));

async function start(name, question) {
  const action = state.actions[name];
  if (action.words) return ask(name, action.words, question);
  try { await post(`do/${name}`); } catch (error) { tellFault(error); }
}

export const starter = (name, text, question = "", more = {}) => button("start", text, {
  "data-name": name, "data-question": question,
  disabled: state.overview.read_only && state.actions[name]?.steers || more.disabled,
  title: state.overview.read_only && state.actions[name]?.steers ? "This console is read-only." : null, class: more.class,
});

const dialog = document.getElementById("dialog");

function ask(name, words, question) {
  show(dialog, h("form", { "data-do": "confirmed", "data-name": name, "data-words": words },
    h("h2", { id: "dialog-title" }, question),
    h("label", { for: "words" }, "Type ", h("b", {}, words), " to go on"),
    h("input", { id: "words", autocomplete: "off", spellcheck: "false", "data-do": "typed", "data-on": "input", "data-words": words }),
    h("p", { id: "dialog-fault" }),
    h("div", { class: "row" }, h("button", { class: "danger", disabled: true, "data-own": "disabled", id: "dialog-go" }, "Do it"), button("cancel", "Cancel"))));
  const input = document.getElementById("words");
  input.value = "";
  dialog.showModal();
  input.focus();
}

on("typed", node => { document.getElementById("dialog-go").disabled = node.value.trim() !== node.dataset.words; });
on("cancel", () => dialog.close());
on("confirmed", async node => {
  try {
    await post(`do/${node.dataset.name}`, { confirm: document.getElementById("words").value.trim() });
    dialog.close();
  } catch (error) { show(document.getElementById("dialog-fault"), fault(error.said || { message: String(error) })); }
});

export function tellFault(error) {
  show(dialog, h("div", {}, h("h2", { id: "dialog-title" }, "That was refused"), fault(error.said || { message: String(error) }),
    h("div", { class: "row" }, button("cancel", "Close"))));
  dialog.showModal();
}

on("copy", async node => {
  await navigator.clipboard?.writeText(node.dataset.text);
  announce("Copied");
});

listen(render);
addEventListener("hashchange", changed);
setInterval(changed, 5000);  // what says how long ago
render();
begin();
