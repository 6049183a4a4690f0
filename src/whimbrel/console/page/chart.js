// A curve over time, as SVG: the lines stretch with the page, the words do not.

import { h } from "./dom.js";
import { moment } from "./words.js";

const WIDTH = 600, HEIGHT = 120, GAP = 90;  // a gap of so many seconds breaks the line; in a long time a longer one

// points: [seconds since the epoch, value or null][], oldest first. cap: a line that should not be passed. marks: times
// at which something happened that should not.
export function curve({ key, title, points, unit, cap = 0, from, to, note = "", level = "", marks = [] }) {
  const known = points.filter(([, value]) => value !== null && value !== undefined);
  const highest = Math.max(...known.map(([, value]) => value), 0), last = known.length ? known[known.length - 1][1] : null;
  const most = Math.max(highest, cap && cap < highest * 4 ? cap : 0) * 1.08 || 1;
  const x = time => ((time - from) / (to - from) * WIDTH).toFixed(1), y = value => (HEIGHT - value / most * HEIGHT).toFixed(1);
  const gap = Math.max(GAP, (to - from) / 200);
  let line = "", area = "", start = null, before = null;
  const end = () => { if (start !== null) area += `L${x(before)},${HEIGHT} L${x(start)},${HEIGHT} Z `; start = null; };
  for (const [time, value] of known) {
    if (time < from) continue;
    const step = `${x(time)},${y(value)} `;
    if (before === null || time - before > gap || start === null) { end(); line += "M" + step; area += "M" + step; start = time; }
    else { line += "L" + step; area += "L" + step; }
    before = time;
  }
  end();
  const words = last === null ? "not known yet" : `now ${unit(last)}, at most ${unit(highest)}${note ? `, ${note}` : ""}`;
  const ticks = marks.map(time => `M${x(time)},${HEIGHT} v-${HEIGHT / 6}`).join(" ");
  return h("figure", { class: `chart ${level}`, "data-key": key },
    h("figcaption", {}, h("span", {}, title), h("b", {}, last === null ? "–" : unit(last)),
      h("small", {}, note || (last === null ? "not known yet" : `at most ${unit(highest)}`))),
    h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: ${words}` },
      h("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT / 2, y2: HEIGHT / 2 }),
      area && h("path", { class: "area", d: area }), line && h("path", { class: "line", d: line }),
      ticks && h("path", { class: "mark", d: ticks }),
      cap && cap <= most ? h("line", { class: "cap", x1: 0, x2: WIDTH, y1: y(cap), y2: y(cap) }) : null,
      h("line", { class: "floor", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT })),
    h("div", { class: "axis", "aria-hidden": "true" }, h("span", {}, moment(from)), h("span", {}, moment(to))));
}

// Parts of a whole, as one bar: [name, amount][].
export function parts(key, title, found, unit) {
  const whole = found.reduce((sum, [, amount]) => sum + amount, 0) || 1;
  let at = 0;
  const bars = found.map(([name, amount], number) => {
    const bar = h("rect", { class: `part p${number % 6}`, x: (at / whole * WIDTH).toFixed(1), y: 0, width: (amount / whole * WIDTH).toFixed(1), height: 24 },
      h("title", {}, `${name}: ${unit(amount)}`));
    at += amount;
    return bar;
  });
  return h("div", { class: "parts", "data-key": key },
    h("svg", { viewBox: `0 0 ${WIDTH} 24`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}: ${found.map(([name, amount]) => `${name} ${unit(amount)}`).join(", ")}` }, bars),
    h("ul", {}, found.map(([name, amount], number) => h("li", {}, h("i", { class: `dot p${number % 6}` }), `${name} `, h("b", {}, unit(amount))))));
}
