// Which page is shown, and what all pages have: where we are, and whether we are connected.

import { announce, h, on, show } from "./dom.js";
import { begin, changed, listen, state } from "./live.js";
import { fault } from "./steer.js";
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

on("copy", async node => {
  await navigator.clipboard?.writeText(node.dataset.text);
  announce("Copied");
});

listen(render);
addEventListener("hashchange", changed);
setInterval(changed, 5000);  // what says how long ago
render();
begin();
