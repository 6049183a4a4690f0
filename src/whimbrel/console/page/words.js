// Figures in words.

const numbers = new Intl.NumberFormat("en");
export const number = value => numbers.format(Math.round(value));
export const rate = value => value >= 10 ? number(value) : value.toFixed(1);
export const plural = (count, one, many = one + "s") => `${number(count)} ${count === 1 ? one : many}`;
export const percent = share => share >= 1 ? "100 %" : `${(100 * share).toFixed(share < .1 ? 1 : 0)} %`;

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  for (const [size, name, below, lower] of [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]])
    if (whole >= size) {
      const rest = Math.floor(whole % size / below);
      return `${Math.floor(whole / size)} ${name}` + (rest ? ` ${rest} ${lower}` : "");
    }
  return `${whole} s`;
}

export function bytes(count) {
  if (!count) return "–";
  const names = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (count >= 1000 && at < names.length - 1) { count /= 1000; at++; }
  return `${count < 10 && at ? count.toFixed(1) : Math.round(count)} ${names[at]}`;
}

const clocks = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const days = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const asDate = moment => typeof moment === "number" ? new Date(moment * 1000) : new Date(moment);
export const clock = moment => { const date = asDate(moment); return isNaN(date) ? "" : clocks.format(date); };
export function moment(value) {
  const date = asDate(value);
  if (isNaN(date)) return "";
  return date.toDateString() === new Date().toDateString() ? clocks.format(date) : `${days.format(date)} ${clocks.format(date)}`;
}
export const ago = seconds => `${duration(Math.max(0, Date.now() / 1000 - seconds))} ago`;
export const milliseconds = value => value >= 10000 ? `${(value / 1000).toFixed(1)} s` : `${value >= 100 ? number(value) : value.toFixed(1)} ms`;
