// Lake and models: exports and data sets, SQL over them, renewals with the figures of their gate, and endpoints.

import { button, h, on } from "./dom.js";
import { changed, post } from "./live.js";
import { bytes, moment, number, percent, plural, rate } from "./words.js";
import { curve } from "./chart.js";
import { fault } from "./steer.js";
import { text } from "./data.js";

const seen = { lake: null, lakeFault: null, models: null, modelsFault: null, rows: null, rowsFault: null, asking: false, answers: 0, at: 0, chart: false, dismissed: new Set() };
const EVERY = 2000;

export function lake(now) {
  if (Date.now() - seen.at > EVERY) { seen.at = Date.now(); refresh(); }
  return [contents(), sql(), endpoints(), renewals()];
}

async function refresh() {
  try { seen.models = await post("ask/models"); seen.modelsFault = null; } catch (error) { seen.modelsFault = error.said || { message: String(error) }; }
  if (!seen.lake || Date.now() - seen.lakeAt > 15000) {
    seen.lakeAt = Date.now();
    try { seen.lake = await post("ask/lake"); seen.lakeFault = null; } catch (error) { seen.lakeFault = error.said || { message: String(error) }; seen.lake = seen.lake || { datasets: [], exports: [], faults: [] }; }
  }
  changed();
  if (location.hash === "#lake") setTimeout(changed, EVERY + 50);
}

const table = (label, heads, rows, numeric = []) => h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": label }, h("table", {},
  h("thead", {}, h("tr", {}, heads.map((head, at) => h("th", { scope: "col", class: numeric.includes(at) ? "n" : null }, head)))),
  h("tbody", {}, rows.map(({ key, cells }) => h("tr", { "data-key": key }, cells.map((cell, at) => h("td", { class: numeric.includes(at) ? "n" : null }, cell)))))));

function contents() {
  const found = seen.lake;
  return h("section", { class: "card", "data-key": "contents" }, h("h1", {}, "Lake and models"), h("h2", {}, "Data sets"),
    seen.lakeFault ? fault(seen.lakeFault) : null, !found ? h("p", { class: "soft" }, "Looking …") : null,
    found ? [found.faults.map(each => h("p", { class: "bad pre" }, each)),
      found.datasets.length ? table("Data sets", ["Name", "As of", "Made", "Rows", "Size", "Files", "Refused"], found.datasets.map(each => ({ key: each.name + each.id, cells: [h("span", {}, h("b", {}, each.name), each.current ? " (current)" : "", h("span", { class: "small" }, ` of ${each.table}`)), moment(each.as_of), moment(each.created), number(each.rows), bytes(each.bytes), number(each.files), number(each.refused)] })), [3, 4, 5, 6]) : h("p", { class: "soft" }, "None yet. Make one: whimbrel export TABLE, then whimbrel convert TABLE."),
      h("h2", {}, "Exports"),
      found.exports.length ? table("Exports", ["Table", "Kind", "As of", "Since", "Items", "Size", "Files"], found.exports.slice(0, 100).map(each => ({ key: each.id, cells: [each.table, each.kind.replace("_EXPORT", "").toLowerCase(), moment(each.as_of), each.since ? moment(each.since) : "", number(each.items), each.bytes === null ? "–" : bytes(each.bytes), number(each.files)] })), [4, 5, 6]) : h("p", { class: "soft" }, "None yet.")] : null);
}

// ---- SQL

