// Mapping: what check finds, what real rows become, the text of the project file, heat, and what serves each statement.

import { button, h, on } from "./dom.js";
import { changed, post, work } from "./live.js";
import { bytes, moment, number, percent, plural } from "./words.js";
import { fault, tellFault } from "./steer.js";
import { finding } from "./cutover.js";
import { pairs, text } from "./data.js";

const seen = { saved: null, digest: "", text: "", looked: null, fault: null, table: "", asking: false, again: false, loading: false, statements: "" };
const SEVERITIES = ["error", "warning", "info"];

export function mapping(now) {
  if (!seen.saved && !seen.loading) load();
  return [check(now), editor(now), heat(), access()];
}

// ---- check

function check(now) {
  const found = work("check"), report = found?.result;
  return h("section", { class: "card", "data-key": "check" }, h("h1", {}, "Mapping"), h("h2", {}, "Check"),
    h("p", { class: "small" }, "Looks for everything that would go wrong. It changes nothing on either side, and reads up to a million rows of a table."),
    h("div", { class: "row fields" }, h("label", {}, "Statements of the application (a slow log, an .sql file, or performance_schema); may be empty",
      h("input", { "data-do": "statements", "data-on": "input", placeholder: "performance_schema", spellcheck: "false", value: seen.statements })),
      button("check", found && !found.ended ? "Looking …" : report ? "Check again" : "Check", { class: "go", disabled: found && !found.ended })),
    found && !found.ended ? h("p", { class: "step" }, h("span", { class: "spin", "aria-hidden": "true" }), found.messages.length ? found.messages[found.messages.length - 1].text : "Asking the source …") : null,
    found?.error ? fault(found.error) : null,
    report ? [h("p", { class: report.errors ? "bad strong" : "ok strong" }, report.errors ? `Not ready: ${plural(report.errors, "error")}.` : "Ready: no errors.", h("span", { class: "small" }, ` ${moment(found.ended)}`)),
      SEVERITIES.map(severity => { const some = report.findings.filter(each => each.severity === severity);
        return some.length ? h("details", { open: severity !== "info", "data-own": "open", "data-key": severity }, h("summary", {}, `${plural(some.length, severity === "info" ? "note" : severity)}`), h("ul", { class: "findings" }, some.map(finding))) : null; })] : null);
}

on("statements", node => { seen.statements = node.value.trim(); });
on("check", () => post("do/check", { statements: seen.statements }).catch(tellFault));

// ---- the text and the preview

async function load() {
  seen.loading = true;
  try {
    const found = await post("ask/text");
    seen.saved = seen.text = found.text;
    seen.digest = found.digest;
    seen.fault = null;
    const area = document.getElementById("toml");
    if (area) area.value = found.text;
    look();
  } catch (error) { seen.fault = error.said || { message: String(error) }; }
  changed();
}

let timer = 0;
on("edit", node => { seen.text = node.value; clearTimeout(timer); timer = setTimeout(look, 600); changed(); });
on("preview-table", node => { seen.table = node.value; look(); });
on("reload", () => { seen.saved = null; seen.loading = false; changed(); });
on("save", async () => {
  try {
    const found = await post("ask/save-text", { text: seen.text, digest: seen.digest });
    seen.digest = found.digest;
    seen.saved = seen.text;
    seen.fault = null;
  } catch (error) { seen.fault = error.said || { message: String(error) }; }
  changed();
});
on("go-to-line", node => {
  const area = document.getElementById("toml"), lines = seen.text.split("\n"), at = Number(node.dataset.line);
  const start = lines.slice(0, at - 1).join("\n").length + (at > 1 ? 1 : 0);
  area.focus();
  area.setSelectionRange(start, start + (lines[at - 1] || "").length);
  area.scrollTop = Math.max(0, (at - 4) * parseFloat(getComputedStyle(area).lineHeight));
});

async function look() {
  if (seen.asking) { seen.again = true; return; }
  seen.asking = true;
  changed();
  try { seen.looked = await post("ask/look-at-text", { text: seen.text, table: seen.table }); seen.fault = null; } catch (error) { seen.fault = error.said || { message: String(error) }; seen.looked = null; }
  seen.asking = false;
  if (seen.again) { seen.again = false; look(); }
  changed();
}

