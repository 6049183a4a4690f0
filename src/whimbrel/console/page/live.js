// What the server says, kept up to date by server-sent events, and what is asked of it.

export const state = {
  overview: null, works: [], events: [], figures: [], actions: {},
  connected: false, older: true, error: null, hours: 1,
};
const listeners = new Set();
export const listen = tell => listeners.add(tell);
const MOST_EVENTS = 20000, MOST_FIGURES = 3000;

let waiting = false;
export function changed() {  // at most once a frame
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; listeners.forEach(tell => tell()); });
}

export class Refused extends Error {
  constructor(said) {
    super(said.message);
    this.said = said;
  }
}

async function answered(reply) {
  let said;
  try { said = await reply.json(); } catch { said = { message: `the console answered ${reply.status}` }; }
  if (reply.ok) return said;
  throw new Refused({ error: "", place: "", hint: "", ...said, message: said.message || said.Message || "it was refused" });
}

const away = () => new Refused({ error: "", place: "", message: "the console does not answer", hint: "Is it still running where it was started?" });
export const get = path => fetch(path, { cache: "no-store" }).catch(() => { throw away(); }).then(answered);
export const post = (path, given = {}) => fetch(path, {
  method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(given),
}).catch(() => { throw away(); }).then(answered);

export const work = name => state.works.find(each => each.name === name);

export async function begin() {
  try {
    const found = await get("start");
    state.events = found.events;
    state.older = found.events.length >= 200;
    state.actions = found.actions;
    take("overview", found.overview);
    take("works", found.works);
    follow(found.seen);
    await loadFigures();
  } catch (error) {
    state.error = error.said || { message: String(error) };
    setTimeout(begin, 2000);
  }
  changed();
}

function follow(seen) {
  const source = new EventSource(`stream?after=${encodeURIComponent(seen)}`);
  let quiet = 0;
  const heard = () => { clearTimeout(quiet); quiet = 0; if (!state.connected) { state.connected = true; changed(); } };
  source.addEventListener("overview", event => take("overview", JSON.parse(event.data)));
  source.addEventListener("works", event => take("works", JSON.parse(event.data)));
  source.addEventListener("log", event => takeEvents(JSON.parse(event.data)));
  source.addEventListener("seen", heard);
  source.addEventListener("open", heard);
  source.addEventListener("error", () => {  // each answer ends; only one that does not come back within seconds is news
    if (!quiet) quiet = setTimeout(() => { state.connected = false; changed(); }, 6000);
    if (source.readyState === EventSource.CLOSED) setTimeout(() => { source.close(); begin(); }, 2000);
  });
}

function take(name, value) {
  if (value === null) return;
  state[name] = value;
  state.error = null;
  const running = name === "overview" && value.running;
  if (running) {
    state.figures.push({ ...running, tables: undefined });
    if (state.figures.length > MOST_FIGURES) state.figures.splice(0, 500);
  }
  changed();
}

function takeEvents(fresh) {
  const known = state.events.length ? state.events[0].place : -1;
  const more = fresh.filter(each => each.place > known).reverse();
  if (!more.length) return;
  state.events = [...more, ...state.events].slice(0, MOST_EVENTS);
  changed();
}

export async function loadOlder() {
  const last = state.events[state.events.length - 1];
  const more = await get(last ? `events?before=${last.place}` : "events");
  state.events = [...state.events, ...more];
  state.older = more.length > 0;
  changed();
}

export async function loadFigures() {
  const since = Date.now() / 1000 - 3600 * state.hours;
  const found = await get(`figures?since=${since}`), last = found.length ? found[found.length - 1].time : 0;
  state.figures = [...found, ...state.figures.filter(each => each.time > last)];
  changed();
}