function sql() {
  const found = seen.rows;
  if (!seen.lake) return null;  // the first query is about a data set that is there
  return h("section", { class: "card", "data-key": "sql", "data-answers": seen.answers }, h("h2", {}, "SQL"),
    h("form", { class: "sql", "data-do": "sql" }, h("label", { for: "statement", class: "small" }, "A query over the data sets, each by its name"),
      h("textarea", { id: "statement", name: "sql", rows: 4, spellcheck: "false", "data-keep": true }, seen.lake && seen.lake.datasets[0] ? `SELECT * FROM "${seen.lake.datasets[0].name}" LIMIT 20` : "SHOW TABLES"),
      h("div", { class: "row" }, h("button", { class: "go", disabled: seen.asking }, seen.asking ? "Asking …" : "Run"), found && chartable(found) ? button("sql-chart", seen.chart ? "Show the table" : "Show a chart") : null)),
    seen.rowsFault ? fault(seen.rowsFault) : null,
    found ? [h("p", { class: "small" }, `${plural(found.rows.length, "row")}${found.more ? ", and there are more" : ""}`),
      seen.chart && chartable(found) ? chart(found) : table("Result", found.columns, found.rows.map((row, at) => ({ key: at, cells: row.map(cell => cell === null ? h("i", {}, "NULL") : text(cell)) })), found.columns.map((_, at) => at).filter(at => found.rows.some(row => typeof row[at] === "number")))] : null);
}

on("sql", async form => {
  seen.asking = true;
  changed();
  try { seen.rows = await post("ask/sql", { sql: new FormData(form).get("sql") }); seen.rowsFault = null; } catch (error) { seen.rowsFault = error.said || { message: String(error) }; seen.rows = null; }
  seen.asking = false;
  seen.answers += 1;
  changed();
});
on("sql-chart", () => { seen.chart = !seen.chart; changed(); });

// A column of words or times, and the first column of numbers: bars.
const measure = found => found.columns.findIndex((_, at) => at && found.rows.some(row => typeof row[at] === "number") && found.rows.every(row => row[at] === null || typeof row[at] === "number"));
const chartable = found => found.columns.length > 1 && measure(found) > 0;
function chart(found) {
  const at = measure(found), some = found.rows.slice(0, 40), most = Math.max(...some.map(row => Math.abs(row[at] || 0)), 0) || 1;
  return h("div", { class: "bars" }, h("h3", {}, `${found.columns[at]} by ${found.columns[0]}`), some.map((row, line) => h("div", { class: "heat", "data-key": line }, h("span", {}, row[0] === null ? "NULL" : text(row[0])),
    h("progress", { max: most, value: Math.abs(row[at] || 0), "aria-label": `${text(row[0])}: ${row[at]}` }), h("span", { class: "small" }, row[at] === null ? "–" : Number.isInteger(row[at]) ? number(row[at]) : row[at].toPrecision(4)))));
}

// ---- endpoints

on("dismiss", node => { seen.dismissed.add(node.dataset.what); changed(); });

const ms = seconds => seconds ? `${(seconds * 1e3).toPrecision(2).replace(/\.0$/, "")} ms` : "–";

function endpoints() {
  const found = seen.models;
  return h("section", { class: "card", "data-key": "endpoints" }, h("h2", {}, "Endpoints"), seen.modelsFault ? fault(seen.modelsFault) : null, found?.fault ? h("p", { class: "bad" }, found.fault) : null,
    !found ? h("p", { class: "soft" }, "Looking …") : found.live ? found.live.endpoints.map(each => live(each, found.live)) : [
      found.endpoints.length ? h("p", { class: "warn" }, "No server runs: start it with whimbrel serve.") : h("p", { class: "soft" }, "No endpoint exists yet. Make one: whimbrel serve --model FILE."),
      found.endpoints.map(each => h("article", { "data-key": each.endpoint }, h("h3", {}, each.endpoint, " ", h("span", { class: "badge" }, each.status)), each.reason ? h("p", { class: "pre" }, each.reason) : null, each.variants.map(variant => h("p", { class: "small" }, `${variant.variant}: version ${variant.version}, weight ${variant.weight}`))))]);
}

