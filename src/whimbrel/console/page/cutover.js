// Cutover and the way back: the plan, each step while it is done, and what may still be undone.

import { h } from "./dom.js";
import { state, work } from "./live.js";
import { ago, clock, duration, milliseconds, moment, number, plural } from "./words.js";
import { parts } from "./chart.js";
import { fault, starter } from "./steer.js";
import { button } from "./dom.js";

const STEERS = ["cutover", "rollback", "finish", "verify", "retry-dead"];

export function cutover(now) {
  if (!now.begun || now.error) return h("section", { class: "card" }, h("h1", {}, "Cutover"), now.error ? fault(now.error) : h("p", {}, "First: whimbrel migrate."));
  return [sides(now), under(now), verifying(now), planning(now), back(now)];
}

function sides(now) {
  const { side, step, stall_ms: stall, stall_parts: laps, end } = now.handover;
  const one = (name, open, text) => h("div", { class: `side ${open ? "open" : ""}` }, h("b", {}, name), h("span", { class: "badge" }, open ? "takes writes" : "closed for writes"), h("span", { class: "small" }, text));
  const words = { FOLLOWING: "DynamoDB follows the source.", CUTTING: "The source is being closed; nothing is decided.", DECIDED: "Decided: DynamoDB opens next.", OPEN: "The cutover is done.",
    CLOSING: "DynamoDB is being closed, to return to the source.", RETURNED: "The return is decided: the source opens next.", FINISHED: "Done for good." };
  return h("section", { class: "card", "data-key": "sides" }, h("h1", {}, "Cutover"), h("p", {}, words[step] || step),
    h("div", { class: "sides" }, one("Source", side === "mysql", now.project.source), h("span", { class: "arrow", "aria-hidden": "true" }, step === "FINISHED" ? "·" : side === "dynamodb" ? "⇠" : "⇢"), one("DynamoDB", side === "dynamodb", now.project.target)),
    stall ? [h("h2", {}, `Nobody could write for ${milliseconds(stall)}`), parts("laps", "Where the time went", Object.entries(laps || {}), milliseconds), end ? h("p", { class: "small" }, `The source's last write: ${end}`) : null] : null);
}

// What is being done now, by this console or by another process.
function under(now) {
  const mine = state.works.filter(each => STEERS.includes(each.name)).sort((a, b) => b.began - a.began)[0];
  const live = mine && !mine.ended ? mine.figures : now.running;
  if (mine) return progress(now, mine, live);
  if (!live || !live.step) return null;
  return h("section", { class: "card now", "data-key": "under" }, h("h2", {}, "Under way, by another process"), h("p", {}, live.step), laps(live));
}

const laps = live => live && Object.keys(live.laps || {}).length ? parts("now-laps", "Milliseconds so far", Object.entries(live.laps), milliseconds) : null;

function progress(now, mine, live) {
  const running = !mine.ended, seconds = (mine.ended || Date.now() / 1000) - mine.began;
  const undo = mine.name === "cutover" && !["DECIDED", "OPEN"].includes(now.handover.step) ? "Abort: undo everything" : mine.name === "cutover" && now.handover.step === "OPEN" ? "Stop following DynamoDB back" : "Stop at a safe place";
  const decided = mine.name === "cutover" && now.handover.step === "DECIDED";
  return h("section", { class: `card ${running ? "now" : mine.error ? "bad" : "ok"}`, "data-key": "under" },
    h("div", { class: "row" }, h("h2", {}, running && mine.name === "cutover" && now.handover.step === "OPEN" ? "Following DynamoDB back" : `${title(mine.name)} ${running ? "under way" : mine.error ? "ended with an error" : "done"}`),
      h("span", { class: "small" }, `begun ${clock(mine.began)}, ${duration(seconds)}${running ? " so far" : ""}`)),
    running && live && live.step ? h("p", { class: "step" }, h("span", { class: "spin", "aria-hidden": "true" }), live.step) : null,
    running && !now.handover.stall_ms ? laps(live) : null,
    mine.error ? fault(mine.error) : null,
    h("ol", { class: "steps", "aria-live": "polite" }, mine.messages.map((each, at) => h("li", { "data-key": at },
      h("span", { class: "at" }, `+${milliseconds((each.time - mine.began) * 1000)}`), h("span", { class: "pre" }, each.text)))),
    !running && mine.result ? outcome(mine) : null,
    running && !now.read_only ? h("div", { class: "row" }, mine.stopping ? h("span", {}, "Stopping …") : decided ? h("span", { class: "small" }, "It is decided: only a rollback leads back.") : button("stop", undo, { "data-name": mine.name, class: "danger" })) : null);
}

const title = name => ({ cutover: "Cutover", rollback: "Rollback", finish: "Finish", verify: "Verification", "retry-dead": "Retry of the dead letters" })[name];

