// Building and changing the page. Everything that comes from elsewhere becomes text: nothing here takes HTML.

const SVG = "http://www.w3.org/2000/svg";
const DRAWN = new Set(["svg", "path", "line", "rect", "circle", "g", "title"]);

// h("p", {class: "x"}, "text", h("b", {}, "more"), null): a node; what is null or false is left out.
export function h(tag, attributes, ...children) {
  const node = DRAWN.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    node.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity))
    if (child !== null && child !== undefined && child !== false) node.append(child);
  return node;
}

// Make the children of `parent` what `wanted` are, and touch only what is another: so focus, selection, scroll places and
// what somebody types stay, and nothing flickers. A node is the same one if its tag and its `data-key` are.
export function show(parent, ...wanted) {
  morphChildren(parent, wanted.flat(Infinity).filter(node => node !== null && node !== undefined && node !== false)
    .map(node => node instanceof Node ? node : document.createTextNode(String(node))));
}

function morphChildren(parent, wanted) {
  const keyed = new Map();
  for (const child of parent.childNodes) if (keyOf(child)) keyed.set(keyOf(child), child);
  let at = parent.firstChild;
  for (const next of wanted) {
    const key = keyOf(next);
    let same = key ? keyed.get(key) : at;
    if (!key) while (same && keyOf(same)) same = same.nextSibling;
    if (same && isSame(same, next)) {
      if (same !== at) parent.insertBefore(same, at); else at = at.nextSibling;
      morph(same, next);
    } else parent.insertBefore(next, at);
  }
  while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
}

const keyOf = node => node.dataset ? node.dataset.key : undefined;
const isSame = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName && keyOf(one) === keyOf(other);

function morph(node, wanted) {
  if (node === wanted) return;
  if (node.nodeType === Node.TEXT_NODE) {
    if (node.data !== wanted.data) node.data = wanted.data;
    return;
  }
  const own = node.dataset.own;  // the attribute that whoever uses the page changes
  for (const { name } of [...node.attributes])
    if (!wanted.hasAttribute(name) && name !== own) node.removeAttribute(name);
  for (const { name, value } of wanted.attributes)
    if (node.getAttribute(name) !== value && name !== own) node.setAttribute(name, value);
  if (node.dataset.keep === undefined) morphChildren(node, [...wanted.childNodes]);
}

// What `make` makes, or what is there already under `key` if nothing of `stamp` is another than when that was made.
const stamps = new Map();
export function unlessNew(key, stamp, make) {
  const before = stamps.get(key), there = document.querySelector(`main > [data-key="${key}"]`);
  if (there && before && stamp.every((each, at) => each === before[at])) return there;
  stamps.set(key, stamp);
  return make();
}

// What a control does is looked up by its `data-do` when it is used: a control may be made again at any time.
const doing = new Map();
export const on = (name, act) => doing.set(name, act);

for (const kind of ["click", "submit", "input", "change"])
  document.addEventListener(kind, event => {
    const node = event.target.closest?.(`[data-do][data-on="${kind}"], ${kind === "click" ? "button[data-do]:not([data-on])" : "form[data-do]:not([data-on])"}`);
    if (!node || (kind === "input" || kind === "change") && node.dataset.on !== kind) return;
    if (kind === "submit") event.preventDefault();
    doing.get(node.dataset.do)?.(node, event);
  });

export const button = (act, text, more = {}) => h("button", { type: "button", "data-do": act, ...more }, text);

// For who hears the page.
export function announce(text) {
  const node = document.getElementById("said");
  if (node.textContent !== text) node.textContent = text;
}
