// Numbers, spans and times in few letters, as the picture of the stages says them too; and how elements are made and kept.

export const number = (x) => {
  const trim = (v, places) => v.toFixed(places).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
  return x >= 1e9 ? `${trim(x / 1e9, 1)}G` : x >= 1e6 ? `${trim(x / 1e6, 1)}M` : x >= 1e4 ? `${(x / 1e3).toFixed(0)}k` : x >= 100 ? x.toFixed(0) : trim(x, x >= 10 ? 1 : 2);
};
export const span = (s) => {
  const trim = (v) => v.toFixed(1).replace(/\.0$/, "");
  return s < 10 ? `${trim(s)} s` : s < 120 ? `${s.toFixed(0)} s` : s < 600 ? `${trim(s / 60)} min` : s < 7200 ? `${(s / 60).toFixed(0)} min` : s < 172800 ? `${trim(s / 3600)} h` : `${trim(s / 86400)} d`;
};
export const plural = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
/** What prices are in, once the daemon has said so. */
let currency = "";
export const priceIn = (code) => { currency = code ? ` ${code}` : ""; };
export const money = (value) => value === undefined ? "–" : `${value.toFixed(2)}${currency}`;
const two = (n) => String(n).padStart(2, "0");
export const clock = (at) => { const t = new Date(at); return `${two(t.getHours())}:${two(t.getMinutes())}`; };
export const moment = (at) => { const t = new Date(at); return `${clock(at)}:${two(t.getSeconds())}`; };
export const ago = (at, now) => `${span(Math.max(0, (new Date(now) - new Date(at)) / 1000))} ago`;

/** How a pipeline can be, the gravest first: the API's word, its class, and what people read. */
export const MOODS = [
  ["Broken", "broken", "broken"],
  ["Late", "late", "late"],
  ["Held", "held", "held"],
  ["Odd", "odd", "odd"],
  ["Note", "note", "paused or observed"],
  ["Unknown", "unknown", "not heard yet"],
  ["Working", "working", "working"],
  ["Quiet", "quiet", "quiet"],
];
export const rank = Object.fromEntries(MOODS.map(([state], at) => [state, at]));
const classes = Object.fromEntries(MOODS.map(([state, name]) => [state, name]));
const said = Object.fromEntries(MOODS.map(([state, , word]) => [state, word]));
export const mood = (state) => classes[state] ?? "unknown";
/** One word for one pipeline: what is by choice is named. */
export const moodWord = (row) => row.state === "Note" ? ({ Observed: "observe", Paused: "paused", PinnedByAnnotation: "pinned" })[row.concerns?.[0]?.code] ?? "by choice" : said[row.state] ?? row.state;
/** The reasons of a stage that are trouble, as the daemon ranks them. */
export const address = (...parts) => `#/${parts.map(encodeURIComponent).join("/")}`;

/** An element: its name and classes, its attributes and properties, its children. */
export function el(name, attributes = {}, ...children) {
  const [tag, ...names] = name.split(".");
  const made = document.createElement(tag);
  if (names.length) made.className = names.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** Writes text only where it differs, so that what stays the same is not painted again and keeps its selection. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Keeps one child for each item: made once, updated in place, in order; those of items that are gone are removed. */
export function keep(parent, items, key, make, update) {
  const before = parent.kept ?? new Map();
  const now = new Map();
  let last = null;
  for (const item of items) {
    const name = key(item);
    const child = before.get(name) ?? make(item);
    before.delete(name);
    now.set(name, child);
    update(child, item);
    const place = last ? last.nextSibling : parent.firstChild;
    if (place !== child) parent.insertBefore(child, place);
    last = child;
  }
  for (const child of before.values()) child.remove();
  parent.kept = now;
}

/** Delay of objective with a bar beneath. */
export function meter() {
  const [now, of, bar] = [el("span.now"), el("span.of"), el("i")];
  const box = el("span", {}, now, of, el("span.meter", { "aria-hidden": "true" }, bar));
  box.show = (delay, objective, isAtLeast) => {
    write(now, delay === undefined ? "–" : `${isAtLeast ? "≥ " : ""}${span(delay)}`);
    write(of, objective === undefined ? "" : ` of ${span(objective)}`);
    const share = delay === undefined || !objective ? 0 : delay / objective;
    box.className = share > 1 ? "over" : "";
    bar.style.width = `${Math.min(100, 100 * share).toFixed(1)}%`;
    bar.parentElement.hidden = objective === undefined;
  };
  return box;
}

/** One thing that needs a look, as a line: `where` is its link. */
export function concern(item) {
  const [who, code, text, since, hint] = [el("a.who"), el("span"), el("span"), el("small"), el("span.hint")];
  const line = el("li", {}, el("span"), who, el("div.says", {}, code, " ", text, " ", since, hint));
  line.show = ({ href, name, sub, severity, code: word, sentence, hint: help, since: at }, now) => {
    const kind = severity.toLowerCase();
    line.firstChild.className = `dot ${kind}`;
    who.setAttribute("href", href);
    if (who.told !== name + sub) { who.replaceChildren(name, ...(sub ? [el("small", {}, sub)] : [])); who.told = name + sub; }
    code.className = `tag ${kind}`;
    write(code, word);
    write(text, sentence);
    write(since, at ? `for ${span(Math.max(0, (new Date(now) - new Date(at)) / 1000))}` : "");
    write(hint, help ?? "");
    hint.hidden = !help;
  };
  return line;
}