function live(endpoint, all) {
  const to = all.time, from = to - endpoint.seconds.length, at = number => endpoint.seconds.map((each, place) => [from + place, each[number]]), name = endpoint.name;
  const recent = endpoint.seconds.slice(-10), calls = recent.reduce((sum, each) => sum + each[0], 0), failed = recent.reduce((sum, each) => sum + each[1], 0);
  const drift = endpoint.variants.flatMap(each => all.drift[each.model] || []);
  return h("article", { class: "difference", "data-key": name },
    h("div", { class: "row" }, h("h3", {}, name), h("span", { class: `badge ${endpoint.status === "InService" ? "ok" : endpoint.status === "Failed" ? "bad" : "warn"}` }, endpoint.status), endpoint.pending ? h("span", { class: "small" }, `to ${endpoint.pending}`) : null),
    endpoint.reason && !seen.dismissed.has(name + endpoint.reason) ? h("div", { class: "row" }, h("p", { class: "pre small" }, `The last update: ${endpoint.reason}`), button("dismiss", "Dismiss", { "data-what": name + endpoint.reason })) : null,
    h("dl", { class: "big" }, h("div", {}, h("dt", {}, "requests a second"), h("dd", {}, rate(calls / (recent.length || 1)))), h("div", { class: failed ? "bad" : "" }, h("dt", {}, "failed"), h("dd", {}, percent(calls ? failed / calls : 0)))),
    h("div", { class: "charts" }, curve({ key: `rate ${name}`, title: `${name}: requests a second`, points: at(0), unit: rate, from, to }), curve({ key: `p99 ${name}`, title: `${name}: 99 % wait at most, queues included`, points: at(3).map(([time, value]) => [time, value || null]), unit: ms, from, to })),
    table(`Variants of ${name}`, ["Variant", "Role", "Version", "Share", "Calls", "Failed", "p50", "p99"], endpoint.variants.map(each => ({ key: each.name + each.role + each.model, cells: [each.name, each.role, each.version, each.role === "shadow" ? "–" : percent(each.share), number(each.calls), number(each.errors), ms(each.p50), ms(each.p99)] })), [3, 4, 5, 6, 7]),
    endpoint.variants.flatMap(each => each.unknown.map(unknown => h("p", { class: "warn" }, `${name}, ${each.name}: column ${unknown.column} had ${plural(unknown.count, "value")} that training never saw: ${unknown.values.join(", ")}`))),
    drift.length ? h("div", {}, h("h3", {}, `${name}: drift of the inputs against training`), drift.slice(0, 12).map(each => h("div", { class: "heat", "data-key": each.input }, h("span", {}, each.input), h("progress", { max: .5, value: Math.min(.5, each.psi), "aria-label": `${each.input}: ${each.psi.toFixed(3)}` }), h("span", { class: each.psi > .25 ? "bad" : each.psi > .1 ? "warn" : "small" }, each.psi.toFixed(3))))) : null);
}

// ---- renewals

function renewals() {
  const found = seen.models ? Object.entries(seen.models.renewals) : [];
  if (!found.length) return null;
  return h("section", { class: "card", "data-key": "renewals" }, h("h2", {}, "Renewals"), found.map(([model, runs]) => h("div", { "data-key": model }, h("h3", {}, model),
    runs.length ? table(`Renewals of ${model}`, ["Ended", "Outcome", "The gate", "Version"], runs.map((run, at) => ({ key: run.run || at, cells: [moment(run.ended), h("span", { class: { renewed: "ok", kept: "", returned: "warn", failed: "bad" }[run.outcome] }, run.outcome), h("div", { class: "pre gate" }, run.error || gate(run.results?.gate)), run.results?.train?.version || ""] }))) : h("p", { class: "soft" }, "None yet."))));
}

// What the gate compared: each figure of the model in service, and of the new one, on the same rows.
function gate(found) {
  if (!found) return "";
  const shown = value => value === null || value === undefined ? "none" : value.toPrecision(4);
  return [found.reason, ...Object.entries(found.figures || {}).map(([name, pair]) => `${name}: ${shown(pair.present)} → ${shown(pair.new)}`),
    found.rows ? `on ${plural(found.rows, "held-out row")}` : ""].filter(Boolean).join("\n");
}
