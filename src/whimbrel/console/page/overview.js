// The first screen: is it all right, how long still, what must I do?

import { button, h, on, unlessNew } from "./dom.js";
import { changed, loadFigures, loadOlder, state } from "./live.js";
import { ago, bytes, duration, moment, number, percent, plural, rate } from "./words.js";
import { curve } from "./chart.js";
import { fault, tellFault } from "./steer.js";

const SIGNS = { ok: "✓", info: "i", warn: "!", bad: "✕", idle: "·" };
const LEVELS = { ok: "All right", info: "To do", warn: "Needs you soon", bad: "Needs you", idle: "Not begun" };
const FEW = 50, LEAST = 300;  // tables, and seconds that a curve has
const seen = { filter: "", allTables: false, events: 100 };

export function overview(now) {
  return [
    verdict(now), tasks(now),
    now.error ? h("section", { class: "card bad", "data-key": "error" }, fault(now.error)) : null,
    now.phases ? [phaseLine(now), curves(now), unlessNew("tables", [JSON.stringify(now.tables), now.phase, seen.filter, seen.allTables], () => tables(now))] : null,
    unlessNew("events", [state.events, state.older, seen.events], events),
  ];
}

function verdict(now) {
  const { level, title, text } = now.verdict, live = now.running;
  const lag = live && live.lag_seconds !== null && live.lag_seconds !== undefined && live.phase === "apply" ? live.lag_seconds : null;
  const left = live ? live.seconds_left : null;
  return h("section", { class: `verdict ${level}`, "data-key": "verdict" },
    h("span", { class: "sign", "aria-hidden": "true" }, SIGNS[level]),
    h("div", { class: "say" }, h("p", { class: "small" }, LEVELS[level]), h("h1", {}, title), h("p", {}, text)),
    h("dl", { class: "big" },
      left ? figure("time left of this phase", duration(left)) : null,
      lag !== null ? figure("behind the source", duration(lag)) : null,
      now.begun && now.tables ? figure("dead letters", number(now.dead_letters), now.dead_letters ? "warn" : "") : null,
      now.seen && !live ? figure("last seen at work", ago(now.seen)) : null));
}

const figure = (about, value, level = "") => h("div", { class: level }, h("dt", {}, about), h("dd", {}, value));

function tasks(now) {
  if (!now.tasks.length) return h("section", { class: "tasks", "data-key": "tasks" }, h("h2", {}, "What needs you"), h("p", { class: "soft" }, "Nothing. You can leave it alone."));
  return h("section", { class: "tasks", "data-key": "tasks" }, h("h2", {}, "What needs you"),
    h("ul", {}, now.tasks.map(task => h("li", { class: `task ${task.level}`, "data-key": task.title },
      h("span", { class: "sign", "aria-hidden": "true" }, SIGNS[task.level]),
      h("div", {}, h("h3", {}, h("span", { class: "hidden" }, `${LEVELS[task.level]}: `), task.title), task.text ? h("p", { class: "pre" }, task.text) : null),
      h("div", { class: "act" },
        task.page ? h("a", { class: "button", href: `#${task.page}` }, `See ${task.page}`) : null,
        task.command ? h("span", { class: "command" }, h("code", {}, task.command), button("copy", "Copy", { "data-text": task.command, "aria-label": `Copy ${task.command}` })) : null)))));
}

function phaseLine(now) {
  return h("section", { class: "card", "data-key": "phases" }, h("h2", {}, "Phases"),
    h("ol", { class: "phases" }, now.phases.map(phase => h("li", { class: phase.state, "data-key": phase.name, "aria-current": phase.state === "now" ? "step" : null },
      h("span", { class: "mark", "aria-hidden": "true" }, phase.state === "done" ? "✓" : ""),
      h("b", {}, phase.name), h("span", { class: "hidden" }, { done: " (done)", now: " (now)", later: " (later)" }[phase.state]),
      h("span", { class: "small" }, phase.text),
      phase.done !== null && phase.state !== "later" ? h("progress", { max: 1, value: phase.done, "aria-label": `${phase.name}: ${percent(phase.done)}` }) : null,
      phase.state === "now" && phase.done !== null ? h("span", { class: "small" }, percent(phase.done)) : null,
      phase.rate !== null ? h("span", { class: "small" }, `${rate(phase.rate)} ${phase.unit}/s`) : null,
      phase.seconds_left ? h("span", { class: "small" }, `about ${duration(phase.seconds_left)} left`) : null))));
}