function editor(now) {
  const edited = seen.saved !== null && seen.text !== seen.saved, faults = seen.looked ? seen.looked.faults : [];
  const names = now.tables ? now.tables.map(each => each.source) : [];
  return h("section", { class: "card", "data-key": "editor" },
    h("div", { class: "row" }, h("h2", {}, "Project file and preview"), h("span", { class: edited ? "warn" : "small" }, edited ? "Edited, not saved" : "As it is on disk"),
      button("save", "Save the file", { disabled: !edited || faults.length > 0 || now.read_only }), button("reload", "Load it again")),
    edited && now.begun ? h("p", { class: "warn" }, "The migration has begun. Rules that would make other items are refused by the next run: they need a new state folder and target table.") : null,
    seen.fault ? fault(seen.fault) : null,
    h("div", { class: "beside editor" },
      h("div", {}, h("label", { for: "toml", class: "small" }, now.project.path), h("textarea", { id: "toml", "data-do": "edit", "data-on": "input", "data-keep": true, spellcheck: "false", wrap: "off", rows: 28, "aria-describedby": "toml-faults" }, seen.text),
        h("div", { id: "toml-faults", "aria-live": "polite" }, faults.length ? h("ul", { class: "findings" }, faults.map((each, at) => h("li", { class: "bad", "data-key": at }, button("go-to-line", `line ${each.line}`, { "data-line": each.line }), " ", h("span", { class: "pre" }, each.message)))) : h("p", { class: "small" }, seen.asking ? "Looking …" : seen.looked ? "No faults." : ""))),
      h("div", {}, names.length > 1 ? h("label", { class: "fields small" }, "Preview of ", h("select", { "data-do": "preview-table", "data-on": "change" }, h("option", { value: "" }, "all tables"), names.map(name => h("option", { value: name }, name)))) : null,
        seen.looked && seen.looked.preview ? seen.looked.preview.tables.map(previewed) : h("p", { class: "soft" }, faults.length ? "The preview comes back when the faults are fixed." : seen.asking ? "Reading some rows …" : ""))));
}

const previewed = table => h("div", { "data-key": table.source + table.target, class: "previewed" }, h("h3", {}, `${table.source} → ${table.target}`), table.items.length ? null : h("p", { class: "soft" }, "no rows"),
  table.items.map((each, at) => h("div", { class: "row-item", "data-key": at },
    h("div", {}, each.rows.slice(0, 5).map((row, number) => pairs(row, number)), each.rows.length > 5 ? h("p", { class: "small" }, `and ${plural(each.rows.length - 5, "row")} more`) : null),
    h("div", {}, each.item ? [h("p", { class: "small" }, `${bytes(each.bytes)}, ${plural(each.write_units, "write unit")}`), pairs(each.item, "item")] : null,
      each.dead_letters.map(reason => h("p", { class: "bad" }, `dead letter: ${reason}`))))));

// ---- heat and statements

function heat() {
  const report = work("check")?.result;
  if (!report || !report.tables.length) return null;
  const bar = (share, label) => h("div", { class: "heat" }, h("span", { class: "pre" }, label), h("progress", { max: 1, value: share, "aria-label": `${label}: ${percent(share)}` }), h("span", { class: "small" }, percent(share)));
  return h("section", { class: "card", "data-key": "heat" }, h("h2", {}, "Heat: the heaviest partition keys"), h("p", { class: "small" }, "The share of a table's rows, and of its recent changes, that one partition key has. One partition takes 1,000 write units a second."),
    h("div", { class: "charts" }, report.tables.map(table => h("div", { "data-key": table.source + table.target }, h("h3", {}, table.source),
      table.heaviest.slice(0, 5).map(each => bar(each.share, `${text(each.key)}: ${plural(each.rows, "row")}`)),
      table.heaviest_writes.slice(0, 5).map(([key, count]) => bar(table.recent_changes ? count / table.recent_changes : 0, `${text(key)}: ${plural(count, "change")}`)),
      table.heaviest.length + table.heaviest_writes.length ? null : h("p", { class: "soft" }, "no key stands out")))));
}

function access() {
  const found = work("check")?.result?.access;
  if (!found?.patterns.length) return null;
  return h("section", { class: "card", "data-key": "access" }, h("h2", {}, `Access patterns: ${plural(found.patterns.length, "statement")}`), h("p", { class: "small" }, `Of ${found.origin}; about ${number(found.read_units)} read units.`),
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Access patterns" }, h("table", {}, h("thead", {}, h("tr", {}, ["Share", "Served by", "Costs", "Statement"].map(name => h("th", { scope: "col" }, name)))),
      h("tbody", {}, found.patterns.slice(0, 200).map((each, at) => h("tr", { "data-key": at }, h("td", { class: "n" }, percent(each.share)), h("td", { class: each.served_by === "scan" || each.served_by === "none" ? "bad" : null }, each.served_by, each.index ? ` ${each.index}` : ""),
        h("td", {}, each.units === null ? "–" : `${number(each.units)} ${each.units_are}`), h("td", {}, h("code", { class: "pre" }, text(each.statement)), each.call ? h("p", { class: "small pre" }, each.call) : null, each.notes.map(note => h("p", { class: "small" }, note)), each.advice ? h("p", { class: "small warn" }, text(each.advice)) : null)))))));
}

