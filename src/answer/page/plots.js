// Small plots: one curve over time, with its limit and what is expected next. Point at one to read a value.
import { el, write } from "./words.js";

const NS = "http://www.w3.org/2000/svg";
const node = (name, attributes, parent) => {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  parent?.append(made);
  return made;
};
const HEIGHT = 74, WIDE = 500;

/** The outline of a band, in as many pieces as it has gaps. */
function outline({ low, high }, x, y) {
  let path = "";
  for (let from = 0, to; from < high.length; from = to + 1) {
    for (to = from; to < high.length && high[to] !== null; to++);
    if (to === from) continue;
    const run = Array.from({ length: to - from }, (_, at) => from + at);
    const points = [...run.map((at) => `${x(at)},${y(high[at])}`), ...run.reverse().map((at) => `${x(at)},${y(low[at])}`)];
    path += `M${points.join("L")}Z`;
  }
  return path;
}

/** A figure that `show`s values. `say` puts a value into words, `isStepped` draws stairs. */
export function plot(title, say, { isStepped = false } = {}) {
  const now = el("b"), name = el("span", {}, title), caption = el("figcaption", {}, name, now);
  const svg = node("svg", { viewBox: `0 0 ${WIDE} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": title });
  const [left, right] = [el("span"), el("span", {}, "now")];
  const figure = el("figure.plot", {}, caption, svg, el("div.axis", {}, left, right));
  let shown = null;
  /** values: numbers or null; current: the value of this moment; limit: drawn across; ahead: {value, seconds}: what is expected so far
      from now; band: {low, high}: what is usual at the steps of the values and at some beyond them. */
  figure.show = ({ values, step, current, limit, ahead, band, end }) => {
    shown = { values, step, end, band };
    svg.replaceChildren();
    const known = values.filter((value) => value !== null);
    const last = values.at(-1) ?? null;
    const seconds = values.length * step;
    const beyond = band ? (band.high.length - values.length) * step : 0;
    const future = ahead ? Math.max(ahead.seconds, seconds * 0.06) : beyond;
    const highest = Math.max(1e-9, ...known, limit ? limit * 1.25 : 0, ahead?.value ?? 0);
    // A wide band shall not press the curve flat.
    const most = Math.min(Math.max(highest, ...band?.high ?? []), 2 * highest) * 1.06;
    const x = (s) => WIDE * s / Math.max(1, seconds + future);
    const y = (value) => HEIGHT - (HEIGHT - 2) * value / most;
    if (limit) {
      node("rect", { class: "zone", x: 0, y: 0, width: WIDE, height: Math.max(0, y(limit)) }, svg);
      node("line", { class: "limit", x1: 0, x2: WIDE, y1: y(limit), y2: y(limit) }, svg);
    }
    if (band) node("path", { class: "usual", d: outline(band, (at) => x((at + 0.5) * step).toFixed(1), (value) => Math.max(0, y(value)).toFixed(1)) }, svg);
    node("line", { class: "base", x1: 0, x2: WIDE, y1: HEIGHT, y2: HEIGHT }, svg);
    let curve = "", area = "", open = null;
    values.forEach((value, at) => {
      if (value === null) { if (open !== null) { area += `V${HEIGHT}H${open}Z`; open = null; } return; }
      const [px, end, py] = [x(at * step).toFixed(1), x((at + 1) * step).toFixed(1), y(value).toFixed(1)];
      const to = isStepped ? `H${px}V${py}H${end}` : `L${px},${py}`;
      if (open === null) { curve += `M${px},${py}${isStepped ? `H${end}` : ""}`; area += `M${px},${HEIGHT}V${py}${isStepped ? `H${end}` : ""}`; open = px; }
      else { curve += to; area += to; }
      if (!isStepped && (at === values.length - 1)) { curve += `H${end}`; area += `H${end}`; }
    });
    if (open !== null) area += `V${HEIGHT}H${open}Z`;
    node("path", { class: "area", d: area }, svg);
    node("path", { class: "curve", d: curve }, svg);
    if (ahead && last !== null) {
      const [from, to] = [x(seconds), x(seconds + ahead.seconds)];
      node("path", { class: "band", d: `M${from},${y(last)}L${to},${y(ahead.value)}L${to},${y(last)}Z` }, svg);
      node("path", { class: "ahead", d: `M${from},${y(last)}L${to},${y(ahead.value)}` }, svg);
    }
    figure.hidden = !known.length;
    const latest = () => write(now, current === undefined ? "–" : say(current));
    latest();
    write(left, `−${seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`}`);
    write(right, ahead ? `+${Math.round(ahead.seconds)} s` : beyond ? `+${Math.round(beyond / 3600)} h` : "now");
    svg.onpointermove = (event) => {
      const box = svg.getBoundingClientRect();
      const at = Math.floor((event.clientX - box.left) / box.width * (seconds + future) / step);
      const value = shown.values[at];
      svg.querySelector(".cross")?.remove();
      const [low, high] = [shown.band?.low[at] ?? null, shown.band?.high[at] ?? null];
      if (value === undefined && high === null) return svg.onpointerleave();
      node("line", { class: "cross", x1: x((at + 0.5) * step), x2: x((at + 0.5) * step), y1: 0, y2: HEIGHT }, svg);
      const when = new Date(new Date(shown.end).getTime() - (shown.values.length - at) * step * 1000);
      const [h, m, s] = [when.getHours(), when.getMinutes(), when.getSeconds()].map((n) => String(n).padStart(2, "0"));
      const came = value === undefined ? [] : [value === null ? "not known" : say(value)];
      const usual = high === null ? [] : [`usual ${say(low)} to ${say(high)}`];
      write(now, [`${h}:${m}${step < 60 ? `:${s}` : ""}`, ...came, ...usual].join(" · "));
    };
    svg.onpointerleave = () => { svg.querySelector(".cross")?.remove(); latest(); };
  };
  return figure;
}