function curves(now) {
  const all = state.figures, project = now.project, to = Math.max(Date.now() / 1000, 1), begun = all.length ? all[0].time : to;
  const from = Math.max(to - 3600 * state.hours, Math.min(begun, to - LEAST));
  const points = name => all.map(each => [each.time, each[name]]);
  const refused = all.map((each, at) => [each.time, at ? each.throttles - all[at - 1].throttles : 0]).filter(([time, count]) => time >= from && count > 0);
  const count = refused.reduce((sum, [, some]) => sum + some, 0), throttles = (now.running?.throttles_per_second || 0) >= 1;
  const shared = { from, to };
  const cap = project.max_write_units, most = project.max_rows_per_second, threads = project.max_threads_running;
  return h("section", { class: "card", "data-key": "curves" },
    h("div", { class: "row" }, h("h2", {}, "Pace and lag"), h("div", { class: "choice", role: "group", "aria-label": "How far back" },
      [1, 6, 24].map(hours => button("hours", `${hours} h`, { "data-hours": hours, "aria-pressed": String(state.hours === hours) })))),
    h("div", { class: "charts" },
      curve({ ...shared, key: "lag", title: "Lag", points: points("lag_seconds"), unit: duration, level: "main" }),
      curve({ ...shared, key: "changes", title: "Changes not applied yet", points: points("lag_changes"), unit: number }),
      curve({ ...shared, key: "units", title: "Write units a second", points: points("write_units_per_second"), unit: rate, cap,
        note: `${cap ? `cap ${number(cap)}` : "no cap"} · ${count ? `${number(count)} throttled${throttles ? ", and it goes on" : ""}` : "none throttled"}`, level: throttles ? "warn" : "", marks: refused.map(([time]) => time) }),
      curve({ ...shared, key: "rows", title: "Rows read a second", points: points("rows_per_second"), unit: rate, cap: most, note: most ? `max_rows_per_second ${number(most)}` : "no cap" }),
      curve({ ...shared, key: "threads", title: "Statements at work on the source", points: points("source_threads"), unit: number, cap: threads,
        note: threads ? `the snapshot pauses above ${number(threads)}` : "the snapshot does not pause for it" }),
      curve({ ...shared, key: "queries", title: "Statements a second at the source", points: points("source_queries_per_second"), unit: rate })));
}

on("hours", node => { state.hours = Number(node.dataset.hours); changed(); loadFigures().catch(tellFault); });

function tables(now) {
  const wanted = seen.filter.toLowerCase();
  const ranked = now.tables.filter(each => !wanted || `${each.source} ${each.target}`.toLowerCase().includes(wanted))
    .map((each, at) => [(each.differences || 0) + each.dead > 0 ? 0 : unfinished(each) ? 1 : 2, at, each]).sort((a, b) => a[0] - b[0] || a[1] - b[1]).map(each => each[2]);
  const some = seen.allTables ? ranked : ranked.slice(0, FEW);
  return h("section", { class: "card", "data-key": "tables" },
    h("div", { class: "row" }, h("h2", {}, plural(now.tables.length, "table")),
      now.tables.length > 8 ? h("label", { class: "find" }, h("span", { class: "hidden" }, "Find a table"), h("input", { type: "search", placeholder: "Find a table", "data-do": "filter", "data-on": "input", value: seen.filter })) : null),
    h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Tables" }, h("table", {},
      h("thead", {}, h("tr", {}, ["Source", "Target", "Rows", "Loaded", "Items", "Bytes sent", "Differences", "Dead letters"].map((text, at) => h("th", { scope: "col", class: at > 1 ? "n" : null }, text)))),
      h("tbody", {}, some.map(each => h("tr", { "data-key": each.source },
        h("th", { scope: "row" }, each.source), h("td", {}, each.target || "–"),
        h("td", { class: "n" }, rows(now, each)), h("td", { class: "n" }, number(each.loaded)), h("td", { class: "n" }, number(each.items)),
        h("td", { class: "n" }, bytes(each.bytes)),
        h("td", { class: `n ${each.differences ? "bad" : ""}` }, each.differences === null ? "–" : number(each.differences)),
        h("td", { class: `n ${each.dead ? "warn" : ""}` }, number(each.dead))))))),
    ranked.length > some.length ? button("all-tables", `Show all ${number(ranked.length)}`) : null,
    !ranked.length ? h("p", { class: "soft" }, "No table of that name.") : null);
}

const unfinished = each => each.loaded < Math.max(each.exported, 1);
const rows = (now, each) => now.phase === "snapshot" && each.estimated > each.exported ? `${number(each.exported)} of about ${number(each.estimated)}` : number(each.exported);

on("filter", node => { seen.filter = node.value; changed(); });
on("all-tables", () => { seen.allTables = true; changed(); });

function events() {
  const some = state.events.slice(0, seen.events);
  return h("section", { class: "card", "data-key": "events" }, h("h2", {}, "What happened, newest first"),
    some.length ? h("ul", { class: "events" }, some.map(each => h("li", { class: each.level, "data-key": each.place },
      h("time", { datetime: each.time, title: each.time }, moment(each.time)), h("span", { class: "hidden" }, each.level === "info" ? "" : `${each.level}: `), h("span", { class: "pre" }, each.text))))
      : h("p", { class: "soft" }, "Nothing yet."),
    state.events.length > some.length || state.older && some.length ? button("older", "Show older ones") : null);
}

on("older", async () => {
  seen.events += 200;
  changed();
  if (state.events.length < seen.events && state.older) await loadOlder().catch(tellFault);
});

