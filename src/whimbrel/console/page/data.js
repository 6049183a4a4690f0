// Data: one key on both sides, dead letters, and what the last verification found to differ.

import { button, h, on } from "./dom.js";
import { changed, get, post, work } from "./live.js";
import { ago, bytes, moment, number, plural } from "./words.js";
import { fault, starter } from "./steer.js";

const seen = { columns: null, table: "", found: null, fault: null, looking: false, letters: [], next: 0, lettersOf: -1, report: null, reportOf: 0, tableOf: "" };

export function data(now) {
  if (!now.begun || now.error) return h("section", { class: "card" }, h("h1", {}, "Data"), now.error ? fault(now.error) : h("p", {}, "There is nothing yet. First: whimbrel migrate."));
  if (seen.lettersOf !== now.dead_letters) { seen.lettersOf = now.dead_letters; seen.letters = []; seen.next = 0; moreLetters(); }
  const verified = now.verification ? now.verification.time : 0;
  if (seen.reportOf !== verified) { seen.reportOf = verified; loadReport(); }
  return [search(now), letters(now), differences(now)];
}

// ---- one key

function search(now) {
  const names = now.tables.map(each => each.source), table = seen.table || names[0] || "";
  const columns = seen.columns ? seen.columns[table] || [] : [];
  return h("section", { class: "card", "data-key": "search" }, h("h1", {}, "Look up a key"),
    h("p", { class: "small" }, "Its rows at the source, the item at DynamoDB, whether they agree, and its changes that are still in the log."),
    h("form", { class: "row fields", "data-do": "look-up" },
      h("label", {}, "Table", h("select", { name: "table", "data-do": "key-table", "data-on": "change" }, names.map(name => h("option", { value: name, selected: name === table }, name)))),
      columns.map(name => h("label", { "data-key": name }, name, h("input", { name: `key-${name}`, autocomplete: "off", spellcheck: "false", required: true }))),
      seen.columns ? h("button", { class: "go", disabled: seen.looking }, seen.looking ? "Looking …" : "Look up") : button("key-columns", seen.looking ? "Asking the source …" : "Choose a key", { disabled: seen.looking })),
    seen.fault ? fault(seen.fault) : null,
    seen.found ? item(seen.found) : null);
}

on("key-table", node => { seen.table = node.value; seen.found = seen.fault = null; changed(); });
on("key-columns", () => asking(async () => { seen.columns = await post("ask/columns"); }));
on("look-up", form => {
  const found = new FormData(form), key = {};
  for (const [name, value] of found) if (name.startsWith("key-")) key[name.slice(4)] = value;
  asking(async () => { seen.found = null; seen.found = await post("ask/item", { table: found.get("table"), key }); });
});

async function asking(ask) {
  seen.looking = true;
  seen.fault = null;
  changed();
  try { await ask(); } catch (error) { seen.fault = error.said || { message: String(error) }; }
  seen.looking = false;
  changed();
}

function item(found) {
  const words = found.agree ? "Both sides agree." : found.dead_letters.length ? "The row cannot become an item." : !found.key ? "There is no such row, and its item's key needs more than this." : "They differ. A change may be on its way: look again in a moment.";
  return h("div", { class: "found", "aria-live": "polite" },
    h("p", { class: found.agree ? "ok strong" : "bad strong" }, words), found.dead_letters.map(each => h("p", { class: "bad" }, each)),
    h("div", { class: "beside" },
      h("div", {}, h("h3", {}, `Source: ${plural(found.rows.length, "row")}`), found.rows.map((row, at) => pairs(row, at)), found.rows.length ? null : h("p", { class: "soft" }, "no row")),
      h("div", {}, h("h3", {}, `DynamoDB ${found.target}${found.bytes ? `, ${bytes(found.bytes)}` : ""}`), both(found.expected, found.found))),
    h("h3", {}, `Changes in the log: ${number(found.changes.length)}${found.whole_log ? "" : " (the newest; not all of the log was read)"}`),
    h("ol", { class: "changes" }, found.changes.map((each, at) => h("li", { "data-key": at },
      h("span", { class: "small" }, `${each.time ? moment(each.time) : ""} ${each.position}`), h("b", {}, { WriteRowsEvent: "insert", UpdateRowsEvent: "update", DeleteRowsEvent: "delete" }[each.type] || each.type),
      h("code", { class: "pre" }, each.before && each.after ? changedValues(each.before, each.after) : JSON.stringify(each.after || each.before))))),
    found.changes.length ? null : h("p", { class: "soft" }, "None. What was applied is removed from the log after a while."));
}

const changedValues = (before, after) => Object.keys(after).filter(name => JSON.stringify(before[name]) !== JSON.stringify(after[name]))
  .map(name => `${name}: ${JSON.stringify(before[name])} → ${JSON.stringify(after[name])}`).join("\n") || "no value changed";

const LONG = 2000;
const text = value => { const found = typeof value === "string" ? value : JSON.stringify(value); return found === undefined ? "" : found.length > LONG ? `${found.slice(0, LONG)} … (${number(found.length)} characters)` : found; };

const pairs = (row, key) => h("dl", { class: "pairs", "data-key": key }, Object.entries(row).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { class: "pre" }, value === null ? h("i", {}, "NULL") : text(value)))));