function outcome(mine) {
  const found = mine.result;
  if (mine.name === "verify") return h("p", {}, found.equal ? "Both sides hold the same." : `${plural(found.differences, "item")} differ.`);
  if (mine.name === "retry-dead") return h("p", {}, `${plural(found.written, "item")} written, ${plural(found.dead_letters, "dead letter")} left.`);
  if (mine.name === "finish") return h("ul", {}, found.removed.map(each => h("li", {}, `removed ${each}`)));
  return h("p", {}, { mysql: "The source takes writes.", dynamodb: "DynamoDB takes writes.", none: "Nobody takes writes yet." }[found.side],
    found.late_writes ? ` ${plural(found.late_writes, "write")} at DynamoDB came after that.` : "");
}

const busy = now => Boolean(now.steering);

function verifying(now) {
  if (now.handover.step !== "FOLLOWING") return null;
  const last = now.verification;
  return h("section", { class: "card", "data-key": "verifying" }, h("h2", {}, "1. Verify"),
    h("p", {}, last ? `The last whole verification, ${ago(last.time)}, ${last.equal ? `found ${plural(last.items, "item")} equal on both sides.` : `found ${plural(last.differences, "difference")}.`}` : "No whole verification was made yet. The cutover needs one."),
    h("div", { class: "row" }, starter("verify", "Verify now", "", { disabled: busy(now) }), last && !last.equal ? h("a", { class: "button", href: "#data" }, "See the differences") : null));
}

function planning(now) {
  if (!["FOLLOWING", "CUTTING", "DECIDED"].includes(now.handover.step)) return null;
  const plan = work("plan"), made = plan?.result, errors = made ? made.errors : null;
  return h("section", { class: "card", "data-key": "planning" }, h("h2", {}, "2. Plan and cut over"),
    h("p", { class: "small" }, "The plan changes nothing: it looks for what stands in the way, tries the fence on a table of whimbrel's own, and estimates the stall."),
    h("div", { class: "row" }, starter("plan", plan && !plan.ended ? "Looking …" : made ? "Make the plan again" : "Make the plan", "", { disabled: plan && !plan.ended }),
      plan?.ended ? h("span", { class: "small" }, `made ${moment(plan.ended)}`) : null),
    plan?.error ? fault(plan.error) : null,
    made ? [
      h("ul", { class: "findings" }, made.findings.map((each, at) => finding(each, at))),
      !made.findings.length ? h("p", { class: "ok" }, "Nothing stands in the way.") : null,
      h("dl", { class: "big" }, h("div", {}, h("dt", {}, "writes stop for about"), h("dd", {}, made.stall_ms === null ? "not known" : milliseconds(made.stall_ms))),
        h("div", {}, h("dt", {}, "items to verify meanwhile"), h("dd", {}, made.dirty === null ? "all" : number(made.dirty)))),
      h("ol", { class: "plan" }, made.steps.map((each, at) => h("li", { "data-key": at }, each)))] : null,
    h("div", { class: "row" }, starter("cutover", now.handover.step === "FOLLOWING" ? "Cut over …" : "Continue the cutover …", "Close the source for writes, and open DynamoDB?", { class: "danger", disabled: busy(now) || errors > 0 }),
      errors ? h("span", { class: "bad" }, `First: fix ${plural(errors, "error")} above.`) : !made ? h("span", { class: "small" }, "The plan is made again before anything is closed.") : null));
}

export const finding = (each, at) => h("li", { class: { error: "bad", warning: "warn", info: "info" }[each.severity], "data-key": at },
  h("b", {}, each.severity), " ", h("span", { class: "pre" }, `${each.place}: ${each.reason}`), h("p", { class: "small pre" }, each.remedy), h("code", {}, each.code));

function back(now) {
  const { step } = now.handover, way = now.way_back;
  if (!["DECIDED", "OPEN", "CLOSING", "RETURNED", "FINISHED"].includes(step)) return null;
  return h("section", { class: "card", "data-key": "back" }, h("h2", {}, "The way back"),
    way ? h("dl", { class: "big" },
      h("div", { class: way.remains_seconds < 14400 ? "bad" : "" }, h("dt", {}, "remains for"), h("dd", {}, way.remains_seconds ? duration(way.remains_seconds) : "it is gone")),
      h("div", { class: way.following ? "" : "bad" }, h("dt", {}, way.following ? "the source is behind by" : "nobody follows; behind by"), h("dd", {}, duration(way.lag_seconds)))) : null,
    step === "FINISHED" ? h("p", {}, "It was given up by finish.") : !now.project.reverse_user ? h("p", {}, "There is none: cutover.reverse_user is not set.") : null,
    way && way.ended ? h("p", { class: "bad" }, `The last process that followed ended: ${way.ended}`) : null,
    step === "OPEN" && way && !way.following ? h("div", { class: "row" }, starter("cutover", "Follow DynamoDB back …", "Follow DynamoDB back into the source?", { disabled: busy(now) })) : null,
    step !== "FINISHED" ? h("div", { class: "row" },
      starter("rollback", "Roll back …", "Close DynamoDB for writes, and open the source?", { class: "danger", disabled: busy(now) }),
      step === "OPEN" ? starter("finish", "Finish …", "Give up the way back to the source?", { disabled: busy(now) }) : null,
      now.steering === "cutover" ? h("span", { class: "small" }, "First stop following, above; then roll back or finish.") : null) : null);
}
