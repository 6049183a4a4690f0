// Starting and stopping what the console does for a person: what is asked first, and what was refused.

import { button, h, on, show } from "./dom.js";
import { post, state } from "./live.js";

// An error as whimbrel says it: its name, place, message and the next step.
export function fault(said) {
  return h("div", { class: "fault", role: "alert" },
    h("p", {}, said.error ? h("b", {}, said.error) : null, said.error ? ": " : "", said.place ? `${said.place}: ` : "", h("span", { class: "pre" }, said.message)),
    said.hint ? h("p", { class: "soft pre" }, said.hint) : null);
}

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