// What the source says an item must be, and what it is: attribute by attribute, those that differ first.
function both(expected, found) {
  if (!expected && !found) return h("p", { class: "soft" }, "no item on either side");
  const names = [...new Set([...Object.keys(expected || {}), ...Object.keys(found || {})])];
  const rows = names.map(name => [name, expected && name in expected ? expected[name] : undefined, found && name in found ? found[name] : undefined]);
  const differ = rows.filter(([, one, other]) => !same(one, other)), alike = rows.filter(([, one, other]) => same(one, other));
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Attributes" }, h("table", { class: "values" }, h("thead", {}, h("tr", {}, ["Attribute", "The source says", "DynamoDB has"].map(name => h("th", { scope: "col" }, name)))),
    h("tbody", {}, [...differ, ...alike].map(([name, one, other], at) => h("tr", { class: at < differ.length ? "differs" : null, "data-key": name }, h("th", { scope: "row" }, name, at < differ.length ? h("span", { class: "hidden" }, " (differs)") : null), value(one), value(other))))));
}

const same = (one, other) => JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));
const sorted = value => Array.isArray(value) ? value.map(sorted) : value && typeof value === "object" ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1).map(([name, inner]) => [name, sorted(inner)])) : value;
const value = found => h("td", { class: "pre" }, found === undefined ? h("i", {}, "–") : h("code", {}, text(found)));

// ---- dead letters

async function moreLetters() {
  if (seen.next === null) return;
  try {
    const found = await get(`letters?after=${seen.next}`);
    seen.letters = [...seen.letters, ...found.letters];
    seen.next = found.next;
    changed();
  } catch (error) { seen.next = null; seen.fault = error.said; changed(); }
}
on("more-letters", moreLetters);

function letters(now) {
  const retry = work("retry-dead");
  return h("section", { class: "card", "data-key": "letters" },
    h("div", { class: "row" }, h("h2", {}, plural(now.dead_letters, "dead letter")),
      now.dead_letters ? starter("retry-dead", retry && !retry.ended ? "Retrying …" : "Retry all", "", { disabled: Boolean(now.steering) || Boolean(now.running) }) : null),
    now.dead_letters ? h("p", { class: "small" }, now.running ? "These rows could not become items. Fix the rows, stop the run (Ctrl-C where it was started), and retry: each row is read from the source again." : "These rows could not become items. Fix the rows, and retry: each row is read from the source again.") : h("p", { class: "soft" }, "Every row became an item."),
    retry?.error ? fault(retry.error) : null,
    retry?.ended && retry.result ? h("p", { class: "ok" }, `${plural(retry.result.written, "item")} written, ${plural(retry.result.dead_letters, "dead letter")} left.`) : null,
    now.reasons && now.reasons.length > 1 ? h("ul", { class: "reasons" }, now.reasons.map(each => h("li", { "data-key": each.reason }, h("b", {}, number(each.count)), h("span", { class: "pre" }, each.reason)))) : null,
    h("ul", { class: "letters" }, seen.letters.map((each, at) => h("li", { "data-key": at }, h("details", { "data-own": "open" },
      h("summary", {}, h("b", {}, each.table), " ", h("code", {}, text(each.source_key && Object.keys(each.source_key).length ? each.source_key : each.item_key || {})), h("span", { class: "pre reason" }, each.reason)),
      h("p", { class: "small" }, `${moment(each.time)}, in the phase ${each.phase}${each.position ? `, at ${each.position}` : ""}`),
      each.shortened ? h("p", { class: "small" }, `Its values have ${bytes(each.shortened)}: see dead.jsonl.`) : [each.before ? [h("h3", {}, "before"), pairs(each.before, "before")] : null, each.after ? [h("h3", {}, "after"), pairs(each.after, "after")] : null])))),
    seen.next !== null && seen.letters.length ? button("more-letters", "Show more") : null);
}

// ---- differences

async function loadReport() {
  try { seen.report = await get("differences"); } catch { seen.report = null; }
  changed();
}

function differences(now) {
  const report = seen.report, verify = work("verify");
  const all = report ? report.tables.flatMap(table => table.differences.map(each => ({ ...each, target: table.target }))) : [];
  const few = all.slice(0, 100);
  return h("section", { class: "card", "data-key": "differences" },
    h("div", { class: "row" }, h("h2", {}, "Differences of the last verification"), now.handover.step === "FOLLOWING" ? starter("verify", verify && !verify.ended ? "Comparing …" : "Verify again", "", { disabled: Boolean(now.steering) }) : null),
    verify?.error ? fault(verify.error) : null,
    !report ? h("p", { class: "soft" }, "No whole verification was made yet.") : report.equal ? h("p", { class: "ok" }, `None: both sides were equal, ${ago(report.time)}.`) : h("p", {}, `${plural(now.verification.differences, "item")} differed, ${ago(report.time)}. They may be equal by now: verify again.`),
    few.map((each, at) => h("article", { class: "difference", "data-key": at }, h("h3", {}, h("span", { class: "badge bad" }, each.kind), ` ${each.target} `, h("code", {}, text(each.key))),
      each.reason ? h("p", { class: "pre" }, each.reason) : null, each.expected || each.found ? both(each.expected, each.found) : null)),
    all.length > few.length ? h("p", { class: "small" }, `and ${number(all.length - few.length)} more in verification.json of the state folder`) : null);
}

export { both, pairs, text };
