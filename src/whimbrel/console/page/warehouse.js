// Warehouse: each silo, how far it is, how far it is behind, and its last batches.

import { h } from "./dom.js";
import { changed, post } from "./live.js";
import { ago, duration, moment, number, plural } from "./words.js";
import { fault } from "./steer.js";

const seen = { found: null, fault: null, at: 0 };
const EVERY = 2000, PHASES = { new: "not begun", start: "starting", snapshot: "exporting", load: "loading", apply: "following" };

export function warehouse() {
  if (Date.now() - seen.at > EVERY) { seen.at = Date.now(); refresh(); }
  const found = seen.found, live = found?.running;
  return h("section", { class: "card", "data-key": "silos" }, h("h1", {}, "Warehouse"),
    seen.fault ? fault(seen.fault) : null, !found && !seen.fault ? h("p", { class: "soft" }, "Looking …") : null,
    found ? [
      h("p", {}, live ? `whimbrel converge is running (${live.phase}): ${number(live.lag_changes)} changes wait${live.lag_seconds === null ? "" : `, ${duration(live.lag_seconds)} behind`}.` : "Nothing is running. Start it: whimbrel converge."),
      h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Silos" }, h("table", {},
        h("thead", {}, h("tr", {}, ["Silo", "Phase", "Tables", "Rows", "Loaded", "Behind", "Last batches"].map((text, at) => h("th", { scope: "col", class: at > 1 && at < 6 ? "n" : null }, text)))),
        h("tbody", {}, found.silos.map(each => h("tr", { "data-key": each.name }, h("th", { scope: "row" }, each.name), h("td", {}, PHASES[each.live?.phase || each.phase], each.live?.note ? h("p", { class: "small warn" }, each.live.note) : null),
          h("td", { class: "n" }, number(each.tables)), h("td", { class: "n" }, number(each.exported)), h("td", { class: "n" }, number(each.loaded)), h("td", { class: "n" }, behind(each.live)), h("td", { title: each.applied }, batches(each))))))),
      live ? [h("h2", {}, plural(Object.keys(live.tables).length, "table")), h("ul", { class: "reasons" }, Object.entries(live.tables).map(([name, counts]) => h("li", { "data-key": name }, h("b", {}, number(counts.loaded_rows)), h("span", {}, name))))] : null] : null);
}

const behind = live => !live ? "–" : live.caught_up ? "caught up" : live.lag_seconds === null ? plural(live.lag_changes, "change") : `${duration(live.lag_seconds)}, ${plural(live.lag_changes, "change")}`;

function batches(silo) {
  const written = silo.live ? [...silo.live.batches].reverse() : [];
  if (written.length) return h("ul", {}, written.map(each => h("li", { class: "small", "data-key": each.time }, `${moment(each.time)}: ${plural(each.changes, "change")} in ${duration(each.seconds)}`)));
  return silo.applied_time ? `up to ${moment(silo.applied_time)}, ${ago(silo.applied_time)}` : "none yet";
}

async function refresh() {
  try { seen.found = await post("ask/warehouse"); seen.fault = null; } catch (error) { seen.fault = error.said || { message: String(error) }; }
  changed();
  if (location.hash === "#warehouse") setTimeout(changed, EVERY + 50);
}
